"""Label functions: which classes a leaf, or a sample, belongs to.

A leaf is a class of the dataset itself (a synset, a species); images know their leaf and nothing
else, so one copy of the images serves every label function.

A run imports the narrow module (`granularity.labels.levels`), since its fingerprint covers the code
of all that its module imports; here all of them stand together, for chapters and tests.
"""

from granularity.labels.function import LabelFunction, from_sets, load, save
from granularity.labels.levels import levels

__all__ = ["LabelFunction", "from_sets", "levels", "load", "save"]
