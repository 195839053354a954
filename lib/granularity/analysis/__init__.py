"""What runs say: rows chosen from the table of runs, differences between arms, intervals, hardness.

Numbers only. What the paper claims of them is the matter of `claims`, how they look that of
`figures`.
"""
