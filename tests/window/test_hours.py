"""The hours of the week of a window's rows and the time over which they lie, against the definition pane by pane."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from baselines import baseline
from torchserve_drift.settings.settings import Window
from torchserve_drift.window.hours import hour_of, hour_shares
from torchserve_drift.window.merge import SPAN_PANES, WindowRows
from torchserve_drift.window.store import Store

KNOWN = baseline({"x": np.arange(1000.0)})
START = 1_700_000_000.0
HOUR = 3600.0


def overlap(begin: float, end: float) -> np.ndarray:
    """The share of each hour of the week in an interval, hour by hour."""
    shares = np.zeros(168)
    hour = np.floor(begin / HOUR)
    while hour * HOUR < end:
        inside = min(end, (hour + 1) * HOUR) - max(begin, hour * HOUR)
        shares[int(hour) % 168] += inside / (end - begin)
        hour += 1
    return shares


@pytest.mark.parametrize("length", [1.0, 700.0, 2700.0, 90_000.0, 3e6])
def test_the_hours_of_an_interval_are_those_it_overlaps(length: float) -> None:
    begins = START + np.random.default_rng(0).uniform(0, 7 * 86400, 30)
    found = hour_shares(begins, begins + length)
    np.testing.assert_allclose(found, [overlap(begin, begin + length) for begin in begins], atol=1e-9)
    np.testing.assert_allclose(found.sum(axis=1), 1)


def test_an_interval_without_length_lies_in_one_hour() -> None:
    found = hour_shares(np.array([START]), np.array([START]))
    assert found[0, hour_of(START)] == found.sum() == 1


def stored(times: np.ndarray, windows: list[Window], directory: Path, workers: int = 1) -> list[Store]:
    stores = [Store(KNOWN, windows, 200, directory=directory, seed=i) for i in range(workers)]
    for i, time in enumerate(times):
        store = stores[i % workers]
        store.append(np.zeros((1 + i % 3, 1)), float(time), bytes([1, *[0] * (i % 3)]))
        store.writer.fold()
    return stores


def definition(times: np.ndarray, seconds: float, panes: int, now: float, span: int) -> tuple[np.ndarray, float]:
    """Rows by hour of the newest ``span`` panes, and the time over which they lie."""
    unit = seconds / panes
    newest = int(np.floor(now / unit))
    sizes, ids = 1 + np.arange(len(times)) % 3, np.floor(times / unit).astype(int)
    in_span = ids > newest - span
    hours = np.bincount((times[in_span] // HOUR).astype(int) % 168, sizes[in_span], 168)
    n, squares, within, length = 0.0, 0.0, 0.0, 0.0
    for pane in range(newest - span + 1, newest + 1):
        inside, end = sizes[ids == pane], min((pane + 1) * unit, now)
        lasts = max(end - pane * unit, unit / 8)
        n, squares, length = n + inside.sum(), squares + (inside**2).sum(), length + lasts
        within += (inside.sum() ** 2 - (inside**2).sum()) / lasts
    return hours, min((n * n - squares) / within, length) if within > 0 else length


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("seconds", [3600.0, 86400.0, 40 * 86400.0])
def test_rows_of_a_window_of_time_are_counted_by_the_hour(seconds: float, workers: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    # half of the rows come in one eighth of the window
    times = START + np.sort(np.r_[rng.uniform(0, seconds, 150), rng.uniform(0.6, 0.725, 150) * seconds])
    now = float(times[-1]) + 1.0
    store = stored(times, [Window("w", seconds=seconds)], tmp_path, workers)[0]
    (window,) = store.windows(now)
    panes = store.layout.panes
    for s, span in enumerate([count for count in SPAN_PANES if count < panes] + [panes]):
        hours, length = definition(times, seconds, panes, now, span)
        if seconds <= 7 * 86400.0:
            np.testing.assert_allclose(window.in_time.hours[s], hours, atol=1e-6)
        else:  # hours before the newest 176 are not counted one by one
            np.testing.assert_allclose(window.in_time.hours[s].sum(), hours.sum())
        assert window.in_time.lengths[s] == pytest.approx(length, rel=1e-3)  # the end of the ring parts a request
    np.testing.assert_allclose(window.in_time.hours.sum(axis=1), window.spans[:, 0])
    assert window.in_time.seconds == seconds
    assert 0 < window.in_time.spread < 0.7


def test_rows_of_a_job_at_the_full_hour_are_in_its_hour(tmp_path: Path) -> None:
    """A pane of a window of 24 hours lasts 45 minutes: from half past one to a quarter past two, for example."""
    two_o_clock = (START // HOUR + 2) * HOUR
    times = np.r_[two_o_clock - np.arange(3600.0, 0, -360), two_o_clock + np.arange(0, 600.0, 3)]
    window = windows_at(times, Window("24h", seconds=86400.0), tmp_path)
    hour = int(hour_of(two_o_clock))
    sizes = 1 + np.arange(len(times)) % 3
    assert window.in_time.hours[-1, hour] == sizes[10:].sum()
    assert window.in_time.hours[-1, hour - 1] == sizes[:10].sum()


def windows_at(times: np.ndarray, window: Window, directory: Path) -> WindowRows:
    return stored(times, [window], directory)[0].windows(float(times[-1]))[0]


def test_evenly_spread_rows_lie_over_the_whole_window(tmp_path: Path) -> None:
    window = windows_at(START + np.arange(0, 86400.0, 120), Window("1d", seconds=86400.0), tmp_path)
    assert window.in_time.spread > 0.9


def test_rows_of_a_window_of_rows_fall_into_the_hour_in_which_their_pane_ended(tmp_path: Path) -> None:
    window = windows_at(START + 600.0 * np.arange(300), Window("200 rows", rows=200), tmp_path)
    np.testing.assert_allclose(window.in_time.hours.sum(axis=1), window.spans[:, 0])
    assert window.in_time.seconds is None
    assert window.in_time.spread == 1.0
    assert window.in_time.hours[-1].max() < 40
