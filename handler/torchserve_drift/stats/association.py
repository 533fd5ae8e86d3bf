"""Correlations of all pairs of columns, and tests of whether they differ between two samples.

All pairs are computed at once, by products of matrices.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import NamedTuple, Optional

import numpy as np

from torchserve_drift.stats.arrays import AnyIntegers, Bools, Floats
from torchserve_drift.stats.score_tests import Moments, shift_p

LARGEST_CORRELATION = 0.95
"""A pair of columns is left out if the size of its correlation is above this in both samples. Features that nearly
repeat each other differ in a few rows only, and no moments predict how many. Measured without this rule, for 1,000 rows
against 1,000: p < 0.01 three times too often."""

_NOISE = 0.01
"""The variance of independent noise that `_stretched` assumes in each column. Fisher's transform is infinite at a
correlation of 1, and near 1 it would make a large change of a few rows."""

_POWERS = ((1, 1), (2, 2), (3, 1), (3, 3), (4, 2), (5, 1))
"""The powers i and j of each mean product of x^i and y^j that the moments need."""


@dataclass(frozen=True, eq=False)
class Association:
    """The correlations of d columns in a sample, and how far chance moves them.

    ``rows``: the number of independent rows of the sample. ``r`` (d, d): correlations in [-1, 1]. ``variance`` and
    ``third`` (d, d): the second and third central moments of each correlation's influence function.
    """

    rows: float
    r: Floats
    variance: Floats
    third: Floats


class Change(NamedTuple):
    """The change of each pair's correlation, in [-2, 2], and the two-sided p-value of no change."""

    r: Floats
    p_value: Floats


def own_rank_scores(counts: AnyIntegers) -> Floats:
    """The score of each code among the counted rows: its midrank as a share of the rows, minus ½.

    Parameters
    ----------
    counts
        (C,) rows with each code.

    Returns
    -------
    scores
        (C,) in [-½, ½]; all 0 where there are no rows.

    Examples
    --------
    >>> own_rank_scores(np.array([0, 1, 1, 0])).tolist()
    [-0.5, -0.25, 0.25, 0.5]
    """
    at_most = np.cumsum(counts)
    if not len(at_most) or at_most[-1] == 0:
        return np.zeros(len(counts))
    return (at_most - counts / 2) / float(at_most[-1]) - 0.5


def association(columns: Iterable[Floats], rows: int) -> Association:
    """The associations of d columns.

    Parameters
    ----------
    columns
        Blocks (d, b) of rows. Over all blocks each column has mean 0 and variance 1, or is 0 throughout.
    rows
        The rows of all blocks together, at least 1.

    Notes
    -----
    A correlation r of standardised x and y has the influence function xy - r (x² + y²) / 2. Its moments follow from
    sums of the products of powers of x and y: six products of (d, b) and (b, d) matrices for each block.
    """
    products: list[Floats] = []
    even_powers: list[Floats] = []
    for x in columns:
        x2 = x * x
        x3 = x2 * x
        power = (x, x2, x3, x2 * x2, x2 * x3)
        of_pairs = [power[i - 1] @ power[j - 1].T for i, j in _POWERS]
        of_columns = [(x2 * x2).sum(axis=1), (x3 * x3).sum(axis=1)]
        # The sums are added in place: d x d matrices are large.
        products = of_pairs if not products else [total.__iadd__(part) for total, part in zip(products, of_pairs)]
        even_powers = (
            of_columns if not even_powers else [total.__iadd__(part) for total, part in zip(even_powers, of_columns)]
        )
    r, m22, m31, m33, m42, m51 = (total / rows for total in products)
    m40, m60 = (total / rows for total in even_powers)
    np.clip(r, -1, 1, out=r)  # the rounding error of the sums can exceed the range
    # mij is the mean of x^i y^j. These are the means of the influence function's square and cube, multiplied out.
    second = m22 - r * _plus_transpose(m31) + r**2 / 4 * (_plus_transpose(m40[:, None]) + 2 * m22)
    third = m33 - 1.5 * r * _plus_transpose(m42) + 0.75 * r**2 * (_plus_transpose(m51) + 2 * m33)
    third -= r**3 / 8 * (_plus_transpose(m60[:, None]) + 3 * _plus_transpose(m42))
    return Association(float(rows), r, np.maximum(second, 0), third)


def correlations(columns: Iterable[Floats], present: Optional[Iterable[Floats]]) -> Floats:
    """Correlations (d, d) over the rows in which both columns have a value.

    Parameters
    ----------
    columns
        Blocks (d, b): mean 0 and variance 1 over the rows that have a value, 0 in the others.
    present
        Blocks (d, b) of 1 where there is a value and 0 elsewhere; ``None`` where no value is missing.

    Returns
    -------
    r
        In [-1, 1]; NaN where no row has both values.
    """
    # Columns are 0 where they have no value, so such rows add nothing; only the number of rows differs between pairs.
    products: Floats = np.zeros(())
    rows: Floats = np.zeros(())
    for x, known in zip(columns, repeat(None) if present is None else present):
        products = products + x @ x.T
        rows = rows + (float(x.shape[1]) if known is None else known @ known.T)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.clip(products / rows, -1, 1)


def change(
    window: Association,
    baseline: Association,
    others: Sequence[tuple[Floats, Floats]],
    pairs: Bools,
) -> Change:
    """The changes of the correlations from baseline to window.

    Parameters
    ----------
    window, baseline
        Associations of scores that are the same function of the values in both samples.
    others
        Further measures (d, d) of the same associations, in the baseline and in the window, in [-1, 1]; NaN where
        unknown. They stay the same under drift that does not concern the association.
    pairs
        (d, d) True for each pair to compare.

    Returns
    -------
    change
        For each chosen pair, in the order of ``pairs``, the smallest of its changes by all measures. It is 0 where the
        measures disagree on the sign, where one is unknown, and where the correlations of both samples are
        larger than `LARGEST_CORRELATION`.

    Notes
    -----
    The p-value is that of `shift_p` after Fisher's transform, under which the error of a correlation hardly depends on
    the correlation and is nearly symmetric. The error of the first measure is known and sets the level. The others can
    only make the shift smaller, and so the p-value larger.
    """
    before, after = baseline.r[pairs], window.r[pairs]
    comparable = np.minimum(np.abs(before), np.abs(after)) <= LARGEST_CORRELATION
    shift, r = (
        np.where(comparable, _stretched(after) - _stretched(before), 0.0),
        np.where(comparable, after - before, 0.0),
    )
    # Drift that does not concern the association leaves at least one measure unchanged, so the smallest change counts.
    for then, now in others:
        shift = _agreed(shift, _stretched(now[pairs]) - _stretched(then[pairs]))
        r = _agreed(r, now[pairs] - then[pairs])
    # Under a smooth transform moments change by the powers of its slope (the delta method).
    moments = [
        Moments(a.rows, mean, a.variance[pairs] * slope**2, a.third[pairs] * slope**3)
        for a, mean, slope in ((window, shift, _slope(after)), (baseline, np.zeros_like(shift), _slope(before)))
    ]
    return Change(r, shift_p(moments[0], moments[1], cautious=True))


def _plus_transpose(moments: Floats) -> Floats:
    """The moment of x and y plus that of y and x."""
    both: Floats = moments + moments.T
    return both


def _stretched(r: Floats) -> Floats:
    """Fisher's transform of the correlation that remains under a little independent noise."""
    stretched: Floats = np.arctanh(r / (1 + _NOISE))
    return stretched


def _slope(r: Floats) -> Floats:
    """The derivative of `_stretched`."""
    slope: Floats = (1 + _NOISE) / ((1 + _NOISE) ** 2 - r**2)
    return slope


def _agreed(one: Floats, other: Floats) -> Floats:
    """The value nearer to 0; 0 where the signs differ or ``other`` is NaN."""
    nearer = np.where(np.abs(one) < np.abs(other), one, other)
    return np.where(one * other > 0, nearer, 0)
