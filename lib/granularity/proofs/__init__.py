"""Proofs that two versions of the code make the same numbers: short runs by both, bit for bit.

`equal.prove` is the proof, `canaries` the runs, `canary` the script that either version starts.
What was proven lies in the book's results and is read by `fingerprints.equivalence`.
"""
