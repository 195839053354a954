"""What the book's pages are made of beside figures: cards, tables, explorers.

The last ones to know anything: nothing below imports from here.
"""
