"""The shortest possible delay: that of a CUSUM that knows both distributions, at the same rate of false alarms.

Moustakides (1986): no rule with as many rows between false alarms has a shorter worst-case delay.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Callable

import numpy as np

from detection_study.marginals import Floats
from detection_study.setting import FEATURE_RATE_ROWS, delay_at_looks
from detection_study.shifts import CORRELATION, MISSING_SHARE, MORE_SHARES, NEW_SHARE, STD_RATIO

Draw = Callable[[np.random.Generator, int], Floats]


@dataclass(frozen=True)
class LogRatios:
    """Functions that draw log-likelihood ratios of rows, without drift and with it."""

    before: Draw
    after: Draw


def _normal(mean: float, std: float) -> LogRatios:
    def ratio(x: Floats) -> Floats:
        return -np.log(std) + x * x / 2 - ((x - mean) / std) ** 2 / 2

    return LogRatios(
        lambda rng, n: ratio(rng.standard_normal(n)), lambda rng, n: ratio(mean + std * rng.standard_normal(n))
    )


def _shares(before: Floats, after: Floats) -> LogRatios:
    ratios = np.log(after / before)

    def drawn(shares: Floats) -> Draw:
        steps = np.cumsum(shares)
        return lambda rng, n: ratios[np.minimum(steps.searchsorted(rng.random(n), "right"), len(steps) - 1)]

    return LogRatios(drawn(before), drawn(after))


def _correlation(rho: float) -> LogRatios:
    def ratio(x: Floats, y: Floats) -> Floats:
        rest = 1 - rho * rho
        return -np.log(rest) / 2 - (rho * rho * (x * x + y * y) - 2 * rho * x * y) / (2 * rest)

    def after(rng: np.random.Generator, n: int) -> Floats:
        x = rng.standard_normal(n)
        return ratio(x, rho * x + np.sqrt(1 - rho * rho) * rng.standard_normal(n))

    return LogRatios(lambda rng, n: ratio(rng.standard_normal(n), rng.standard_normal(n)), after)


LOG_RATIOS = {
    **{f"mean +{s:g} σ": _normal(s, 1.0) for s in (0.1, 0.25, 0.5, 1.0)},
    "std × 1.25": _normal(0.0, STD_RATIO),
    "category +5 points": _shares(np.full(5, 0.2), MORE_SHARES),
    "correlation 0 → 0.5": _correlation(CORRELATION),
}
FIRST_ROW = {"new category 1 %": NEW_SHARE, "missing 0 → 5 %": MISSING_SHARE}
"""Values that never occur without drift: the first row with one is enough. The numbers are its probabilities."""


def threshold(ratios: LogRatios, rows: float, *, cycles: int = 40_000, seed: int = 31) -> float:
    """The threshold that CUSUM without drift crosses every ``rows`` rows on average.

    Notes
    -----
    The walk renews itself at 0. So the number of rows between alarms is the mean length of a cycle, divided by the
    probability that a cycle ends above the threshold. This probability is too small to be simulated. But it equals the
    mean over cycles with drift of exp(-S) if the cycle ends above, at S, and of 0 otherwise.
    """
    rng = np.random.default_rng(seed)
    level = np.log(rows)
    for _ in range(3):  # log(rows) is the level plus a term that hardly depends on it
        length, _ = _cycles(ratios.before, rng, cycles, level)
        _, ends = _cycles(ratios.after, rng, cycles, level)
        crossing = np.where(ends > 0, np.exp(-ends), 0.0).mean()
        level += np.log(rows) - np.log(length / crossing)
    return float(level)


def _cycles(draw: Draw, rng: np.random.Generator, cycles: int, level: float) -> tuple[float, Floats]:
    """Random walks from 0 until they are <= 0 or >= ``level``: their mean length, and where each ended."""
    walk, ends, steps = np.zeros(cycles), np.zeros(cycles), 0
    live = np.arange(cycles)
    while len(live):
        steps += len(live)
        walk[live] += draw(rng, len(live))
        over = (walk[live] <= 0) | (walk[live] >= level)
        ends[live[over]] = np.where(walk[live[over]] >= level, walk[live[over]], 0.0)
        live = live[~over]
    return steps / cycles, ends


def delays(name: str, *, repetitions: int = 2_000, warm_up: int = 2_000, seed: int = 32) -> list[int]:
    """Rows from the onset to the alarm, for each repetition. The feature has a twentieth of the budget."""
    rng = np.random.default_rng(seed)
    if name in FIRST_ROW:
        return [int(row) for row in rng.geometric(FIRST_ROW[name], repetitions)]
    ratios = LOG_RATIOS[name]
    level = threshold(ratios, FEATURE_RATE_ROWS)
    state = np.zeros(repetitions)
    for _ in range(warm_up):
        state = np.maximum(state + ratios.before(rng, repetitions), 0)
    found, row, live = np.zeros(repetitions, int), 0, np.arange(repetitions)
    while len(live):
        row += 1
        state[live] = np.maximum(state[live] + ratios.after(rng, len(live)), 0)
        over = state[live] >= level
        found[live[over]] = row
        live = live[~over]
    return found.tolist()


def measure() -> dict[str, dict[str, float]]:
    """By shift: the median delay if every row is a look; median, 90 % quantile and mean for looks every 200 rows."""
    table = {}
    for name in (*LOG_RATIOS, *FIRST_ROW):
        rows = delays(name)
        seen = [delay_at_looks(row) for row in rows]
        table[name] = {
            "median_row": float(np.median(rows)),
            "median": float(np.median(seen)),
            "q90": float(np.quantile(seen, 0.9)),
            "mean": float(np.mean(seen)),
        }
    return table
