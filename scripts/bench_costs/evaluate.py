"""One evaluation, all checks of all features, beside sorting and searching the same columns and a loop over SciPy."""

from __future__ import annotations

import numpy as np

from bench_costs.profiles import BASELINE_ROWS, normal_baseline
from bench_costs.timing import medians, ratio
from torchserve_drift import Monitor

WINDOW_ROWS = 4_096


def measure(rounds: int) -> list[dict[str, object]]:
    """One row of the table for 20 and for 1,000 features."""
    return [_row(features, rounds) for features in (20, 1000)]


def _row(features: int, rounds: int) -> dict[str, object]:
    from scipy import stats

    baseline = normal_baseline(features)
    monitor = Monitor(baseline, {"windows": ["1h"]}, clock=lambda: 0.0, seed=0)
    rows = np.random.default_rng(2).standard_normal((WINDOW_ROWS, features))
    monitor.record(rows)
    assert monitor.evaluate().windows["1h"].sample_rows == WINDOW_ROWS
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

    contenders = {"sort": sort_and_search, "scipy": scipy_loop, "evaluate": monitor.evaluate}
    found = medians(contenders, rounds=rounds, seconds=0.0)
    return {
        "features": str(features),
        "sort + searchsorted": f"{np.median(found['sort']) * 1e3:.1f}",
        "scipy.stats.ks_2samp": f"{np.median(found['scipy']) * 1e3:.1f}",
        "evaluate()": f"{np.median(found['evaluate']) * 1e3:.1f}",
        "evaluate / sort": f"{ratio(found, 'evaluate', 'sort'):.2f}",
        "scipy / evaluate": f"{ratio(found, 'scipy', 'evaluate'):.1f}",
    }
