"""A baseline as data for JSON: everything but the samples."""

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
from torchserve_drift.baseline.time_summary import time_facts


def to_dict(baseline: Profile) -> dict[str, Any]:
    """``baseline`` without its samples. A feature has ``time`` when it has a time profile.

    A statistic is ``None`` when the feature has no values: JSON has no NaN. A category's ``share`` is relative to the
    rows of the feature that have a category.
    """
    joint = {"tolerance": baseline.joint_tolerance, "variation": baseline.joint_variation.tolist()}
    features = [_feature_facts(feature) for feature in baseline.features]
    return {**overview(baseline), "seed": baseline.seed, "joint": joint, "features": features}


def overview(baseline: Profile) -> dict[str, Any]:
    """The facts about the baseline as a whole, without its features."""
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


def _feature_facts(feature: FeatureBaseline) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "name": feature.name,
        "kind": feature.kind,
        "importance": feature.importance,
        "count": feature.count,
        "missing": feature.missing,
        "tolerance": {check: feature.tolerance(check) for check in feature.variation},
        "variation": {check: effects.tolist() for check, effects in feature.variation.items()},
    }
    if feature.time is not None:
        facts["time"] = time_facts(feature, feature.time)
    if isinstance(feature, NumericBaseline):
        return {**facts, **_numeric_facts(feature)}
    return {**facts, "categories": _category_facts(feature)}


def _numeric_facts(feature: NumericBaseline) -> dict[str, Any]:
    quantiles = {
        f"{level:g}": _none_for_nan(value) for level, value in zip(QUANTILE_LEVELS, feature.quantiles.tolist())
    }
    return {
        "invalid": feature.invalid,
        "mean": _none_for_nan(feature.mean),
        "std": _none_for_nan(feature.std),
        "minimum": _none_for_nan(feature.minimum),
        "maximum": _none_for_nan(feature.maximum),
        "quantiles": quantiles,
        "edges": feature.edges.tolist(),
        "edge_counts": feature.edge_counts.tolist(),
    }


def _category_facts(feature: CategoricalBaseline) -> list[dict[str, Any]]:
    return [
        {"category": category, "count": count, "share": count / feature.count if feature.count else 0.0}
        for category, count in zip(feature.categories, feature.counts.tolist())
    ]


def _none_for_nan(value: float) -> Optional[float]:
    return value if math.isfinite(value) else None
