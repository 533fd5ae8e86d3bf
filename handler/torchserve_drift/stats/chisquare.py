"""The two-sample chi-squared test of category counts, and Cramér's V."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from torchserve_drift.stats.arrays import AnyArray, AnyIntegers, Floats

LEAST_EXPECTED = 5.0
"""Categories with fewer expected rows in either sample are pooled into one cell."""


class ChiSquare(NamedTuple):
    """The result of `chi2_two_sample`.

    ``p_value`` in [0, 1]; ``statistic`` >= 0 with ``dof`` degrees of freedom; ``cramers_v`` in [0, 1] of the pooled
    table; ``effect`` in [0, 1], see `share_distance`; ``bound`` in [0, 1], a larger p-value that holds its level in the
    far tail too.
    """

    p_value: float
    statistic: float
    dof: int
    cramers_v: float
    effect: float
    bound: float


def chi2_two_sample(
    baseline_counts: AnyIntegers, window_counts: AnyIntegers, unseen: int, design_effect: float = 1.0
) -> ChiSquare:
    """Whether two samples of categories differ: Pearson's chi-squared on their contingency table, uncorrected.

    Parameters
    ----------
    baseline_counts, window_counts
        (C,) rows in each category, in the same order.
    unseen
        Rows of the window in categories that the baseline does not have.
    design_effect
        The number of rows of the window, at least 1, that are worth one independent row.

    Returns
    -------
    ChiSquare
        p-value 1 and statistic 0 where the table has fewer than two cells, for example where a sample is empty.

    Notes
    -----
    The p-value is that of ``scipy.stats.chi2_contingency(pooled_table(...), correction=False)``. Both samples are
    random: a test of the window against the baseline's shares, taken as exact, gives 50 % false alarms at a nominal
    5 %.

    Pearson's statistic fails in the far tail where a cell has few expected rows: with 5 of them, p-values near 1e-9 are
    1,000 times too small. The likelihood-ratio statistic with Williams' correction stays within a factor of 3 there,
    and the factor approaches 1 as the smallest expected count grows. ``bound`` is the larger of the two p-values,
    times that factor.

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
    v = math.sqrt(min(statistic / total, 1.0))  # the quotient may exceed 1 by a rounding error
    p_value = float(gammaincc(dof / 2, statistic / 2))
    bound = max(p_value, float(gammaincc(dof / 2, _likelihood_ratio(table, expected) / 2)))
    safety = 1 + 10 / float(expected.min())  # 3 where the smallest expected count is 5
    return ChiSquare(p_value, statistic, dof, v, effect, min(bound * safety, 1.0))


def _likelihood_ratio(table: Floats, expected: Floats) -> float:
    """Twice the log likelihood ratio of the table, divided by Williams' correction to have chi-squared's mean."""
    from scipy.special import xlogy

    statistic = 2 * float((xlogy(table, table / expected) - table + expected).sum())
    correction = float((1 / (6 * expected) + 1 / (6 * expected**2)).sum()) / (table.shape[1] - 1)
    return float(max(statistic, 0.0) / (1 + correction))


def pooled_table(baseline_counts: AnyIntegers, window_counts: AnyArray, unseen: float) -> Floats:
    """The contingency table (2, cells), baseline first. The pooled cell is the last; there is none without rows in it.

    Categories with fewer than `LEAST_EXPECTED` expected rows in either sample are pooled, together with the ``unseen``
    rows of the window.

    Examples
    --------
    >>> pooled_table(np.array([50, 50, 1, 0]), np.array([20, 20, 0, 0]), 3).tolist()
    [[50.0, 50.0, 1.0], [20.0, 20.0, 3.0]]
    """
    table = np.array([baseline_counts, window_counts], np.float64)
    new = np.array([0.0, unseen])
    rows = table.sum(axis=1) + new
    # The expected count of a category is its total times the sample's share of all rows: the smaller sample decides.
    smaller_share = rows.min() / max(rows.sum(), 1.0)
    rare = table.sum(axis=0) * smaller_share < LEAST_EXPECTED
    pooled = table[:, rare].sum(axis=1) + new
    kept = table[:, ~rare]
    return np.column_stack([kept, pooled]) if pooled.any() else kept


def share_distance(baseline_counts: AnyIntegers, window_counts: AnyIntegers, unseen: int) -> float:
    """Cramér's V of the shares p and q, as if both samples had one size: sqrt(½ Σ (p - q)² / (p + q)), in [0, 1].

    No category is pooled; all unseen categories count as one. 0 where either sample is empty.

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
