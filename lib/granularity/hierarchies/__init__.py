"""Names and what is above them: WordNet's nouns, cuts through them, and iNaturalist's taxonomy.

With the tables that ship them. It knows names alone: what becomes a class of a run is said by
`labels`.
"""
