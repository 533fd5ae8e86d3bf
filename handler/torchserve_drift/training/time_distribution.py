"""The channel ``ks``: how far distributions in windows of training time are from what their hours let expect."""

from __future__ import annotations

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


class _Distances(NamedTuple):
    """Of windows of one length: which have enough rows (all,), and of those ``rows``, D, and 1 / independent rows.

    ``correlation`` is the largest one of any edge, 0 when there are too few windows.
    """

    chosen: Bools
    rows: Floats
    distance: Floats
    inverse_rows: Floats
    correlation: float


def distribution_channel(rows: CodedRows, clustering: float, freedom: Floats) -> tuple[Correlation, Floats]:
    """The correlation by length and the tail's exponents (len(TESTED_LENGTHS),) of the channel ``ks``.

    ``clustering`` and ``freedom`` are those of the location.
    """
    grid = rows.grid
    pooled, learnt = np.zeros(len(LENGTHS)), []
    found = list(zip(grid.windows, _distances(rows, clustering)))
    for windows, distances in found:
        if len(distances.distance) >= FEWEST_WINDOWS:
            pooled[windows.place] = distances.correlation
            learnt.append(windows.place)
    pooled, freedom = not_increasing(pooled), freedom.copy()
    by_group = np.repeat(pooled[: len(TESTED_LENGTHS), None], GROUPS, axis=1)
    if learnt:
        extend_to_shorter(pooled, freedom, by_group, learnt[0])
    correlation = Correlation(by_group, pooled, freedom)
    exponents: dict[int, float] = {}
    for windows, (chosen, in_window, distance, inverse_rows, _) in found:
        if windows.length <= DAY_SECONDS and len(distance):
            inverse = inverse_rows + pooled[windows.place]
            p_values = distance_p(distance, inverse=inverse, freedom=correlation.freedom_at(windows.place, inverse))
            exponents[windows.place] = exponent_of(p_values, in_window, chosen, windows, grid)
    return correlation, for_all_lengths(exponents)


def _distances(rows: CodedRows, clustering: float) -> list[_Distances]:
    """Of all windows. The tail 2 exp(-2 n D^2) is that of the edge where the deviation d varies most.

    With independent rows that is where half of them are below, and d has the variance 1 / 4n. So the correlation rho is
    the largest of any edge for which the mean of 4 d^2 / (4 v/n + rho) is 1, v the variance of a row within an hour.
    """
    grid, count = rows.grid, cumulated(rows.in_cell)
    expected = _expected_shares(rows)
    by_hour = rows.table.sum(axis=2)
    variances = (by_hour[:, :, None] * expected * (1 - expected)).sum(axis=(0, 1)) / max(int(by_hour.sum()), 1)
    found = []
    for windows in grid.windows:
        in_window = windows.sums(count)
        chosen = in_window >= FEWEST_ROWS
        inverse = design_effect(clustering, windows)[chosen] / in_window[chosen]
        found.append(_Distances(chosen, in_window[chosen], np.zeros(len(inverse)), inverse, 0.0))
    # one edge at a time: the rows up to all edges at once would take too much memory
    below = np.zeros(grid.cells)
    for edge in range(rows.codes - 1):
        if not variances[edge] > 0:  # no row is below, or all rows are: rows with times may be few of all rows
            continue
        below += np.bincount(rows.cell[rows.code == edge], minlength=grid.cells)
        excess = cumulated(below - rows.in_cell * expected[grid.cell_half, grid.cell_hour, edge])
        for place, (windows, so_far) in enumerate(zip(grid.windows, found)):
            deviation = np.abs(windows.sums(excess)[so_far.chosen]) / so_far.rows
            correlation = correlation_of(4 * deviation * deviation, 4 * float(variances[edge]) * so_far.inverse_rows)
            np.maximum(so_far.distance, deviation, out=so_far.distance)
            found[place] = so_far._replace(correlation=max(so_far.correlation, correlation))
    return found


def _expected_shares(rows: CodedRows) -> Floats:
    """(2, HOURS, codes) the share of rows up to each edge, that the other half of training time lets expect."""
    other = np.cumsum(rows.table[::-1], axis=2)
    overall = np.cumsum(rows.table.sum(axis=(0, 1))) / max(int(rows.table.sum()), 1)
    shares: Floats = (other + PRIOR_ROWS * overall) / (other[:, :, -1:] + PRIOR_ROWS)
    return shares
