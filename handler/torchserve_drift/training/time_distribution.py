"""The channel ``ks``: how far distributions in windows of training time are from what their hours let expect."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from torchserve_drift.baseline.time_profile import DAY_SECONDS, GROUPS, LENGTHS, PRIOR_ROWS, TESTED_LENGTHS
from torchserve_drift.stats.arrays import Bools, Floats
from torchserve_drift.stats.deviations import distance_p
from torchserve_drift.stats.paule_mandel import correlation_of, not_increasing
from torchserve_drift.training.time_channels import CodedRows
from torchserve_drift.training.time_correlation import FEWEST_ROWS, FEWEST_WINDOWS, Correlation, extend_to_shorter
from torchserve_drift.training.time_grid import cumulated
from torchserve_drift.training.time_requests import design_effect
from torchserve_drift.training.time_tail import exponent_of, for_all_lengths

_MEAN_SQUARE = math.pi**2 / 12
"""The mean of n D^2 of n independent rows of a continuous distribution (Kolmogorov's limit)."""


class _Distances(NamedTuple):
    """Of windows of one length: which have enough rows (all,), and of those ``rows``, D, and 1 / independent rows."""

    chosen: Bools
    rows: Floats
    distance: Floats
    inverse_rows: Floats


def distribution_channel(rows: CodedRows, clustering: float, freedom: Floats) -> tuple[Correlation, Floats]:
    """The correlation by length and the tail's exponents (len(TESTED_LENGTHS),) of the channel ``ks``.

    ``clustering`` and ``freedom`` are those of the location.
    """
    grid = rows.grid
    pooled, learnt = np.zeros(len(LENGTHS)), []
    found = list(zip(grid.windows, _distances(rows, clustering)))
    for windows, (_, _, distance, inverse) in found:
        if len(distance) >= FEWEST_WINDOWS:
            pooled[windows.place] = correlation_of(distance * distance / _MEAN_SQUARE, inverse)
            learnt.append(windows.place)
    pooled, freedom = not_increasing(pooled), freedom.copy()
    by_group = np.repeat(pooled[: len(TESTED_LENGTHS), None], GROUPS, axis=1)
    if learnt:
        extend_to_shorter(pooled, freedom, by_group, learnt[0])
    correlation = Correlation(by_group, pooled, freedom)
    exponents: dict[int, float] = {}
    for windows, (chosen, in_window, distance, inverse_rows) in found:
        if windows.length <= DAY_SECONDS and len(distance):
            inverse = inverse_rows + pooled[windows.place]
            p_values = distance_p(distance, inverse=inverse, freedom=correlation.freedom_at(windows.place, inverse))
            exponents[windows.place] = exponent_of(p_values, in_window, chosen, windows, grid)
    return correlation, for_all_lengths(exponents)


def _distances(rows: CodedRows, clustering: float) -> list[_Distances]:
    grid, count = rows.grid, cumulated(rows.in_cell)
    expected = _expected_shares(rows)
    chosen = [windows.sums(count) >= FEWEST_ROWS for windows in grid.windows]
    largest = [np.zeros(np.count_nonzero(some)) for some in chosen]
    # the rows up to each edge, one edge at a time: those of all edges at once would take too much memory
    below = np.zeros(grid.cells)
    for edge in range(rows.codes - 1):
        below += np.bincount(rows.cell[rows.code == edge], minlength=grid.cells)
        excess = cumulated(below - rows.in_cell * expected[grid.cell_half, grid.cell_hour, edge])
        for windows, some, so_far in zip(grid.windows, chosen, largest):
            np.maximum(so_far, np.abs(windows.sums(excess)[some]), out=so_far)
    found = []
    for windows, some, distance in zip(grid.windows, chosen, largest):
        in_window = windows.sums(count)[some]
        inverse = design_effect(clustering, windows)[some] / in_window
        found.append(_Distances(some, in_window, distance / in_window, inverse))
    return found


def _expected_shares(rows: CodedRows) -> Floats:
    """(2, HOURS, codes) the share of rows up to each edge, that the other half of training time lets expect."""
    other = np.cumsum(rows.table[::-1], axis=2)
    overall = np.cumsum(rows.table.sum(axis=(0, 1))) / max(int(rows.table.sum()), 1)
    shares: Floats = (other + PRIOR_ROWS * overall) / (other[:, :, -1:] + PRIOR_ROWS)
    return shares
