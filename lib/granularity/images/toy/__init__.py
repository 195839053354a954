"""Two toy image datasets, drawn in seconds in the layouts of the real sets.

`drawing` makes both, `species_drawing` says what the species look like, `patches` what images are
made of.
"""
