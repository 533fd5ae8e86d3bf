"""Baselines computed in memory by the definition of each field, for all tests that need a baseline."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from torchserve_drift.baseline.baseline import Baseline
from torchserve_drift.baseline.profile import MISSING_CODE, QUANTILE_LEVELS, CategoricalBaseline, NumericBaseline
from torchserve_drift.features.schema import category_key


def numeric(name: str, values: Sequence[float], importance: float = 1.0, sample: Any = None) -> NumericBaseline:
    values = np.asarray(values, dtype=float)
    finite = values[np.isfinite(values)]
    edges = np.unique(np.quantile(finite, [*QUANTILE_LEVELS, 1.0])) if len(finite) else np.empty(0)
    kept = values if sample is None else np.asarray(sample, dtype=float)
    return NumericBaseline(
        name=name,
        count=len(finite),
        missing=int(np.isnan(values).sum()),
        invalid=int(np.isinf(values).sum()),
        mean=float(finite.mean()) if len(finite) else float("nan"),
        std=float(finite.std(ddof=1)) if len(finite) > 1 else 0.0,
        minimum=float(finite.min()) if len(finite) else float("nan"),
        maximum=float(finite.max()) if len(finite) else float("nan"),
        quantiles=np.quantile(finite, QUANTILE_LEVELS) if len(finite) else np.full(len(QUANTILE_LEVELS), np.nan),
        edges=edges,
        edge_counts=np.array([(finite <= edge).sum() for edge in edges], dtype=np.int64),
        sample=np.where(np.isfinite(kept), kept, np.nan),
        importance=importance,
    )


def categorical(name: str, values: Sequence[Any], importance: float = 1.0) -> CategoricalBaseline:
    keys = [category_key(value) for value in values]
    counts = Counter(key for key in keys if isinstance(key, str))
    categories = sorted(counts, key=lambda key: (-counts[key], key))
    index = {key: i for i, key in enumerate(categories)}
    return CategoricalBaseline(
        name=name,
        categories=tuple(categories),
        counts=np.array([counts[key] for key in categories], dtype=np.int64),
        missing=sum(key is None for key in keys),
        sample=np.array([index.get(key, MISSING_CODE) for key in keys], dtype=np.uint16),  # type: ignore[arg-type]
        importance=importance,
    )


def baseline(columns: Mapping[str, Sequence[Any]]) -> Baseline:
    """A baseline of ``columns``: those of numbers are numeric features, all others categorical ones."""
    share = 1 / len(columns)
    features = tuple(
        numeric(name, values, share) if np.asarray(values).dtype.kind in "fiu" else categorical(name, values, share)
        for name, values in columns.items()
    )
    return Baseline(
        features, rows=len(next(iter(columns.values()))), created="2026-01-01T00:00:00+00:00", seed=0, sha256="0" * 64
    )
