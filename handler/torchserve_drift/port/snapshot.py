"""The snapshot of one model: a plain dictionary that the evaluating process publishes and the serving one reads.

Its keys are a file format: every snapshot file has all of them (`SnapshotFiles`).
"""

from __future__ import annotations

from typing import Any, Optional, TypedDict


class FeatureSnapshot(TypedDict):
    """Exact counts of one feature over all rows since the beginning, and those of the baseline.

    Of a numeric feature: ``le`` upper bounds without infinity, ``bucket`` (len(le) + 1) cumulative counts with the
    total last, ``baseline_cdf`` (len(le)) the baseline's share of values at or below each bound. Of a categorical one:
    ``categories``, at most ``export.max_categories``, most frequent in the baseline first, with their ``counts`` and
    ``baseline_frequency``; ``other`` counts the baseline's further categories, ``unseen`` those that it lacks. The
    fields of the other kind are empty or 0. ``rejected`` counts values by the reason for which they were not used.
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
    """One model version. ``report`` is `Report.to_dict()`, ``None`` before the first evaluation."""

    model_name: str
    model_version: str
    report: Optional[dict[str, Any]]
    features: list[FeatureSnapshot]
    baseline: dict[str, Any]
    """sha256, created, rows, features (a number), and time_variation ("learned" or "unknown")"""
    rows_total: int
    rows_rejected: dict[str, int]
    """by reason"""
    values_unknown: int
    """values whose name is not a feature"""
    errors: dict[str, int]
    """by stage"""
    evaluation_seconds: float
    last_evaluation_timestamp_seconds: float
    observe_seconds: dict[str, Any]
    """le: upper bounds in seconds without infinity; counts: cumulative, with the total last; sum: seconds"""
    top_features: int
    """0: all features have series; n: only the n most important ones and all drifted ones"""
