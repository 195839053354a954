"""One record a run: who may make it, what it holds, where it lies, how it is read and published.

`runner.complete` makes what is missing, `tables.table` reads, `publish` copies into the book,
`verify` makes a run again, `launch` starts runs from a shell, `entries` says which functions may be
called. What the numbers mean is the matter of `analysis`.
"""
