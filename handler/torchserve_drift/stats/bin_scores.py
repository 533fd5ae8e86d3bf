"""Normal scores of bins, for location and scale tests that need only counts: these add up over panes and workers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from torchserve_drift.stats.arrays import Bools, Floats
from torchserve_drift.stats.score_tests import Moments

_SAME_SCORE = 1e-9
"""Scores that differ by less are taken as equal: the squares of mirrored bins differ by a rounding error."""


@dataclass(frozen=True, eq=False)
class BinScores:
    """Scores of the bins of many features.

    ``location`` (F, B): cut the normal distribution into bins with the baseline's shares as their probabilities; the
    score of a bin is the mean of a normal variable in it. ``scale`` (F, B): the mean of its square. A feature with
    fewer than B bins never has rows in the rest. ``location_step`` and ``scale_step`` (F,): the distance between
    neighbouring scores, averaged over the baseline's rows. Where most rows share few scores, possible sums of scores
    are that far apart; elsewhere a step is small.
    """

    location: Floats
    scale: Floats
    location_step: Floats
    scale_step: Floats


def bin_scores(counts: Floats) -> BinScores:
    """The scores of each feature's bins.

    Parameters
    ----------
    counts
        (F, B) the baseline's rows in each bin; each feature has at least one row.

    Returns
    -------
    scores
        A bin without rows has the scores of the nearest bin below that has rows, or else of the nearest above.

    Notes
    -----
    With the bins of a baseline (`profile.QUANTILE_LEVELS`) and normally distributed rows, the scores keep 99.6 % of the
    information about a shift and 98 % of the information about a spread. They are bounded, so that no outlier
    dominates a sum.

    Examples
    --------
    >>> scores = bin_scores(np.array([[25, 25, 25, 25, 0]]))
    >>> scores.location.round(3).tolist()
    [[-1.271, -0.325, 0.325, 1.271, 1.271]]
    >>> scores.scale.round(3).tolist()
    [[1.857, 0.143, 0.143, 1.857, 1.857]]
    """
    from scipy.special import ndtri

    totals = counts.sum(axis=1, keepdims=True)
    filled = counts > 0
    ends = np.concatenate([np.zeros_like(totals), np.cumsum(counts, axis=1)], axis=1) / totals
    quantiles = ndtri(np.clip(ends, 0, 1))
    # Between two quantiles the integral of z times the normal density is the difference of -density; that of z² is the
    # probability minus the difference of z times density. At ±infinity, the outer ends, both terms are 0.
    density = np.exp(-0.5 * quantiles * quantiles) / np.sqrt(2 * np.pi)
    moment = np.where(np.isfinite(quantiles), np.where(np.isfinite(quantiles), quantiles, 0) * density, 0)
    shares = counts / totals
    divisor = np.where(filled, shares, 1)
    location = _spread_to_empty(-np.diff(density, axis=1) / divisor, filled)
    scale = _spread_to_empty(1 - np.diff(moment, axis=1) / divisor, filled)
    return BinScores(location, scale, _step(location, shares), _step(scale, shares))


def _spread_to_empty(scores: Floats, filled: Bools) -> Floats:
    """The scores, with those of empty bins replaced by those of the nearest filled bin below, or else the first."""
    bins = np.arange(scores.shape[1])
    below = np.maximum.accumulate(np.where(filled, bins, -1), axis=1)
    first = filled.argmax(axis=1)[:, None]
    spread: Floats = np.take_along_axis(scores, np.where(below >= 0, below, first), axis=1)
    return spread


def _step(scores: Floats, shares: Floats) -> Floats:
    """The mean over rows of the distance from a row's score to its neighbours, the nearest other scores."""
    # apart[f, i, j]: how far the score of bin j is above that of bin i. Bins without rows do not count.
    filled, apart = shares[:, None, :] > 0, scores[:, None, :] - scores[:, :, None]
    above = np.where(filled & (apart > _SAME_SCORE), apart, np.inf).min(axis=2)
    below = np.where(filled & (apart < -_SAME_SCORE), -apart, np.inf).min(axis=2)
    # The first and the last score have one neighbour, all others two; a single score has none.
    nearest = np.minimum(above, below)
    distance = np.where(np.isfinite(np.maximum(above, below)), (above + below) / 2, nearest)
    step: Floats = (shares * np.where(np.isfinite(nearest), distance, 0.0)).sum(axis=1)
    return step


def score_moments(counts: Floats, scores: Floats, rows: Floats) -> Moments:
    """Moments of the scores of counted rows.

    Parameters
    ----------
    counts
        (..., F, B) rows in each bin.
    scores
        (F, B) score of each bin.
    rows
        (..., F) effective rows: the number of independent rows that the counted rows are worth.

    Examples
    --------
    >>> moments = score_moments(np.array([[1.0, 3.0]]), np.array([[-1.0, 1.0]]), np.array([4.0]))
    >>> [float(moment[0]) for moment in moments]
    [4.0, 0.5, 0.75, -0.75]
    """
    total = np.maximum(counts.sum(axis=-1), 1)
    mean = (counts * scores).sum(axis=-1) / total
    centred = scores - mean[..., None]
    square = counts * centred * centred
    return Moments(rows, mean, square.sum(axis=-1) / total, (square * centred).sum(axis=-1) / total)
