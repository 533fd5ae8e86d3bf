"""Baselines of normal numbers and of categories, made in memory."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from torchserve_drift.baseline.baseline import Baseline
from torchserve_drift.baseline.profile import QUANTILE_LEVELS, CategoricalBaseline, FeatureBaseline, NumericBaseline

BASELINE_ROWS = 10_000
CATEGORIES = 10


def normal_baseline(features: int, seed: int = 0) -> Baseline:
    """``features`` standard normal features, 10,000 rows."""
    rng = np.random.default_rng(seed)
    return _baseline(_numeric(f"x{i}", rng.standard_normal(BASELINE_ROWS), 1 / features) for i in range(features))


def categorical_baseline(features: int, seed: int = 0) -> Baseline:
    """``features`` of ten categories each, equally frequent, 10,000 rows."""
    rng = np.random.default_rng(seed)
    return _baseline(
        _categorical(f"c{i}", rng.integers(0, CATEGORIES, BASELINE_ROWS), 1 / features) for i in range(features)
    )


def _baseline(features: Iterable[FeatureBaseline]) -> Baseline:
    created = "2026-01-01T00:00:00+00:00"
    return Baseline(tuple(features), rows=BASELINE_ROWS, created=created, seed=0, sha256="0" * 64)


def _categorical(name: str, values: np.ndarray, importance: float) -> CategoricalBaseline:
    counts = np.bincount(values, minlength=CATEGORIES)
    ordered = np.argsort(-counts, kind="stable")
    places = np.argsort(ordered)
    return CategoricalBaseline(
        name, tuple(f"{i:02d}" for i in ordered), counts[ordered], 0, places[values].astype(np.uint16), importance
    )


def _numeric(name: str, values: np.ndarray, importance: float) -> NumericBaseline:
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
