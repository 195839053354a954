"""What a set of images holds, and how many of a sample are broken: before a week of training."""

from collections import Counter
from collections.abc import Iterator

import numpy as np

from granularity.images.image_set import DataError, ImageError, ImageSet, in_threads


def look(images: ImageSet, sample: int, seed: int = 0, differs: str = "") -> Iterator[str]:
    """What a set holds, in lines; then it opens `sample` images at random and tells of the broken.

    `differs` says how it differs from the set that it should be. The last line starts with `ok` or
    with `not ok`.
    """
    counts = images.counts
    yield f"set          {images.name}"
    yield f"fingerprint  {images.fingerprint}"
    if images.edition:
        yield f"edition      {images.edition}"
    yield f"images       {len(images):,} in {len(images.classes):,} classes"
    yield f"in a class   {counts.min():,} to {counts.max():,}, median {np.median(counts):,.0f}"
    yield f"other files  {images.others:,}"
    for reason, number in Counter(reason for _, reason in images.skipped).items():
        first = next(name for name, why in images.skipped if why == reason)
        yield f"left out     {number:,}: {reason} (the first is {first})"
    chosen = np.random.default_rng(seed).permutation(len(images))[:sample]

    def opened(k: int) -> str | tuple[int, int]:
        try:
            return images.read(int(chosen[k])).size
        except (ImageError, DataError, OSError) as error:
            return str(error)

    found = list(in_threads(opened, len(chosen), "opening images"))
    broken = [answer for answer in found if isinstance(answer, str)]
    sides = [min(answer) for answer in found if not isinstance(answer, str)]
    if sides:
        yield f"opened       {len(found):,}; shorter side {min(sides)} to {max(sides)} pixels"
    yield from (f"broken       {answer}" for answer in broken)
    told = [f"{len(broken):,} of {len(found):,} images are broken"] if broken else []
    told += [differs] if differs else []
    yield f"not ok: {'; '.join(told)}" if told else "ok"
