"""What runs will take before they start: hours, disk, what is there already and what is missing.

An estimate from recipes, the known sizes of the sets and measured speeds; nothing is trained.
"""
