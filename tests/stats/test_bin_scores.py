"""Scores of bins against their definition, and the far tails of their sums against exact convolutions."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from scipy import integrate, optimize
from scipy import stats as scipy_stats

from torchserve_drift.baseline.profile import QUANTILE_LEVELS
from torchserve_drift.stats.bin_scores import bin_scores, score_moments
from torchserve_drift.stats.score_tests import Moments, shift_p

Floats = npt.NDArray[np.float64]
LEVELS = np.diff([0, *QUANTILE_LEVELS, 1])


def scored(shares: Floats) -> tuple[Floats, Floats]:
    scores = bin_scores(np.array([shares]))
    return scores.location[0], scores.scale[0]


def test_scores_are_the_mean_of_a_normal_variable_and_of_its_square_within_the_bin() -> None:
    shares = np.array([0.1, 0.45, 0.05, 0.4])
    ends = scipy_stats.norm.ppf(np.concatenate([[0], np.cumsum(shares)]).clip(0, 1))
    for power, scores in zip((1, 2), scored(shares)):
        for low, high, share, score in zip(ends, ends[1:], shares, scores):
            mean = integrate.quad(lambda z, k=power: z**k * scipy_stats.norm.pdf(z), low, high)[0] / share
            assert score == pytest.approx(mean, abs=1e-7)


def test_little_information_is_lost_to_the_bins_of_a_baseline() -> None:
    location, scale = scored(LEVELS)
    assert LEVELS @ location**2 > 0.995  # Fisher's information about a shift is 1
    assert (LEVELS @ scale**2 - 1) / 2 > 0.98  # and about a spread 2


def test_moments_are_those_of_the_rows() -> None:
    rng = np.random.default_rng(0)
    counts, scores = rng.integers(0, 9, (3, 2, 5)).astype(float), rng.normal(size=(2, 5))
    moments = score_moments(counts, scores, np.full((3, 2), 7.0))
    for s in range(3):
        for f in range(2):
            rows = np.repeat(scores[f], counts[s, f].astype(int))
            centred = rows - rows.mean()
            expected = (7.0, rows.mean(), (centred**2).mean(), (centred**3).mean())
            assert [float(m[s, f]) for m in moments] == pytest.approx(expected)


def exact_tail(shares: Floats, scores: Floats, rows: int, z: float) -> tuple[Floats, float, float]:
    """The rounded scores, a value v of the mean score of ``rows`` independent rows, and P(mean score >= v).

    v is a possible value about z standard deviations above the mean. The probability is computed by convolution of the
    distribution tilted to v, so that 1e-10 is as exact as 0.1. Scores are rounded to 400 steps.
    """
    low, step = scores.min(), (scores.max() - scores.min()) / 400
    places = np.round((scores - low) / step).astype(int)
    scores = low + places * step
    mean = shares @ scores
    target = mean + z * np.sqrt(shares @ scores**2 - mean**2) / np.sqrt(rows)

    def tilted(tilt: float) -> float:
        weights = shares * np.exp(tilt * (scores - scores.max()))
        return float(weights @ scores / weights.sum() - target)

    tilt = optimize.brentq(tilted, 0, 60)
    weights = shares * np.exp(tilt * scores)
    size = 1 << int(np.ceil(np.log2(400 * rows + 1)))
    single = np.zeros(size)
    np.add.at(single, places, weights / weights.sum())
    sums = np.maximum(np.fft.irfft(np.fft.rfft(single) ** rows, size), 0)[: 400 * rows + 1]
    values = np.arange(len(sums)) * step + rows * low
    first = int(np.searchsorted(values, target * rows - 1e-9))
    first += int(np.argmax(sums[first:] > sums.max() * 1e-9))  # a possible value of the sum
    probability = (sums[first:] * np.exp(rows * np.log(weights.sum()) - tilt * values[first:])).sum()
    return scores, float(values[first] / rows), float(probability)


SHARES = {
    "of a baseline's bins": LEVELS,
    "two values": np.array([0.5, 0.5]),
    "a rare value": np.array([0.99, 0.01]),
    "counts": np.array([0.97, 0.02, 0.007, 0.003]),
}


@pytest.mark.parametrize("kind", SHARES)
@pytest.mark.parametrize("rows", [200, 6400])
@pytest.mark.parametrize("z", [2.5, 4.0, 5.0, 6.0])
@pytest.mark.parametrize("side", [1, -1])
def test_either_tail_is_not_too_small_down_to_1e_9_nor_much_too_large(
    kind: str, rows: int, z: float, side: int
) -> None:
    """With a baseline so large that it is exactly known, shift_p has the tail of a sum of independent scores."""
    shares = SHARES[kind]
    scores_of_bins = bin_scores(np.array([shares]))
    for name in ("location", "scale"):
        scores, step = getattr(scores_of_bins, name)[0], getattr(scores_of_bins, f"{name}_step")[0]
        if np.ptp(scores) == 0:
            continue  # the squares of two equally likely values are equal
        spread = np.sqrt(shares @ scores**2 - (shares @ scores) ** 2)
        if z * spread / np.sqrt(rows) >= (side * (scores - shares @ scores)).max():
            continue  # no mean is so far away
        sided, value, probability = exact_tail(shares, side * scores, rows, z)
        mean = shares @ sided
        variance, third = shares @ (sided - mean) ** 2, shares @ (sided - mean) ** 3
        p = shift_p(Moments(rows, value, variance, third), Moments(1e15, mean, variance, third), step) / 2
        if probability > 1e-10:
            assert 0.99 * probability <= p <= (1.3 if kind == "of a baseline's bins" else 9) * probability
