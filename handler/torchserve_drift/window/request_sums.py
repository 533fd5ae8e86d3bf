"""The sums over requests in a tally vector, from which design effects are estimated later."""

from __future__ import annotations

from statistics import NormalDist
from typing import NamedTuple, Optional

import numpy as np

from torchserve_drift.baseline.profile import CategoricalBaseline, FeatureBaseline
from torchserve_drift.stats.arrays import Bools, Flags, Floats, Indices
from torchserve_drift.window import fields


def first_count(feature: FeatureBaseline) -> int:
    """The position of a feature's first count in its part of the tally vector.

    The counts of a numeric feature are those of its bins. Those of a categorical feature are that of all unseen
    categories, then those of its known categories.
    """
    return fields.UNSEEN if isinstance(feature, CategoricalBaseline) else fields.BINS


def scores_of(feature: FeatureBaseline) -> Floats:
    """The normal score of each of a feature's counts, in their order.

    The score is that of the midrank among all training rows. A value beyond the last edge, and a value of an unseen
    category, have the score above all rows. Scores are bounded, by about ± 6 for a billion rows, so that no outlier
    dominates a sum.
    """
    up_to = np.cumsum(feature.counts) if isinstance(feature, CategoricalBaseline) else feature.edge_counts
    cumulative = [0.0, *up_to.tolist()]
    n = cumulative[-1]
    midranks = [*((below + at_most) / 2 for below, at_most in zip(cumulative, cumulative[1:])), n]
    quantile = NormalDist().inv_cdf  # not scipy.special, for which every worker would need memory
    scores = np.array([quantile((rank + 0.5) / (n + 1)) for rank in midranks])
    # Unseen categories have the last score but the first count.
    return np.roll(scores, 1) if isinstance(feature, CategoricalBaseline) else scores


def starts_of(begins: Flags) -> Optional[Indices]:
    """The rows that begin a request.

    Parameters
    ----------
    begins
        (m,) not 0 where a row begins a request. The first row does so in any case.

    Returns
    -------
    starts
        Ascending; ``None`` where every row begins a request.

    Examples
    --------
    >>> starts_of(np.array([0, 0, 1], np.uint8)).tolist(), starts_of(np.array([0, 1, 1], np.uint8))
    ([0, 2], None)
    """
    starts = np.flatnonzero(begins[1:]) + 1
    return None if len(starts) + 1 == len(begins) else np.concatenate([[0], starts])


class CountedValues(NamedTuple):
    """What a feature's counts were made from.

    ``places`` (n,) the count to which each valid value belongs; ``valid`` (m,) whether each row has a valid value.
    """

    places: Indices
    valid: Bools


def tally_sizes(vector: Floats, rows: int, starts: Optional[Indices]) -> None:
    """Fill the fields of all features together: the rows, and the sums over requests of their sizes."""
    vector[fields.ROWS] = vector[fields.REQUESTS_SQUARED] = vector[fields.REQUESTS_FOURTH] = rows
    if starts is not None:
        squared = _sizes(starts, rows) ** 2
        vector[fields.REQUESTS_SQUARED], vector[fields.REQUESTS_FOURTH] = squared.sum(), squared @ squared


def _sizes(starts: Indices, rows: int) -> Floats:
    return np.diff(starts, append=rows).astype(np.float64)


def tally_requests(part: Floats, counted: CountedValues, scores: Floats, starts: Optional[Indices]) -> None:
    """Fill a feature's sums over requests.

    The counts must have been filled before. They are the last elements of ``part``, in the order of ``scores``.
    """
    if starts is None:
        _tally_single_rows(part, counted, scores)
        return
    m, valid_rows = len(counted.valid), len(counted.places)
    sizes = _sizes(starts, m)
    scores_by_row = scores[counted.places]
    if valid_rows < m:
        # From here on the size of a request is the number of its valid values.
        of_all, sizes = sizes, np.add.reduceat(counted.valid.astype(np.float64), starts)
        absent = of_all - sizes
        part[fields.ABSENT_SQUARED], part[fields.SIZES_ABSENT] = absent @ absent, of_all @ absent
        # A row without a valid value adds 0 to the total of its request.
        of_valid, scores_by_row = scores_by_row, np.zeros(m)
        scores_by_row[counted.valid] = of_valid
    totals, squared = np.add.reduceat(scores_by_row, starts), sizes * sizes
    part[fields.SIZES_SQUARED], part[fields.SIZES_FOURTH] = squared.sum(), squared @ squared
    part[fields.TOTALS_SQUARED], part[fields.SIZES_TOTALS] = totals @ totals, sizes @ totals


def _tally_single_rows(part: Floats, counted: CountedValues, scores: Floats) -> None:
    """The sums where every request has one row: they follow from the counts, which is much faster."""
    valid_rows = len(counted.places)
    weighted = part[-len(scores) :] * scores
    part[fields.SIZES_SQUARED] = part[fields.SIZES_FOURTH] = valid_rows
    part[fields.TOTALS_SQUARED], part[fields.SIZES_TOTALS] = weighted @ scores, weighted.sum()
    part[fields.ABSENT_SQUARED] = part[fields.SIZES_ABSENT] = len(counted.valid) - valid_rows
