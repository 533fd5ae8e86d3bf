"""Location and scale tests by normal scores, which no outlier can fool: they confirm shifts of means and deviations."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from torchserve_drift.stats.ecdf import code_counts
from torchserve_drift.stats.saddlepoint import Floats, FloatsLike


class Moments(NamedTuple):
    """Rows, mean, and second and third central moments (divided by the rows) of scores; one feature's or arrays."""

    rows: FloatsLike
    mean: FloatsLike
    variance: FloatsLike
    third: FloatsLike


def normal_scores(cumulative: npt.NDArray[np.integer]) -> Floats:
    """Van der Waerden's score (2J + 1,) of each code: the normal quantile of (midrank in the baseline + ½) / (n + 1).

    Parameters
    ----------
    cumulative
        (J,) rows of the baseline's sample at or below each distinct value, strictly increasing, J >= 1.

    Notes
    -----
    A value's midrank is the mean of the numbers of the sample's n rows below it and at or below it: rank r has score
    quantile r / (n + 1), the values below all rows ½ / (n + 1).

    Examples
    --------
    >>> normal_scores(np.array([1, 2, 3])).round(2).tolist()
    [-1.15, -0.67, -0.32, 0.0, 0.32, 0.67, 1.15]
    """
    from scipy.special import ndtri

    below, at = code_counts(cumulative)
    z: Floats = ndtri(((below + at) / 2 + 0.5) / (at[-1] + 1.0))
    return z


def shift_p(window: Moments, baseline: Moments, step: FloatsLike = 0.0, *, cautious: npt.ArrayLike = False) -> Floats:
    """Two-sided p-values that the mean scores of window and baseline differ; vectorised over features.

    Parameters
    ----------
    step
        The distance, >= 0, between possible sums of scores, where these are few: sums are then taken half of it nearer
        to what is expected, as the continuous distributions below would else understate the tails of a discrete one.
    cautious
        Whether no tail may be lighter than the normal one: where moments are themselves estimates, or fewer effective
        rows stand for rows that are alike, whose mean is less skewed than that of so few.

    Returns
    -------
    p_values
        In [0, 1]; 1 where the variance of both is 0; NaN where either has no rows.

    Notes
    -----
    Under the null both are samples of one distribution, whose moments are best known from both together; the baseline
    alone would understate those of rare values. The mean difference has variance v (1/m + 1/n) and third cumulant
    c (1/m² - 1/n²). Each tail is that of the gamma distribution (Pearson's type III) with these cumulants: sums of z²,
    and of scores of rare values, have one tail far heavier than the normal and one far lighter. The p-value is twice
    the tail.

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
    skew = third * (1 / m**2 - 1 / n**2) / spread**3 * np.where(t < 0, -1, 1)
    normal, tail = ndtr(-np.abs(t)), _gamma_tail(np.abs(t), np.where(varied, skew, 0))
    tail = np.where(cautious, np.maximum(tail, normal), tail)
    return np.where(known, np.where(varied, np.minimum(2 * tail, 1), 1.0), np.nan)


def _pooled(m: Floats, n: Floats, difference: Floats, window: Moments, baseline: Moments) -> tuple[Floats, Floats]:
    """Second and third central moments of the m and n rows together."""
    share, rest = m / (m + n), n / (m + n)
    within = share * window.variance + rest * baseline.variance
    third = share * window.third + rest * baseline.third
    third = third + 3 * share * rest * difference * (np.asarray(window.variance) - baseline.variance)
    return within + share * rest * difference**2, third + share * rest * (rest - share) * difference**3


def _gamma_tail(t: Floats, skew: Floats) -> Floats:
    """P(T >= t), t >= 0, for T of a gamma distribution, or the negative of one: mean 0, variance 1, and ``skew``."""
    from scipy.special import gammainc, gammaincc, ndtr

    skewed = np.abs(skew) > 1e-3  # below, it is the normal one
    shape = 4 / np.where(skewed, skew, 1) ** 2
    reach = t * np.sqrt(shape)
    heavy, light = gammaincc(shape, shape + reach), gammainc(shape, np.maximum(shape - reach, 0))
    tail: Floats = np.where(skewed, np.where(skew > 0, heavy, light), ndtr(-t))
    return tail
