"""p-values of deviations from what is expected, where rows are correlated: that none exceeds a minimum effect.

All functions compute many p-values at once; their arguments are numbers or arrays that broadcast. ``inverse`` is
1 / effective rows: 1 / independent rows + correlation. ``freedom`` are the degrees of freedom with which it is known.
"""

from __future__ import annotations

import numpy as np

from torchserve_drift.stats.arrays import Floats, FloatsLike
from torchserve_drift.stats.effective_rows import KNOWN, student_factor
from torchserve_drift.stats.kolmogorov import LEAST
from torchserve_drift.stats.score_tests import gamma_tail

_CORRELATED = 0.002
"""Where correlation is a smaller part of the variance than this, a share varies as that of independent rows does."""

_INSIDE = 1e-9
"""Shares of the null are kept so far from 0 and 1."""


def score_p(
    deviation: FloatsLike,
    variance: FloatsLike,
    skewness: FloatsLike,
    *,
    inverse: FloatsLike,
    freedom: FloatsLike,
    min_effect: FloatsLike = 0.0,
) -> Floats:
    """Two-sided p-values of a mean score whose expectation is at most ``min_effect`` away from the expected one.

    Parameters
    ----------
    deviation
        The mean score less the expected one.
    variance, skewness
        Of one row's score.

    Returns
    -------
    p_values
        In (0, 1]; 1 where the deviation does not exceed the minimum effect.

    Notes
    -----
    The larger of two: Student's tail of t = (\\|deviation\\| - min_effect) / sqrt(variance · inverse), and the tail of
    the gamma distribution with the skewness of a mean of 1 / inverse rows, at the normal quantile of Student's tail.

    Examples
    --------
    >>> freedom = np.array([np.inf, np.inf, 10])
    >>> score_p(np.array([0.05, 0.4, 0.4]), 1.0, 0.0, inverse=0.01, freedom=freedom, min_effect=0.1).round(4).tolist()
    [1.0, 0.0027, 0.0133]
    """
    from scipy.special import ndtr, ndtri, stdtr

    d, v, skew, inv, df, g = _floats(deviation, variance, skewness, inverse, freedom, min_effect)
    beyond = _beyond(d, g)
    t = beyond / np.sqrt(np.maximum(v * inv, np.finfo(np.float64).tiny))
    student = np.where(df >= KNOWN, ndtr(-t), stdtr(np.minimum(df, KNOWN), -t))
    skewed = gamma_tail(-ndtri(student), skew * np.sqrt(inv) * np.sign(d))
    return _p(2 * np.maximum(student, skewed), beyond)


def share_p(
    deviation: FloatsLike,
    expected: FloatsLike,
    *,
    inverse: FloatsLike,
    correlation: FloatsLike,
    freedom: FloatsLike,
    min_effect: FloatsLike = 0.0,
) -> Floats:
    """Two-sided p-values of a share whose expectation is at most ``min_effect`` away from ``expected``.

    Returns
    -------
    p_values
        In (0, 1]; 1 where the deviation does not exceed the minimum effect.

    Notes
    -----
    With p the nearest share of the null, and 1 / inverse rows divided by `student_factor`: the binomial tail. Where
    rows are correlated, what is missing or new comes in blocks, and the share varies as a beta-binomial variable. Its
    far tail can be a million times heavier than the binomial one of the same variance. So the tail is the larger one of
    the binomial and of the beta distribution of this mean and variance, which is at least half of the beta-binomial
    tail down to 1e-5, for shares p from 0.002 to 0.1, 50 to 3,000 rows, and correlations up to 0.1.

    Examples
    --------
    >>> inverse, rho = 1 / 500 + np.array([0, 0.01]), np.array([0, 0.01])
    >>> share_p(0.03, 0.01, inverse=inverse, correlation=rho, freedom=np.inf, min_effect=0.008).round(7).tolist()
    [0.0018736, 0.2709461]
    """
    from scipy.special import betainc

    d, e, inv, rho, df, g = _floats(deviation, expected, inverse, correlation, freedom, min_effect)
    beyond, more, factor = _beyond(d, g), d > 0, student_factor(df)
    share, e = np.clip(e + d, 0, 1), np.clip(e, _INSIDE, 1 - _INSIDE)
    # the mirror image of a lower tail is an upper one: hits become misses
    p = np.where(more, np.minimum(e + g, 1 - _INSIDE), 1 - np.maximum(e - g, _INSIDE))
    found = np.where(more, share, 1 - share)
    n = np.maximum(1 / (np.maximum(inv, np.finfo(np.float64).tiny) * factor), 1.0)
    hits = np.maximum(found * n, _INSIDE)
    tail = betainc(hits, n - np.minimum(hits, n) + 1, p)
    spread = rho > _CORRELATED * inv
    kappa = np.maximum(n - 1, 1e-3)
    in_blocks = betainc((1 - p) * kappa, p * kappa, 1 - found)
    return _p(2 * np.where(spread, np.maximum(tail, in_blocks), tail), beyond)


def distance_p(
    distance: FloatsLike, *, inverse: FloatsLike, freedom: FloatsLike, min_effect: FloatsLike = 0.0
) -> Floats:
    """p-values of the largest distance between cumulative shares and the expected ones, at most ``min_effect``.

    The inequality of Dvoretzky, Kiefer, Wolfowitz and Massart at the effective rows: 2 exp(-2 n (D - min_effect)²).
    In (0, 1]; 1 where the distance does not exceed the minimum effect.

    Examples
    --------
    >>> distance_p(np.array([0.03, 0.24]), inverse=0.01, freedom=np.inf, min_effect=0.04).round(6).tolist()
    [1.0, 0.000671]
    """
    d, inv, df, g = _floats(distance, inverse, freedom, min_effect)
    beyond = _beyond(d, g)
    return _p(2 * np.exp(-2 * beyond**2 / np.maximum(inv * student_factor(df), np.finfo(np.float64).tiny)), beyond)


def _beyond(deviation: Floats, min_effect: Floats) -> Floats:
    return np.maximum(np.abs(deviation) - min_effect, 0.0)


def _p(tail: Floats, beyond: Floats) -> Floats:
    """1 without anything beyond the minimum effect, and where a tail is not a number: it must not raise an alarm."""
    return np.where((beyond > 0) & (tail >= 0), np.clip(tail, LEAST, 1.0), 1.0)


def _floats(*arguments: FloatsLike) -> list[Floats]:
    return list(np.broadcast_arrays(*(np.asarray(argument, np.float64) for argument in arguments)))
