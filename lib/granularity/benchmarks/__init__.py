"""How fast things are, as ratios within one run: training, the theory, precision, full size.

Each function here makes a record like any run's; nothing here changes a number of an experiment.
"""
