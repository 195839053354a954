"""Names and what is above them: WordNet's nouns and cuts through them, the species, the plankton.

With the tables that ship them. It knows names alone: what becomes a class of a run is said by
`labels`.
"""
