"""Pretraining label granularity: label functions, the theory, training, and the records of it all."""
