"""How much rarer p-values of training windows claim to be than they are."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from torchserve_drift.baseline.time_profile import DAY_SECONDS, GROUPS, TESTED_LENGTHS
from torchserve_drift.stats.arrays import Bools, Floats, Indices
from torchserve_drift.stats.deviations import score_p, share_p
from torchserve_drift.training.time_channels import Channel
from torchserve_drift.training.time_correlation import Correlation, Deviations
from torchserve_drift.training.time_grid import CELL, TimeGrid, Windows, cumulated

_RANK = 3
"""Of the largest surprise of each day in training, the one at this rank sets the exponent."""

_LEAST_P = 1e-300
_FEWEST_ROWS, _ENOUGH_ROWS = 20, 200


def tail_exponents(
    channel: Channel,
    found: Sequence[tuple[Windows, Deviations]],
    correlation: Correlation,
    group: Indices,
    grid: TimeGrid,
) -> Floats:
    """The exponent (len(TESTED_LENGTHS),) of p-values of ``channel``; see `exponent_of`."""
    exponents: dict[int, float] = {}
    share_of_groups = [cumulated(np.diff(channel.count) * (group[grid.cell_hour] == g)) for g in range(GROUPS)]
    for windows, deviations in found:
        if windows.length > DAY_SECONDS or not len(deviations.rows):
            continue
        weights = np.array([windows.sums(total)[deviations.chosen] for total in share_of_groups])
        rho = correlation.by_group[windows.place] @ weights / deviations.rows
        inverse = deviations.inverse_rows + rho
        p_values = _p_values(channel, deviations, rho, inverse, correlation.freedom_at(windows.place, inverse))
        exponents[windows.place] = exponent_of(p_values, deviations.rows, deviations.chosen, windows, grid)
    return for_all_lengths(exponents)


def _p_values(channel: Channel, found: Deviations, rho: Floats, inverse: Floats, freedom: Floats) -> Floats:
    if channel.is_share:
        return share_p(found.difference, found.expected, inverse=inverse, correlation=rho, freedom=freedom)
    return score_p(found.difference, found.variance, channel.skewness, inverse=inverse, freedom=freedom)


def exponent_of(p_values: Floats, rows: Floats, chosen: Bools, windows: Windows, grid: TimeGrid) -> float:
    """The exponent, above 0 and at most 1, that makes p-values (W,) of training windows as rare as they claim.

    Of N independent windows three have p-values of at most 3/N. Where the third smallest of all days' smallest
    p-values is p, the exponent is log(3/N) / log(p).
    """
    enough = rows >= min(_ENOUGH_ROWS, max(_FEWEST_ROWS, float(np.median(rows))))
    if not enough.any():
        return 1.0
    surprise = np.where(enough, -np.log(np.maximum(p_values, _LEAST_P)), 0.0)
    day = (grid.start + windows.ends[chosen] * CELL) // DAY_SECONDS
    largest = np.sort(np.maximum.reduceat(surprise, np.flatnonzero(np.diff(day, prepend=-np.inf) > 0)))[::-1]
    reached = float(largest[min(_RANK - 1, len(largest) - 1)])
    apart = windows.independent_share
    independent = max(np.count_nonzero(enough) * _extremal_index(reached, apart), _RANK + 1.0)
    return min(1.0, math.log(independent / _RANK) / max(reached, 1e-9))


def _extremal_index(surprise: float, apart: float) -> float:
    """How many independent windows an overlapping one counts for, where large deviations are looked for.

    Windows begin ``apart`` of their length after one another, so that neighbours differ by s = z sqrt(2 apart) standard
    deviations of a mean, z the deviation. Large deviations come in runs of 1 / (s^2/2 nu(s)) windows.

    References
    ----------
    D. Siegmund, "Sequential Analysis" (1985), chapter 10, with nu(s) near exp(-0.583 s), and at most its largest value.
    """
    from scipy.special import ndtri

    z = float(-ndtri(max(math.exp(-surprise), _LEAST_P) / 2))
    s = min(z * math.sqrt(2 * apart), 2 / 0.583)
    return max(apart, s * s / 2 * math.exp(-0.583 * s))


def for_all_lengths(exponents: Mapping[int, float]) -> Floats:
    """Exponents by the place of their length; a length that training lacks has the least of the others."""
    tail = np.full(len(TESTED_LENGTHS), min(exponents.values(), default=1.0))
    for place, exponent in exponents.items():
        tail[place] = exponent
    return tail
