"""Images shrunk once, so that every later epoch decodes fewer pixels.

`shrinking.pack` writes a set as tar files of smaller images; `index` is what lies beside them.
"""
