"""Requests as clusters of rows: the score of each counted value, what is summed of a request, the design effects."""

from __future__ import annotations

from statistics import NormalDist
from typing import NamedTuple, Optional

import numpy as np
import numpy.typing as npt

from torchserve_drift.baseline.profile import CategoricalBaseline, FeatureBaseline, Profile
from torchserve_drift.stats.clusters import RequestSums, design_effect
from torchserve_drift.window import layout as at
from torchserve_drift.window.layout import Layout

Floats = npt.NDArray[np.float64]
Starts = npt.NDArray[np.intp]


def counts_at(feature: FeatureBaseline) -> int:
    """Where a feature's counts by bin or by category, that of unseen ones first, begin in its part of the vector."""
    return at.UNSEEN if isinstance(feature, CategoricalBaseline) else at.BINS


def scores_of(feature: FeatureBaseline) -> Floats:
    """The normal score of each of a feature's counts, in their order: that of the midrank among all training rows.

    A value beyond the last edge, or of a category that the baseline lacks, has the score above all rows. Bounded, since
    no outlier can be further out: about ± 5 for a billion rows.
    """
    up_to = np.cumsum(feature.counts) if isinstance(feature, CategoricalBaseline) else feature.edge_counts
    cumulative = [0.0, *up_to.tolist()]
    n = cumulative[-1]
    midranks = [*((below + at_most) / 2 for below, at_most in zip(cumulative, cumulative[1:])), n]
    quantile = NormalDist().inv_cdf  # scipy.special's would cost every worker its memory
    scores = np.array([quantile((rank + 0.5) / (n + 1)) for rank in midranks])
    return np.roll(scores, 1) if isinstance(feature, CategoricalBaseline) else scores


def starts_of(begins: npt.NDArray[np.uint8]) -> Optional[Starts]:
    """Where each request of a block begins; ``None`` where every row (m,) is one. The first row always begins one.

    Examples
    --------
    >>> starts_of(np.array([0, 0, 1], np.uint8)).tolist(), starts_of(np.array([0, 1, 1], np.uint8))
    ([0, 2], None)
    """
    starts = np.flatnonzero(begins[1:]) + 1
    return None if len(starts) + 1 == len(begins) else np.concatenate([[0], starts])


class Counted(NamedTuple):
    """What a feature's counts were made from: which rows (m,) are ``valid``, the ``places`` of those among them."""

    places: npt.NDArray[np.intp]
    valid: npt.NDArray[np.bool_]


def tally_sizes(vector: Floats, rows: int, starts: Optional[Starts]) -> None:
    """Fill what a tally vector has of all features: the rows, and the sums over requests of their sizes."""
    vector[at.ROWS] = vector[at.REQUESTS_SQUARED] = vector[at.REQUESTS_FOURTH] = rows
    if starts is not None:
        squared = _sizes(starts, rows) ** 2
        vector[at.REQUESTS_SQUARED], vector[at.REQUESTS_FOURTH] = squared.sum(), squared @ squared


def _sizes(starts: Starts, rows: int) -> Floats:
    return np.diff(starts, append=rows).astype(np.float64)


def tally_requests(part: Floats, counted: Counted, scores: Floats, starts: Optional[Starts]) -> None:
    """Fill a feature's sums over requests; its counts stand in ``part``, the last of it, in the order of ``scores``."""
    rows, m = len(counted.places), len(counted.valid)
    if starts is None:  # one row a request: its counts tell it all
        weighted = part[-len(scores) :] * scores
        part[at.SIZES_SQUARED] = part[at.SIZES_FOURTH] = rows
        part[at.TOTALS_SQUARED], part[at.SIZES_TOTALS] = weighted @ scores, weighted.sum()
        part[at.ABSENT_SQUARED] = part[at.SIZES_ABSENT] = m - rows
        return
    z, sizes = scores[counted.places], _sizes(starts, m)
    if rows < m:
        of_all, sizes = sizes, np.add.reduceat(counted.valid.astype(np.float64), starts)
        absent = of_all - sizes
        part[at.ABSENT_SQUARED], part[at.SIZES_ABSENT] = absent @ absent, of_all @ absent
        known, z = z, np.zeros(m)
        z[counted.valid] = known
    totals, squared = np.add.reduceat(z, starts), sizes * sizes
    part[at.SIZES_SQUARED], part[at.SIZES_FOURTH] = squared.sum(), squared @ squared
    part[at.TOTALS_SQUARED], part[at.SIZES_TOTALS] = totals @ totals, sizes @ totals


class DesignEffects:
    """The design effect of each feature of a baseline, from tallies. Stateless after construction; thread-safe."""

    def __init__(self, baseline: Profile, layout: Layout) -> None:
        parts = np.array(layout.offsets, dtype=np.intp)
        scores = [scores_of(feature) for feature in baseline.features]
        begins = [offset + counts_at(feature) for offset, feature in zip(layout.offsets, baseline.features)]
        self._parts = parts
        self._counts = np.concatenate([np.arange(b, b + len(z)) for b, z in zip(begins, scores)])
        self._scores = np.concatenate(scores)
        self._firsts = np.cumsum([0, *(len(z) for z in scores[:-1])])

    def of(self, tally: Floats) -> Floats:
        """Design effects (..., F) of the values in tally vectors (..., length): see `stats.clusters.design_effect`.

        Notes
        -----
        Divide a feature's rows by its effect for the independent rows that tell as much. For a sample of the rows see
        `stats.clusters.sample_design_effect`.
        """
        weighted = tally[..., self._counts] * self._scores
        sums = RequestSums(
            rows=tally[..., self._parts + at.VALID],
            score_sum=np.add.reduceat(weighted, self._firsts, axis=-1),
            score_squares=np.add.reduceat(weighted * self._scores, self._firsts, axis=-1),
            sizes_squared=tally[..., self._parts + at.SIZES_SQUARED],
            sizes_fourth=tally[..., self._parts + at.SIZES_FOURTH],
            totals_squared=tally[..., self._parts + at.TOTALS_SQUARED],
            sizes_totals=tally[..., self._parts + at.SIZES_TOTALS],
        )
        return design_effect(sums)

    def of_absence(self, tally: Floats) -> Floats:
        """Design effects (..., F) of the share of rows without a value that takes part in statistics.

        Values that are present may be independent where the absent ones of a request are absent together.
        """
        rows = tally[..., [at.ROWS]]
        absent = rows - tally[..., self._parts + at.VALID]
        sums = RequestSums(
            rows=rows,
            score_sum=absent,
            score_squares=absent,
            sizes_squared=tally[..., [at.REQUESTS_SQUARED]],
            sizes_fourth=tally[..., [at.REQUESTS_FOURTH]],
            totals_squared=tally[..., self._parts + at.ABSENT_SQUARED],
            sizes_totals=tally[..., self._parts + at.SIZES_ABSENT],
        )
        return design_effect(sums)
