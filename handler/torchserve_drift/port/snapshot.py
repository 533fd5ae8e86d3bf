"""What the port knows of one model: a plain dictionary, published by whoever evaluates it, read by whoever serves."""

from __future__ import annotations

from typing import Any, Optional, TypedDict


class FeatureSnapshot(TypedDict):
    """Exact counts of one feature over all rows ever observed, beside the baseline's.

    Numeric: ``le`` upper bounds (without infinity), ``bucket`` cumulative counts per bound with the total last
    (len(le) + 1), ``baseline_cdf`` shares of the baseline <= each bound (len(le)). Categorical: ``categories`` (at most
    ``export.max_categories``, most frequent in the baseline first), ``counts`` and ``baseline_frequency`` of each, then
    ``other`` (further categories of the baseline) and ``unseen`` (in no baseline). The fields of the other kind are
    empty or 0.
    """

    name: str
    kind: str
    importance: float
    le: list[float]
    bucket: list[int]
    baseline_cdf: list[float]
    categories: list[str]
    counts: list[int]
    baseline_frequency: list[float]
    other: int
    other_baseline_frequency: float
    unseen: int
    rejected: dict[str, int]


class Snapshot(TypedDict):
    """One model version. ``report`` is `Report.to_dict()` or ``None`` before the first evaluation."""

    model_name: str
    model_version: str
    report: Optional[dict[str, Any]]
    features: list[FeatureSnapshot]
    baseline: dict[str, Any]
    """sha256, created, rows, features"""
    rows_total: int
    rows_rejected: dict[str, int]
    values_unknown: int
    """values under names that are no features"""
    errors: dict[str, int]
    evaluation_seconds: float
    last_evaluation_timestamp_seconds: float
    observe_seconds: dict[str, Any]
    """le: upper bounds in seconds (without infinity), counts: cumulative with the total last, sum: seconds"""
    top_features: int
    """0: all; else only so many features, the most important and all drifted ones, have per-feature series"""
