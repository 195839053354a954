"""Sets of images as they lie on a disk: layouts, listings, decoding, parts chosen by name.

A set knows its images and their leaves, and no label that is made of these. `image_set.open_set` is
the way in; `check` looks at a set before a week of training; `toy` draws small sets.
"""
