"""Simulates p-values of the package's statistics without drift: many more than the streams would give.

Each p-value comes from its own baseline and window, so all are independent.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Callable

import numpy as np

from detection_study.calibration import calibration
from detection_study.marginals import Floats, zipf
from torchserve_drift.baseline.profile import QUANTILE_LEVELS
from torchserve_drift.stats import kolmogorov, proportions
from torchserve_drift.stats.bin_scores import bin_scores, score_moments
from torchserve_drift.stats.chisquare import chi2_two_sample
from torchserve_drift.stats.score_tests import shift_p

Simulation = Callable[[np.random.Generator, int], Floats]
"""A function that returns ``n`` independent p-values."""

_AT_ONCE = 50_000


def ks(baseline_rows: int, window_rows: int) -> Simulation:
    """The Kolmogorov-Smirnov test of two samples of a continuous distribution."""

    def p_values(rng: np.random.Generator, n: int) -> Floats:
        d = np.empty(n)
        up = np.arange(1, window_rows + 1) / window_rows
        for i in range(n):
            window = np.sort(rng.random(window_rows))
            share = np.sort(rng.random(baseline_rows)).searchsorted(window) / baseline_rows
            d[i] = max((up - share).max(), (share - up + 1 / window_rows).max())
        return np.asarray(kolmogorov.two_sample_p(d, baseline_rows, window_rows))

    return p_values


def scores(training_rows: int, window_rows: int, power: int) -> Simulation:
    """Location (``power`` 1) or scale (2) by normal scores of the bins between the training rows' quantiles.

    The true shares of the bins are random, since the quantiles come from random rows; the counts of the training rows
    in the bins are fixed.
    """
    before = np.diff(np.round(np.concatenate([[0.0], QUANTILE_LEVELS, [1.0]]) * training_rows))
    of_bins = bin_scores(before[None])
    z, step = (of_bins.location, of_bins.location_step) if power == 1 else (of_bins.scale, of_bins.scale_step)
    known = score_moments(before, z[0], before.sum())

    def p_values(rng: np.random.Generator, n: int) -> Floats:
        found = []
        for start in range(0, n, _AT_ONCE):
            shares = rng.standard_gamma(before, (min(_AT_ONCE, n - start), len(before)))
            shares /= shares.sum(axis=1, keepdims=True)
            counts = rng.multinomial(window_rows, shares)
            rows = np.full(len(counts), float(window_rows))
            found.append(shift_p(score_moments(counts, z[0], rows), known, step))
        return np.concatenate(found)

    return p_values


def chi2(shares: Floats, training_rows: int, window_rows: int, field: str) -> Simulation:
    """The chi-squared test of all categories; ``field``: "p_value", or the "bound" that is compared with alpha."""

    def p_values(rng: np.random.Generator, n: int) -> Floats:
        found = np.empty(n)
        for i in range(n):
            before = rng.multinomial(training_rows, shares)
            now = rng.multinomial(window_rows, shares)
            known = before > 0
            found[i] = chi2_two_sample(before[known], now[known], int(now[~known].sum()))._asdict()[field]
        return found

    return p_values


def share(probability: float, training_rows: int, window_rows: int) -> Simulation:
    """The exact test of a share, such as that of missing values."""

    def p_values(rng: np.random.Generator, n: int) -> Floats:
        before, now = rng.binomial(training_rows, probability, n), rng.binomial(window_rows, probability, n)
        return np.asarray(proportions.two_proportions_p(before, training_rows, now, window_rows))

    return p_values


SIMULATIONS: Mapping[str, tuple[Simulation, float]] = {
    "ks, baseline 10,000, window 4,096": (ks(10_000, 4_096), 0.05),
    "ks, baseline 10,000, window 200": (ks(10_000, 200), 0.1),
    **{
        f"{name} of scores in bins, baseline {training:,}, window {window:,}": (scores(training, window, power), 1.0)
        for name, power in (("location", 1), ("scale", 2))
        for training in (1_000_000, 10_000)
        for window in (200, 2_000)
    },
    **{
        f"chi2{name}, {kind}": (chi2(shares, 1_000_000, window, field), 0.2)
        for kind, shares, window in (
            ("5 categories, window 2,000", np.full(5, 0.2), 2_000),
            ("50 categories by Zipf's law, window 200", zipf(50), 200),
            ("500 categories by Zipf's law, window 200", zipf(500), 200),
        )
        for name, field in (("", "p_value"), (", the bound that is compared with alpha", "bound"))
    },
    "missing, 5 %, baseline 10,000, window 2,000": (share(0.05, 10_000, 2_000), 1.0),
    "missing, 5 %, baseline 1,000,000, window 200": (share(0.05, 1_000_000, 200), 1.0),
}
"""The simulations, each with its number of p-values as a share of the wanted one: the slower ones have fewer."""


def measure(number: int, *, seed: int, say: Callable[[str], None]) -> dict[str, Any]:
    """`calibration` of each simulation."""
    found = {}
    for place, (name, (simulation, afforded)) in enumerate(SIMULATIONS.items()):
        rng = np.random.default_rng([seed, place])
        found[name] = calibration(simulation(rng, int(number * afforded)))
        say(f"p-values of {name}")
    return found
