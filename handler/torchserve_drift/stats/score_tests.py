"""Location and scale tests by normal scores. Outliers have little influence on them, unlike on means and deviations."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from torchserve_drift.stats.arrays import AnyIntegers, Floats, FloatsLike
from torchserve_drift.stats.ecdf import code_counts


class Moments(NamedTuple):
    """Moments of the scores in a sample, of one feature or as arrays of many.

    ``rows``; ``mean``; ``variance`` and ``third``: the second and third central moments, sums divided by the rows.
    """

    rows: FloatsLike
    mean: FloatsLike
    variance: FloatsLike
    third: FloatsLike


def normal_scores(cumulative: AnyIntegers) -> Floats:
    """Van der Waerden's score of each code: the normal quantile of (midrank in the baseline's sample + ½) / (n + 1).

    Parameters
    ----------
    cumulative
        (J,) rows of the baseline's sample at or below each distinct value, strictly increasing, J >= 1.

    Returns
    -------
    scores
        (2J + 1,) the score of each code, see `ecdf`.

    Notes
    -----
    Of the n rows of the sample, some are below a value and some are at most that value. The value's midrank is the mean
    of these two numbers. So the value of rank r has the quantile of r / (n + 1), and a value below all rows that of
    ½ / (n + 1).

    Examples
    --------
    >>> normal_scores(np.array([1, 2, 3])).round(2).tolist()
    [-1.15, -0.67, -0.32, 0.0, 0.32, 0.67, 1.15]
    """
    from scipy.special import ndtri

    below, at_most = code_counts(cumulative)
    z: Floats = ndtri(((below + at_most) / 2 + 0.5) / (at_most[-1] + 1.0))
    return z


def shift_p(window: Moments, baseline: Moments, step: FloatsLike = 0.0, *, cautious: npt.ArrayLike = False) -> Floats:
    """Two-sided p-values of a difference between the mean scores of window and baseline, for many features at once.

    Parameters
    ----------
    window, baseline
        The moments of both samples.
    step
        The distance, >= 0, between possible sums of scores where only few sums are possible. The sum is moved towards
        its expectation by half a step (a continuity correction). Without it, the continuous distributions below would
        understate the tails of a discrete one.
    cautious
        Whether no tail may be lighter than the normal one. Set it where the moments are estimates, and where effective
        rows are fewer than rows: the mean of many dependent rows is less skewed than that of few independent ones.

    Returns
    -------
    p_values
        In [0, 1]; 1 where the variance of both samples together is 0; NaN where either sample has no rows.

    Notes
    -----
    Under the null both samples come from one distribution. Its second and third central moments v and c are estimated
    from both samples together, because the baseline alone understates those of rare values. With m and n rows, the
    difference of the means has variance v (1/m + 1/n) and third cumulant c (1/m² - 1/n²). Its tail is taken from the
    gamma distribution (Pearson's type III) with these cumulants, and the p-value is twice the tail. Sums of z², and of
    scores of rare values, have one tail much heavier than the normal one and one much lighter.

    References
    ----------
    J. Klotz, "Nonparametric tests for scale", Ann. Math. Statist. 33, 1962.
    """
    from scipy.special import ndtr

    m, n = np.asarray(window.rows, np.float64), np.asarray(baseline.rows, np.float64)
    known = (m > 0) & (n > 0)
    m, n = np.where(known, m, 1), np.where(known, n, 1)
    difference = np.asarray(window.mean, np.float64) - baseline.mean
    difference = np.sign(difference) * np.maximum(np.abs(difference) - np.asarray(step, np.float64) / (2 * m), 0)
    variance, third = _pooled(m, n, difference, window, baseline)
    spread = np.sqrt(variance * (1 / m + 1 / n))
    varied = known & (spread > 1e-12)
    spread = np.where(varied, spread, 1)
    t = np.where(varied, difference / spread, 0)
    # Only upper tails are computed: the lower tail of t is the upper one of -t, whose skewness has the other sign.
    skew = third * (1 / m**2 - 1 / n**2) / spread**3 * np.where(t < 0, -1, 1)
    normal, tail = ndtr(-np.abs(t)), gamma_tail(np.abs(t), np.where(varied, skew, 0))
    tail = np.where(cautious, np.maximum(tail, normal), tail)
    return np.where(known, np.where(varied, np.minimum(2 * tail, 1), 1.0), np.nan)


def _pooled(m: Floats, n: Floats, difference: Floats, window: Moments, baseline: Moments) -> tuple[Floats, Floats]:
    """Second and third central moments of the m and n rows together."""
    # The moments within the samples, weighted by their rows, plus those of the two means about the common mean.
    share, rest = m / (m + n), n / (m + n)
    within = share * window.variance + rest * baseline.variance
    third = share * window.third + rest * baseline.third
    third = third + 3 * share * rest * difference * (np.asarray(window.variance) - baseline.variance)
    return within + share * rest * difference**2, third + share * rest * (rest - share) * difference**3


def gamma_tail(t: Floats, skew: Floats) -> Floats:
    """P(T >= t) for t >= 0, where T has a shifted gamma distribution of mean 0, variance 1 and skewness ``skew``.

    With a negative ``skew``, -T has the gamma distribution.
    """
    from scipy.special import gammainc, gammaincc, ndtr

    skewed = np.abs(skew) > 1e-3  # with less skewness it is the normal tail
    # A gamma variable of shape k has mean k, variance k and skewness 2 / sqrt(k).
    shape = 4 / np.where(skewed, skew, 1) ** 2
    reach = t * np.sqrt(shape)
    heavy, light = gammaincc(shape, shape + reach), gammainc(shape, np.maximum(shape - reach, 0))
    tail: Floats = np.where(skewed, np.where(skew > 0, heavy, light), ndtr(-t))
    return tail
