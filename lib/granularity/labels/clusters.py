"""Labels by k-means on image embeddings: inside each target class, over all images, or both.

Images are clustered in the order of their names and in one thread, so that neither the order of the
files nor the number of cores changes a label.
"""

import warnings
from functools import partial

import numpy as np
from threadpoolctl import threadpool_limits

from granularity.labels.allocation import check, shares
from granularity.labels.function import LabelFunction
from granularity.labels.kind import Given, Kind
from granularity.labels.per_image import Images, generator, in_order, numbered, target_of
from granularity.labels.tree import Tree

# At scale. In a trial of ours (50,000 points, 1,103 clusters) this ended 0.4% above the squared
# distances of full k-means, and mini-batches of 4,096 alone 2% above, with less even clusters.
AT_ONCE = 20_000  # images; more are clustered in mini-batches, started from so many
FOR_EACH = 4  # images for each cluster that the start has at least
BATCH = 16_384  # images in a mini-batch
SETTLING = 3  # full steps after them


def cluster(
    tree: Tree, images: Images, count: int, seed: int, embeddings: np.ndarray
) -> LabelFunction:
    """`cluster:<K>`: inside each target class k-means on embeddings (N, D), K clusters in all.

    K is shared over the target classes as `shares` says, so that a target class with fewer images
    than clusters hands some on. A cluster that k-means leaves empty is filled, see `kmeans`, and a
    UserWarning says how many were. Raises ValueError where K cannot be met, and for embeddings that
    do not fit the images.
    """
    order, target = in_order(images, tree), target_of(images, tree)
    _check(embeddings, len(order))
    parts = shares(tree, np.bincount(target, minlength=tree.target.num_classes), count)
    name, first = f"cluster:{count}", np.cumsum(parts) - parts
    rng = generator(seed, name)
    numbers = np.empty(len(order), np.int32)
    for label in np.flatnonzero(parts):
        rows = order[target[order] == label]
        where = f"target class {tree.target.classes[label]}"
        found, _, filled = kmeans(_points(embeddings, rows), parts[label], rng)
        _report(filled, parts[label], where)
        numbers[rows] = first[label] + found
    return numbered(name, images, numbers)


def cluster_free(
    tree: Tree, images: Images, count: int, seed: int, embeddings: np.ndarray
) -> LabelFunction:
    """`cluster-free:<K>`: k-means on embeddings (N, D) of all images, K clusters.

    Warns and raises as `cluster` does.
    """
    order = in_order(images, tree)
    _check(embeddings, len(order))
    check(count, 1, len(order), "all in one")
    name = f"cluster-free:{count}"
    numbers = np.empty(len(order), np.int32)
    found, _, filled = kmeans(_points(embeddings, order), count, generator(seed, name))
    _report(filled, count, "all images")
    numbers[order] = found
    return numbered(name, images, numbers)


def cluster_crossed(
    tree: Tree, images: Images, count: int, seed: int, embeddings: np.ndarray
) -> LabelFunction:
    """`cluster-crossed:<K>`: clusters over all images, each cut by target class, K cells in all.

    The number of clusters is found by halving, in about log₂ K clusterings: so many give at least
    K cells, one fewer do not (k-means with another number of clusters is another clustering, so it
    need not be the smallest).
    Then the smallest cell joins the cell of its target class whose cluster's centre is nearest,
    until K are left. Warns and raises as `cluster` does.
    """
    order, target = in_order(images, tree), target_of(images, tree)
    _check(embeddings, len(order))
    target = target[order]
    check(count, len(np.unique(target)), len(order), "one in each target class")
    name, points = f"cluster-crossed:{count}", _points(embeddings, order)

    def crossed(clusters: int) -> tuple[np.ndarray, np.ndarray, int]:
        found, centres, filled = kmeans(points, clusters, generator(seed, f"{name} {clusters}"))
        return found.astype(np.int64) * tree.target.num_classes + target, centres, filled

    # A cluster has one cell for each target class at most, and at least one.
    low, high = -(-count // len(np.unique(target))) - 1, count
    chosen = None
    while high - low > 1:
        middle = (low + high) // 2
        found = crossed(middle)
        if len(np.unique(found[0])) >= count:
            high, chosen = middle, found
        else:
            low = middle
    cells, centres, filled = chosen or crossed(high)
    _report(filled, high, "all images")
    numbers = np.empty(len(order), np.int32)
    numbers[order] = _merged(cells, centres, tree.target.num_classes, count)
    return numbered(name, images, numbers)


def of_embeddings(given: Given) -> tuple[Tree, Images, int, int, np.ndarray]:
    """What each of these functions takes."""
    return given.tree, given.images, int(given.values[0]), given.seed, given.embeddings


def _merged(cells: np.ndarray, centres: np.ndarray, targets: int, count: int) -> np.ndarray:
    """Cells, numbered cluster · targets + target, joined until `count` are left: 0 to count - 1."""
    found, place, sizes = np.unique(cells, return_inverse=True, return_counts=True)
    goes_to = np.arange(len(found))
    sizes = sizes.astype(np.float64)
    for _ in range(len(found) - count):
        # The smallest cell that has another beside it in its target class; the first of equals.
        alive = goes_to == np.arange(len(found))
        several = np.bincount(found[alive] % targets, minlength=targets)[found % targets] > 1
        smallest = int(np.where(alive & several, sizes, np.inf).argmin())
        beside = alive & (found % targets == found[smallest] % targets)
        beside[smallest] = False
        rows = np.flatnonzero(beside)
        away = centres[found[rows] // targets] - centres[found[smallest] // targets]
        nearest = rows[(away**2).sum(axis=1).argmin()]
        goes_to[goes_to == smallest] = nearest
        sizes[nearest] += sizes[smallest]
    return np.unique(goes_to[place], return_inverse=True)[1]


# --- k-means --------------------------------------------------------------------------------------


def kmeans(
    points: np.ndarray, clusters: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, int]:
    """Clusters of points (n, D), float32: the cluster of each (n,), centres (clusters, D), filled.

    scikit-learn's k-means from one start by k-means++. With more than `AT_ONCE` points: so of a
    random sample of them, from its centres in mini-batches, then a few full steps. A cluster that
    stays empty is filled, so that all have points: it takes the point that lies
    furthest from its own centre, of a cluster that has more than one.
    """
    from sklearn.cluster import KMeans, MiniBatchKMeans  # takes a second to load
    from sklearn.exceptions import ConvergenceWarning

    random_state = int(rng.integers(2**31))
    if clusters == 1:
        return np.zeros(len(points), np.int32), points.mean(axis=0, keepdims=True), 0
    if clusters == len(points):
        return np.arange(len(points), dtype=np.int32), points, 0
    sample = max(AT_ONCE, FOR_EACH * clusters)
    once = partial(KMeans, clusters, n_init=1, random_state=random_state)
    with threadpool_limits(1), warnings.catch_warnings():
        # It says that points are equal; what follows from that is reported by our callers.
        warnings.simplefilter("ignore", ConvergenceWarning)
        if len(points) <= sample:
            model = once().fit(points)
        else:
            rows = np.sort(rng.choice(len(points), sample, replace=False))
            first = once().fit(points[rows])
            batches = MiniBatchKMeans(
                clusters,
                init=first.cluster_centers_,
                n_init=1,
                random_state=random_state,
                batch_size=BATCH,
            ).fit(points)
            model = once(init=batches.cluster_centers_, max_iter=SETTLING).fit(points)
    labels, centres = model.labels_.astype(np.int32), model.cluster_centers_
    empty = np.flatnonzero(np.bincount(labels, minlength=clusters) == 0)
    if len(empty):
        _fill(empty, labels, centres, points)
    return labels, centres, len(empty)


def _report(filled: int, clusters: int, where: str) -> None:
    if filled:
        warnings.warn(
            f"k-means over {where}: {filled:,} of {clusters:,} clusters were empty, and took the"
            " image furthest from its centre",
            stacklevel=3,
        )


def _fill(empty: np.ndarray, labels: np.ndarray, centres: np.ndarray, points: np.ndarray) -> None:
    """Gives every empty cluster a point, in place."""
    sizes = np.bincount(labels, minlength=len(centres))
    away = np.concatenate(
        [
            ((points[i : i + BATCH] - centres[labels[i : i + BATCH]]) ** 2).sum(axis=1)
            for i in range(0, len(points), BATCH)
        ]
    )
    furthest = iter(np.argsort(-away, kind="stable"))
    for cluster in empty:
        row = next(row for row in furthest if sizes[labels[row]] > 1)
        sizes[labels[row]] -= 1
        sizes[cluster] += 1
        labels[row], centres[cluster] = cluster, points[row]


def _points(embeddings: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Rows of the embeddings as float32: 4 bytes a number, in memory."""
    points = np.asarray(embeddings[rows], dtype=np.float32)
    if not np.isfinite(points).all():
        raise ValueError("embeddings hold numbers that are not finite")
    return points


def _check(embeddings: np.ndarray, images: int) -> None:
    if np.ndim(embeddings) != 2 or len(embeddings) != images:
        raise ValueError(
            f"embeddings of shape {np.shape(embeddings)}, wanted ({images}, D): one an image"
        )


KINDS = {
    "cluster": Kind(
        "cluster:<K>",
        lambda given: cluster(*of_embeddings(given)),
        name="clusters inside, {0}",
        names="clusters inside",
        group="clusters",
        counts_as="random",
    ),
    "cluster-crossed": Kind(
        "cluster-crossed:<K>",
        lambda given: cluster_crossed(*of_embeddings(given)),
        name="clusters crossed, {0}",
        names="clusters crossed",
        group="clusters",
        counts_as="random",
        by_classes=False,
    ),
    "cluster-free": Kind(
        "cluster-free:<K>",
        lambda given: cluster_free(*of_embeddings(given)),
        name="clusters over all, {0}",
        names="clusters over all",
        group="clusters",
        counts_as="random-free",
    ),
}
