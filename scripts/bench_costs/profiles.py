"""Baselines of normal numbers, made in memory."""

from __future__ import annotations

import numpy as np

from torchserve_drift.baseline.profile import QUANTILE_LEVELS, Baseline, NumericBaseline

BASELINE_ROWS = 10_000


def normal_baseline(features: int, seed: int = 0) -> Baseline:
    """``features`` standard normal features, 10,000 rows."""
    rng = np.random.default_rng(seed)
    return Baseline(
        tuple(_feature(f"x{i}", rng.standard_normal(BASELINE_ROWS), 1 / features) for i in range(features)),
        rows=BASELINE_ROWS,
        created="2026-01-01T00:00:00+00:00",
        seed=seed,
        sha256="0" * 64,
    )


def _feature(name: str, values: np.ndarray, importance: float) -> NumericBaseline:
    edges = np.unique(np.quantile(values, [*QUANTILE_LEVELS, 1.0]))
    return NumericBaseline(
        name,
        len(values),
        0,
        0,
        float(values.mean()),
        float(values.std(ddof=1)),
        float(values.min()),
        float(values.max()),
        np.quantile(values, QUANTILE_LEVELS),
        edges,
        np.searchsorted(np.sort(values), edges, "right").astype(np.int64),
        values,
        importance,
    )
