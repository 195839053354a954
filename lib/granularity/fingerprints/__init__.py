"""What things are known by: digests of values and of the library's code; which code is equal.

`digest` makes the name of a value, `source` that of the code behind a module, `equivalence` reads
what was proven equal, `changes` tells two versions apart statement by statement. It knows nothing
of runs or images; `proofs` makes what `equivalence` reads.
"""
