"""Which rows of the training data are in a baseline's sample."""

from __future__ import annotations

import numpy as np
from numpy.random import PCG64

from torchserve_drift.stats.arrays import Integers


def sample_rows(total: int, rows: int, seed: int) -> Integers:
    """The numbers, in rising order, of ``min(rows, total)`` rows drawn uniformly without replacement from ``total``.

    Floyd's algorithm: one random number for each row drawn, so no list of all rows is needed.

    Examples
    --------
    >>> sample_rows(1000, 5, seed=0).tolist()
    [61, 479, 774, 845, 971]
    >>> sample_rows(3, 5, seed=0).tolist()
    [0, 1, 2]
    """
    if rows >= total:
        return np.arange(total, dtype=np.int64)
    # the raw stream, since NumPy promises never to change it, as it may change the methods of a Generator
    stream = PCG64(seed).random_raw(rows).tolist()
    chosen: set[int] = set()
    for top, raw in zip(range(total - rows, total), stream):
        candidate = raw % (top + 1)
        chosen.add(top if candidate in chosen else candidate)
    return np.array(sorted(chosen), np.int64)
