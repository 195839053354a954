"""Label functions: which classes a leaf, or a sample, belongs to.

`specification` is the way in: it makes a function by its name. `kinds` has every kind, `kind` says
what each declares.

A leaf is a class of the dataset itself (a synset, a species); images know their leaf and nothing
else, so one copy of the images serves every label function.

A run imports the narrow module (`granularity.labels.wordnet_levels`), since its fingerprint covers
the code of all that its module imports; here all stand together, for chapters and tests.
"""

from granularity.labels.alignment import alignment
from granularity.labels.function import LabelFunction, from_sets, load, save
from granularity.labels.kinds import KINDS
from granularity.labels.own_tree import tree_of_csv
from granularity.labels.specification import make, needs_embeddings
from granularity.labels.tree import Tree, nested, tree_of_cuts, tree_of_taxonomy
from granularity.labels.wordnet_levels import levels

__all__ = [
    "KINDS",
    "LabelFunction",
    "Tree",
    "alignment",
    "from_sets",
    "levels",
    "load",
    "make",
    "needs_embeddings",
    "nested",
    "save",
    "tree_of_csv",
    "tree_of_cuts",
    "tree_of_taxonomy",
]
