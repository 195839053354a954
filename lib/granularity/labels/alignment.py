"""How pretraining labels align with the target, over images."""

from typing import Any

import numpy as np

from granularity.labels.function import LabelFunction


def alignment(function: LabelFunction, target: LabelFunction, leaf: np.ndarray) -> dict[str, Any]:
    """Measures of how a label function lies to the target, each image counted once.

    `leaf` (N,) holds each image's index into the target's items; the function is one of the same
    leaves, or of these N samples in this order. Only classes that have images count. In bits:

    - `num_classes`: pretraining classes;
    - `target_entropy`: H(target); `label_entropy`: H(label);
    - `target_entropy_given_label`: H(target | label), exactly 0 where labels are nested in the
      target;
    - `normalised_mutual_information`: over the mean of the two entropies, as scikit-learn's;
    - `classes_inside`: share of pretraining classes that lie inside one target class, and
      `images_inside`, the share of images in such classes;
    - `largest_over_mean`: the largest pretraining class over the mean one, 1 where all are equal;
    - `evenness`: H(label) over the logarithm of the number of classes, 1 where all are equal;
    - `majority_rate`: the share of images in the largest target class.

    Raises ValueError for several labels an image, another domain's items, or no images.
    """
    labels, targets = _of_images(function, target, leaf), target.indices[leaf, 0]
    pairs, joint = np.unique(
        labels.astype(np.int64) * target.num_classes + targets, return_counts=True
    )
    label, aim = np.divmod(pairs, target.num_classes)
    by_label, by_target = np.bincount(label, joint), np.bincount(aim, joint)
    inside = joint == by_label[label]
    sizes = by_label[by_label > 0]
    # Terms are n · log2(1), exactly 0, where a pretraining class lies inside one target class.
    given = float((joint * np.log2(by_label[label] / joint)).sum() / len(leaf))
    label_entropy, target_entropy = _entropy(by_label), _entropy(by_target)
    mean = (label_entropy + target_entropy) / 2
    return {
        "num_classes": len(sizes),
        "target_entropy": target_entropy,
        "label_entropy": label_entropy,
        "target_entropy_given_label": given,
        "normalised_mutual_information": (target_entropy - given) / mean if mean else 1.0,
        "classes_inside": float(inside.sum() / len(sizes)),
        "images_inside": float(joint[inside].sum() / len(leaf)),
        "largest_over_mean": float(sizes.max() / sizes.mean()),
        "evenness": label_entropy / float(np.log2(len(sizes))) if len(sizes) > 1 else 1.0,
        "majority_rate": float(by_target.max() / len(leaf)),
    }


def _of_images(function: LabelFunction, target: LabelFunction, leaf: np.ndarray) -> np.ndarray:
    """The pretraining class of each image, shape (N,)."""
    for one in (function, target):
        if one.indices.shape[1] != 1:
            raise ValueError(f"{one.name!r} gives several labels; alignment wants one an image")
    if not len(leaf):
        raise ValueError("no images to measure alignment over")
    if target.domain != "leaf":
        raise ValueError(f"target {target.name!r} is a function of {target.domain}s, not of leaves")
    if function.domain == "sample":
        if len(function.items) != len(leaf):
            raise ValueError(
                f"{function.name!r} has {len(function.items):,} samples, {len(leaf):,} images given"
            )
        return function.indices[:, 0]
    if function.items != target.items:
        raise ValueError(f"{function.name!r} and {target.name!r} are of different leaves")
    return function.indices[leaf, 0]


def _entropy(sizes: np.ndarray) -> float:
    """In bits, of classes with these sizes."""
    sizes = sizes[sizes > 0]
    return float((sizes * np.log2(sizes.sum() / sizes)).sum() / sizes.sum())
