"""One evaluation of all checks, compared with sorting and searching the same columns and with a loop over SciPy."""

from __future__ import annotations

import numpy as np

from bench_costs.profiles import BASELINE_ROWS, CATEGORIES, categorical_baseline, normal_baseline
from bench_costs.timing import medians, ratio
from torchserve_drift import Monitor
from torchserve_drift.baseline.baseline import Baseline

WINDOW_ROWS = 4_096
PANES = 32


def measure(rounds: int) -> list[dict[str, object]]:
    """One row of the table for 20 and for 1,000 features."""
    return [_row(features, rounds) for features in (20, 1000)]


def _row(features: int, rounds: int) -> dict[str, object]:
    from scipy import stats

    rng = np.random.default_rng(2)
    baseline, rows = normal_baseline(features), rng.standard_normal((WINDOW_ROWS, features))
    numbers = _monitor(baseline, rows)
    categories = _monitor(
        categorical_baseline(features), rng.integers(0, CATEGORIES, (WINDOW_ROWS, features)).astype(np.float64)
    )
    samples = [np.sort(feature.sample) for feature in baseline.features]
    columns = [np.ascontiguousarray(rows[:, i]) for i in range(features)]
    up = np.arange(1, WINDOW_ROWS + 1) / WINDOW_ROWS
    low = np.arange(WINDOW_ROWS) / WINDOW_ROWS

    def sort_and_search() -> list[float]:
        found = []
        for sample, column in zip(samples, columns):
            ordered = np.sort(column)
            above = (up - sample.searchsorted(ordered, "right") / BASELINE_ROWS).max()
            below = (sample.searchsorted(ordered, "left") / BASELINE_ROWS - low).max()
            found.append(max(above, below))
        return found

    def scipy_loop() -> list[float]:
        return [stats.ks_2samp(s, c, method="asymp").pvalue for s, c in zip(samples, columns)]

    candidates = {"sort": sort_and_search, "scipy": scipy_loop, "evaluate": numbers.evaluate}
    candidates["categories"] = categories.evaluate
    found = medians(candidates, rounds=rounds, seconds=0.0)
    return {
        "features": str(features),
        "sort + searchsorted": f"{np.median(found['sort']) * 1e3:.1f}",
        "scipy.stats.ks_2samp": f"{np.median(found['scipy']) * 1e3:.1f}",
        "evaluate()": f"{np.median(found['evaluate']) * 1e3:.1f}",
        "evaluate / sort": f"{ratio(found, 'evaluate', 'sort'):.2f}",
        "scipy / evaluate": f"{ratio(found, 'scipy', 'evaluate'):.1f}",
        "categorical / numeric": f"{ratio(found, 'categories', 'evaluate'):.1f}",
    }


def _monitor(baseline: Baseline, rows: np.ndarray) -> Monitor:
    """A monitor that recorded ``rows``, spread over all panes of its window, and evaluated them once."""
    now = 0.0
    monitor = Monitor(baseline, {"windows": ["1h"]}, clock=lambda: now, seed=0)
    for block in np.array_split(rows, PANES):
        now += 3600 / PANES
        monitor.record(block)
    assert monitor.evaluate().windows["1h"].sample_rows == len(rows)
    return monitor
