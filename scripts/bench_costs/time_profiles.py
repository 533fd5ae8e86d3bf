"""One evaluation of features with time profiles, compared with that of the same features without them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from bench_costs.evaluate import PANES, WINDOW_ROWS
from bench_costs.timing import medians, ratio
from torchserve_drift import Monitor
from torchserve_drift.baseline.baseline import Baseline
from torchserve_drift.training.time_learning import with_time_profiles

DAYS = 28
TRAINING_ROWS = 40_320
DAY = 86400.0
START = 1_699_488_000.0


def measure(rounds: int) -> list[dict[str, object]]:
    """One row of the table for 20 numeric and for 20 categorical features."""
    return [_row(kind, rounds) for kind in ("numeric", "categorical")]


def _row(kind: str, rounds: int) -> dict[str, object]:
    rng = np.random.default_rng(3)
    times = START + np.sort(rng.uniform(0, DAYS * DAY, TRAINING_ROWS))
    columns = {f"f{i}": _values(kind, rng, TRAINING_ROWS) for i in range(20)}
    timed = with_time_profiles(Baseline.from_columns(columns), columns, times)
    plain = replace(timed, features=tuple(replace(feature, time=None) for feature in timed.features))
    rows = {name: _values(kind, rng, WINDOW_ROWS) for name in columns}
    found = medians(
        {"with": _monitor(timed, rows).evaluate, "without": _monitor(plain, rows).evaluate}, rounds=rounds, seconds=0.0
    )
    return {
        "20 features": kind,
        "without time profiles": f"{np.median(found['without']) * 1e3:.1f}",
        "with": f"{np.median(found['with']) * 1e3:.1f}",
        "with / without": f"{ratio(found, 'with', 'without'):.2f}",
    }


def _values(kind: str, rng: np.random.Generator, rows: int) -> np.ndarray:
    if kind == "numeric":
        return rng.standard_normal(rows)
    return np.array([f"c{i}" for i in range(10)])[rng.integers(0, 10, rows)]


def _monitor(baseline: Baseline, rows: dict[str, np.ndarray]) -> Monitor:
    """A monitor with the default windows that recorded ``rows`` in a day, a tenth of them in its last hour."""
    now = START + 60 * DAY
    monitor = Monitor(baseline, {"min_rows": 50}, clock=lambda: now, seed=0)
    blocks = np.array_split(np.arange(WINDOW_ROWS), 10 * PANES)
    for i, block in enumerate(blocks):
        now += 0.9 * DAY / (9 * PANES) if i < 9 * PANES else 3600 / PANES
        monitor.observe({name: values[block] for name, values in rows.items()})
    report = monitor.evaluate()
    assert all(window.state != "too_few_rows" for window in report.windows.values())
    return monitor
