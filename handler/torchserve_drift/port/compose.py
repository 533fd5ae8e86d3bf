"""A monitor's snapshot, from its report, its totals and its baseline."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from torchserve_drift.baseline.profile import CategoricalBaseline, FeatureBaseline, NumericBaseline
from torchserve_drift.port.snapshot import FeatureSnapshot, Snapshot
from torchserve_drift.stats.arrays import Floats
from torchserve_drift.window import fields
from torchserve_drift.window.counters import describe

if TYPE_CHECKING:
    from torchserve_drift.monitoring.monitor import Monitor


def snapshot_of(monitor: Monitor) -> Snapshot:
    """What the port shows of a monitor's model."""
    totals, counts = monitor.store.totals(), describe(monitor.store.counters())
    baseline, report, export = monitor.baseline, monitor.report, monitor.settings.export
    features = [
        _feature(feature, monitor.store.layout.part(totals, index), export.max_categories)
        for index, feature in enumerate(baseline.features)
    ]
    return {
        "model_name": monitor.model_name,
        "model_version": monitor.model_version,
        "report": report.to_dict() if report else None,
        "features": sorted(features, key=lambda feature: -feature["importance"]),
        "baseline": {
            "sha256": baseline.sha256,
            "created": baseline.created,
            "rows": baseline.rows,
            "features": len(baseline.features),
        },
        "rows_total": int(totals[fields.ROWS]),
        "rows_rejected": dict(counts["rows_rejected"]),
        "values_unknown": counts["unknown"],
        "errors": dict(counts["errors"]),
        "evaluation_seconds": monitor.evaluation_seconds,
        "last_evaluation_timestamp_seconds": report.evaluated_at if report else 0.0,
        "observe_seconds": counts["observe_seconds"],
        "top_features": export.top_features,
    }


def _feature(feature: FeatureBaseline, part: Floats, max_categories: int) -> FeatureSnapshot:
    shown: FeatureSnapshot = {
        "name": feature.name,
        "kind": feature.kind,
        "importance": feature.importance,
        "le": [],
        "bucket": [],
        "baseline_cdf": [],
        "categories": [],
        "counts": [],
        "baseline_frequency": [],
        "other": 0,
        "other_baseline_frequency": 0.0,
        "unseen": 0,
        "rejected": {"missing": int(part[fields.MISSING]), "mistyped": int(part[fields.MISTYPED])},
    }
    if isinstance(feature, NumericBaseline):
        _numeric(shown, feature, part)
    else:
        _categorical(shown, feature, part, max_categories)
    return shown


def _numeric(shown: FeatureSnapshot, feature: NumericBaseline, part: Floats) -> None:
    shown["rejected"]["infinite"] = int(part[fields.INFINITE])
    shown["le"] = feature.edges.tolist()
    shown["bucket"] = part[fields.BINS :].cumsum().astype(np.int64).tolist()
    shown["baseline_cdf"] = (feature.edge_counts / max(feature.count, 1)).tolist()


def _categorical(shown: FeatureSnapshot, feature: CategoricalBaseline, part: Floats, max_categories: int) -> None:
    counts = part[fields.CATEGORIES :].astype(np.int64)
    shares = feature.counts / max(feature.count, 1)
    shown["categories"] = list(feature.categories[:max_categories])
    shown["counts"] = counts[:max_categories].tolist()
    shown["baseline_frequency"] = shares[:max_categories].tolist()
    shown["other"] = int(counts[max_categories:].sum())
    shown["other_baseline_frequency"] = float(shares[max_categories:].sum())
    shown["unseen"] = int(part[fields.UNSEEN])
