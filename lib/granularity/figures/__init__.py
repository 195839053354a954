"""How runs look: one style, colours that mean the same everywhere, and each chapter's figures.

`house_style` sets the style, `numbers` offers a figure's numbers as CSV; every other module draws
what `analysis` has worked out.
"""
