"""A baseline as JSON-ready data: everything but the samples."""

from __future__ import annotations

import math
from typing import Any, Optional

from torchserve_drift.baseline.profile import (
    QUANTILE_LEVELS,
    CategoricalBaseline,
    FeatureBaseline,
    NumericBaseline,
    Profile,
)


def to_dict(baseline: Profile) -> dict[str, Any]:
    """``baseline`` without its samples; ``None`` where a feature has no values.

    A category's ``share`` is of the feature's rows that have a category.
    """
    joint = {"tolerance": baseline.joint_tolerance, "variation": baseline.joint_variation.tolist()}
    features = [_feature(feature) for feature in baseline.features]
    return {**summary(baseline), "seed": baseline.seed, "joint": joint, "features": features}


def summary(baseline: Profile) -> dict[str, Any]:
    """What is true of the baseline as a whole."""
    kinds = [feature.kind for feature in baseline.features]
    return {
        "rows": baseline.rows,
        "sample_rows": baseline.sample_rows,
        "numeric": kinds.count("numeric"),
        "categorical": kinds.count("categorical"),
        "spans": baseline.spans,
        "created": baseline.created,
        "sha256": baseline.sha256,
    }


def _feature(feature: FeatureBaseline) -> dict[str, Any]:
    plain = {
        "name": feature.name,
        "kind": feature.kind,
        "importance": feature.importance,
        "count": feature.count,
        "missing": feature.missing,
        "tolerance": {check: feature.tolerance(check) for check in feature.variation},
        "variation": {check: effects.tolist() for check, effects in feature.variation.items()},
    }
    if isinstance(feature, NumericBaseline):
        return {**plain, **_numeric(feature)}
    return {**plain, "categories": _categories(feature)}


def _numeric(feature: NumericBaseline) -> dict[str, Any]:
    quantiles = {f"{level:g}": _finite(value) for level, value in zip(QUANTILE_LEVELS, feature.quantiles.tolist())}
    return {
        "invalid": feature.invalid,
        "mean": _finite(feature.mean),
        "std": _finite(feature.std),
        "minimum": _finite(feature.minimum),
        "maximum": _finite(feature.maximum),
        "quantiles": quantiles,
        "edges": feature.edges.tolist(),
        "edge_counts": feature.edge_counts.tolist(),
    }


def _categories(feature: CategoricalBaseline) -> list[dict[str, Any]]:
    return [
        {"category": category, "count": count, "share": count / feature.count if feature.count else 0.0}
        for category, count in zip(feature.categories, feature.counts.tolist())
    ]


def _finite(value: float) -> Optional[float]:
    return value if math.isfinite(value) else None
