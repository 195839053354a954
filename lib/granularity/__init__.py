"""Pretraining label granularity: label functions, the theory, training, and their records."""
