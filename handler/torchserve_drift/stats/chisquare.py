"""The two-sample chi-squared test of category counts, and Cramér's V."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from torchserve_drift.stats.saddlepoint import Floats

LEAST_EXPECTED = 5.0
"""Categories expected less often than this in either row are pooled into one cell."""

Counts = npt.NDArray[np.integer]


class ChiSquare(NamedTuple):
    """The outcome of `chi2_two_sample`.

    ``p_value`` in [0, 1]; ``statistic`` >= 0 with ``dof`` degrees of freedom; ``cramers_v`` in [0, 1] of the pooled
    table; ``effect`` in [0, 1], see `share_distance`; ``bound`` a p-value that keeps its level in the far tail too.
    """

    p_value: float
    statistic: float
    dof: int
    cramers_v: float
    effect: float
    bound: float


def chi2_two_sample(
    baseline_counts: Counts, window_counts: Counts, unseen: int, design_effect: float = 1.0
) -> ChiSquare:
    """Whether two samples of categories differ: Pearson's chi-squared on their contingency table, uncorrected.

    Parameters
    ----------
    baseline_counts, window_counts
        (C,) rows by category, in the same order.
    unseen
        Rows of the window in categories that the baseline lacks.
    design_effect
        So many rows of the window, at least 1, stand for one that is independent of all others.

    Returns
    -------
    ChiSquare
        p 1 and statistic 0 where the table has fewer than two cells (as where either sample is empty).

    Notes
    -----
    p is that of ``scipy.stats.chi2_contingency(pooled_table(...), correction=False)``. Both samples are random: holding
    the window against the baseline's shares as if those were exact gives a false-alarm rate of 50 % at a nominal 5 %.

    Pearson's tail fails where a cell is expected a few times only: 5 expected rows give p-values 1,000 times too small
    at 1e-9. The likelihood-ratio statistic with Williams' correction keeps within a factor of 3 there, and that factor
    shrinks with the smallest expected count; ``bound`` is the larger of the two p-values, times it.

    References
    ----------
    D. A. Williams, "Improved likelihood ratio tests for complete contingency tables", Biometrika 63, 1976.
    J. N. K. Rao, A. J. Scott, "The analysis of categorical data from complex sample surveys", JASA 76, 1981.

    Examples
    --------
    >>> chi2_two_sample(np.array([50, 50]), np.array([40, 60]), 0).p_value.__round__(6)
    0.155218
    >>> chi2_two_sample(np.array([50]), np.array([70]), 0)
    ChiSquare(p_value=1.0, statistic=0.0, dof=0, cramers_v=0.0, effect=0.0, bound=1.0)
    """
    effect = share_distance(baseline_counts, window_counts, unseen)
    table = pooled_table(baseline_counts, window_counts / design_effect, unseen / design_effect)
    dof = table.shape[1] - 1
    if dof < 1:
        return ChiSquare(1.0, 0.0, 0, 0.0, effect, 1.0)
    from scipy.special import gammaincc

    total = float(table.sum())
    expected = table.sum(axis=1)[:, None] * (table.sum(axis=0) / total)
    statistic = float(((table - expected) ** 2 / expected).sum())
    v = math.sqrt(min(statistic / total, 1.0))  # both may exceed 1 by a rounding error
    p_value = float(gammaincc(dof / 2, statistic / 2))
    bound = max(p_value, float(gammaincc(dof / 2, _likelihood_ratio(table, expected) / 2)))
    return ChiSquare(p_value, statistic, dof, v, effect, min(bound * (1 + 10 / float(expected.min())), 1.0))


def _likelihood_ratio(table: Floats, expected: Floats) -> float:
    """Twice the log likelihood ratio of the table, over its mean in units of that of chi-squared."""
    from scipy.special import xlogy

    statistic = 2 * float((xlogy(table, table / expected) - table + expected).sum())
    correction = float((1 / (6 * expected) + 1 / (6 * expected**2)).sum()) / (table.shape[1] - 1)
    return float(max(statistic, 0.0) / (1 + correction))


def pooled_table(baseline_counts: Counts, window_counts: npt.NDArray[Any], unseen: float) -> Floats:
    """The contingency table (2, cells), baseline first; the pooled cell, where not empty, is the last.

    Categories expected fewer than `LEAST_EXPECTED` times in either row are pooled, ``unseen`` rows with them.

    Examples
    --------
    >>> pooled_table(np.array([50, 50, 1, 0]), np.array([20, 20, 0, 0]), 3).tolist()
    [[50.0, 50.0, 1.0], [20.0, 20.0, 3.0]]
    """
    table = np.array([baseline_counts, window_counts], np.float64)
    new = np.array([0.0, unseen])
    rows = table.sum(axis=1) + new
    smaller_share = rows.min() / max(rows.sum(), 1.0)
    rare = table.sum(axis=0) * smaller_share < LEAST_EXPECTED
    pooled = table[:, rare].sum(axis=1) + new
    kept = table[:, ~rare]
    return np.column_stack([kept, pooled]) if pooled.any() else kept


def share_distance(baseline_counts: Counts, window_counts: Counts, unseen: int) -> float:
    """Cramér's V of the shares, as if both samples were of one size: sqrt(½ Σ (p - q)² / (p + q)), in [0, 1].

    No category is pooled; the unseen ones count as one. 0 where either sample is empty.

    Examples
    --------
    >>> share_distance(np.array([5, 0]), np.array([0, 70]), 0), share_distance(np.array([5, 5]), np.array([70, 70]), 0)
    (1.0, 0.0)
    """
    p = np.append(np.asarray(baseline_counts, np.float64), 0.0)
    q = np.append(np.asarray(window_counts, np.float64), unseen)
    if not (p.any() and q.any()):
        return 0.0
    p, q = p / p.sum(), q / q.sum()
    both = p + q
    either = both > 0
    return math.sqrt(min(float((((p - q)[either]) ** 2 / both[either]).sum()) / 2, 1.0))
