"""Pretraining label granularity: label functions, the theory, training, and their records."""

import os

# Whatever a user sets. Processors with a matrix unit (AMX) would work in bf16 on it, and there some
# convolutions of oneDNN differ from call to call, or give nan: the same short training had four
# results in forty runs. One level below, it has one. Read when oneDNN first computes.
SETTINGS = {"ONEDNN_MAX_CPU_ISA": "AVX512_CORE_BF16"}
os.environ.update(SETTINGS)
