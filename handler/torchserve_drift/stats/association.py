"""How columns of scores go together in pairs, and whether two samples differ in it: all pairs at once, by products of
matrices."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import NamedTuple, Optional

import numpy as np
import numpy.typing as npt

from torchserve_drift.stats.ranks import Moments, shift_p
from torchserve_drift.stats.saddlepoint import Floats

_NOISE = 0.01
"""Variance of the independent noise that `_stretched` supposes in each column: what tells near-duplicates apart is a
few rows, and Fisher's transform is infinite at 1."""

_POWERS = ((1, 1), (2, 2), (3, 1), (3, 3), (4, 2), (5, 1))


@dataclass(frozen=True, eq=False)
class Association:
    """Of d columns in ``rows`` rows: ``r`` (d, d) their correlations; ``variance`` and ``third``: central moments of
    each correlation's influence function, which say how far chance moves it."""

    rows: float
    r: Floats
    variance: Floats
    third: Floats


class Change(NamedTuple):
    """Of each pair: the change of its correlation, in [-2, 2], and the two-sided p-value of none."""

    r: Floats
    p_value: Floats


def own_rank_scores(counts: npt.NDArray[np.integer]) -> Floats:
    """Midranks among the rows that are counted, as shares of these less ½; 0 where there are none.

    ``counts`` (C,) rows by code.

    Examples
    --------
    >>> own_rank_scores(np.array([0, 1, 1, 0])).tolist()
    [-0.5, -0.25, 0.25, 0.5]
    """
    at = np.cumsum(counts)
    if not len(at) or at[-1] == 0:
        return np.zeros(len(counts))
    return (at - counts / 2) / float(at[-1]) - 0.5


def association(columns: Iterable[Floats], rows: int) -> Association:
    """The associations of d columns that each have mean 0 and variance 1, or are 0 throughout, over all rows.

    Parameters
    ----------
    columns
        Blocks (d, b) of them, together ``rows`` rows, at least one.

    Notes
    -----
    A correlation r of standardised x and y has the influence function xy - r (x² + y²) / 2: sums of the products of
    powers are enough for its moments. Six products of (d, b) and (b, d) a block.
    """
    sums: list[Floats] = []
    alone: list[Floats] = []
    for x in columns:
        x2 = x * x
        x3 = x2 * x
        power = (x, x2, x3, x2 * x2, x2 * x3)
        found = [power[i - 1] @ power[j - 1].T for i, j in _POWERS]
        own = [(x2 * x2).sum(axis=1), (x3 * x3).sum(axis=1)]
        sums = found if not sums else [total.__iadd__(part) for total, part in zip(sums, found)]
        alone = own if not alone else [total.__iadd__(part) for total, part in zip(alone, own)]
    r, m22, m31, m33, m42, m51 = (total / rows for total in sums)
    m40, m60 = (total / rows for total in alone)
    np.clip(r, -1, 1, out=r)
    second = m22 - r * _both(m31) + r**2 / 4 * (_both(m40[:, None]) + 2 * m22)
    third = m33 - 1.5 * r * _both(m42) + 0.75 * r**2 * (_both(m51) + 2 * m33)
    third -= r**3 / 8 * (_both(m60[:, None]) + 3 * _both(m42))
    return Association(float(rows), r, np.maximum(second, 0), third)


def correlations(columns: Iterable[Floats], present: Optional[Iterable[Floats]]) -> Floats:
    """Correlations (d, d) over the rows in which both columns have a value.

    Parameters
    ----------
    columns
        Blocks (d, b): mean 0 and variance 1 over the rows that have a value, 0 in the others.
    present
        Blocks (d, b) of 1 where there is a value and 0 elsewhere; nothing where none is missing.

    Returns
    -------
    r
        In [-1, 1]; NaN where no row has both.
    """
    products: Floats = np.zeros(())
    rows: Floats = np.zeros(())
    for x, known in zip(columns, repeat(None) if present is None else present):
        products = products + x @ x.T
        rows = rows + (float(x.shape[1]) if known is None else known @ known.T)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.clip(products / rows, -1, 1)


TIGHTEST = 0.95
"""A correlation beyond which, in both samples, no change is reported: of features that nearly repeat each other a few
rows decide, whose number no moments foretell. Tried: p < 0.01 three times too often at 1,000 rows against 1,000."""


def change(
    window: Association,
    baseline: Association,
    others: Sequence[tuple[Floats, Floats]],
    pairs: npt.NDArray[np.bool_],
) -> Change:
    """The changes from baseline to window of the ``pairs`` (d, d) chosen, each (number chosen,).

    Parameters
    ----------
    window, baseline
        Of scores that are one function of the values in both samples.
    others
        Further measures (d, d) of the same associations, in the baseline and in the window, in [-1, 1]; NaN where
        unknown. They are there to stay as they were under drift that is not of the association.

    Returns
    -------
    change
        The least of a pair's changes by all measures, 0 where their signs differ or one is unknown, and where
        both samples have a correlation beyond `TIGHTEST`.

    Notes
    -----
    The p-value is `shift_p` after Fisher's transform, under which a correlation's error hardly depends on it nor leans
    to one side. The level is that of the first measure, whose error is known; further ones only raise the p-value.
    """
    before, after = baseline.r[pairs], window.r[pairs]
    loose = np.minimum(np.abs(before), np.abs(after)) <= TIGHTEST
    shift, r = np.where(loose, _stretched(after) - _stretched(before), 0.0), np.where(loose, after - before, 0.0)
    for then, now in others:
        shift = _agreed(shift, _stretched(now[pairs]) - _stretched(then[pairs]))
        r = _agreed(r, now[pairs] - then[pairs])
    moments = [
        Moments(a.rows, mean, a.variance[pairs] * slope**2, a.third[pairs] * slope**3)
        for a, mean, slope in ((window, shift, _slope(after)), (baseline, np.zeros_like(shift), _slope(before)))
    ]
    return Change(r, shift_p(moments[0], moments[1], cautious=True))


def _both(moments: Floats) -> Floats:
    both: Floats = moments + moments.T
    return both


def _stretched(r: Floats) -> Floats:
    stretched: Floats = np.arctanh(r / (1 + _NOISE))
    return stretched


def _slope(r: Floats) -> Floats:
    """The derivative of `_stretched`."""
    slope: Floats = (1 + _NOISE) / ((1 + _NOISE) ** 2 - r**2)
    return slope


def _agreed(one: Floats, other: Floats) -> Floats:
    """The one nearer to 0; 0 where their signs differ or ``other`` is NaN."""
    nearer = np.where(np.abs(one) < np.abs(other), one, other)
    return np.where(one * other > 0, nearer, 0)
