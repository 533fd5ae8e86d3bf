"""The pool of whole rows from which the uniform sample of any window can be taken.

Every row gets a uniform random priority. The sample of a window is its rows with the k smallest priorities; a row is
of no use any more once k newer rows have smaller ones, since then it is in no window's sample, now or later (bottom-k
sampling
over a sliding window: Babcock, Datar and Motwani, SODA 2002; Gemulla and Lehner, SIGMOD 2008). Samples of several
pools merge by taking the k smallest of their union.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Priorities = npt.NDArray[np.uint32]
Sequence = npt.NDArray[np.int64]


def smallest(priorities: Priorities, k: int) -> npt.NDArray[np.intp]:
    """Indices, ascending, of the k smallest priorities (of all, where there are no more).

    Examples
    --------
    >>> smallest(np.array([5, 1, 9, 3], dtype=np.uint32), 2).tolist()
    [1, 3]
    """
    if len(priorities) <= k:
        return np.arange(len(priorities))
    return np.sort(np.argpartition(priorities, k - 1)[:k])


def still_needed(sequence: Sequence, priorities: Priorities, k: int) -> npt.NDArray[np.bool_]:
    """Which rows (N,) may still be in some window's sample, now or later; a few more than the fewest possible.

    ``sequence`` (N,) tells the rows' order, newest highest; the rows come in any order. Works in blocks from the
    newest to the oldest: a row stays if its priority is below the k-th smallest of all newer blocks.
    """
    step = max(64, k // 4)
    newest_first = np.argsort(-sequence, kind="stable")
    keep = np.zeros(len(sequence), dtype=np.bool_)
    best = np.empty(0, dtype=priorities.dtype)
    for start in range(0, len(newest_first), step):
        block = newest_first[start : start + step]
        drawn = priorities[block]
        needed = drawn < best.max() if len(best) == k else np.ones(len(block), dtype=np.bool_)
        keep[block[needed]] = True
        best = np.concatenate([best, drawn[needed]])
        if len(best) > k:
            best = np.partition(best, k - 1)[:k]
    return keep
