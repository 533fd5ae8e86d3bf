"""A model's snapshot, composed of its profile, its latest report and its counts."""

from __future__ import annotations

from typing import Optional

import numpy as np

from torchserve_drift.baseline.profile import CategoricalBaseline, FeatureBaseline, NumericBaseline, Profile
from torchserve_drift.port.snapshot import FeatureSnapshot, Snapshot
from torchserve_drift.settings.settings import Export
from torchserve_drift.stats.arrays import Floats
from torchserve_drift.verdicts.report import Report
from torchserve_drift.window import fields
from torchserve_drift.window.counters import describe
from torchserve_drift.window.layout import Layout


def compose_snapshot(
    *,
    model_name: str,
    model_version: str,
    profile: Profile,
    report: Optional[Report],
    layout: Layout,
    totals: Floats,
    counters: Floats,
    evaluation_seconds: float,
    export: Export,
) -> Snapshot:
    """What the port shows of one model version.

    Parameters
    ----------
    report
        The latest report, ``None`` before the first evaluation.
    layout, totals
        The tally vector (layout.length,) of all rows since the beginning, and where each feature's part of it lies.
    counters
        The counters (counters.LENGTH,) of all workers, added up.
    evaluation_seconds
        How long the last evaluation took.
    export
        ``max_categories`` limits the categories of a feature; ``top_features`` becomes part of the snapshot.
    """
    counts = describe(counters)
    features = [
        _feature_snapshot(feature, layout.part(totals, index), export.max_categories)
        for index, feature in enumerate(profile.features)
    ]
    return {
        "model_name": model_name,
        "model_version": model_version,
        "report": report.to_dict() if report else None,
        "features": sorted(features, key=lambda feature: -feature["importance"]),
        "baseline": {
            "sha256": profile.sha256,
            "created": profile.created,
            "rows": profile.rows,
            "features": len(profile.features),
            "time_variation": profile.time_variation,
        },
        "rows_total": int(totals[fields.ROWS]),
        "rows_rejected": dict(counts["rows_rejected"]),
        "values_unknown": counts["unknown"],
        "errors": dict(counts["errors"]),
        "evaluation_seconds": evaluation_seconds,
        "last_evaluation_timestamp_seconds": report.evaluated_at if report else 0.0,
        "observe_seconds": counts["observe_seconds"],
        "top_features": export.top_features,
    }


def _feature_snapshot(feature: FeatureBaseline, tally: Floats, max_categories: int) -> FeatureSnapshot:
    """The exact counts of one feature, from its part of the tally vector."""
    snapshot: FeatureSnapshot = {
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
        "rejected": {"missing": int(tally[fields.MISSING]), "mistyped": int(tally[fields.MISTYPED])},
    }
    if isinstance(feature, NumericBaseline):
        _fill_numeric(snapshot, feature, tally)
    else:
        _fill_categorical(snapshot, feature, tally, max_categories)
    return snapshot


def _fill_numeric(snapshot: FeatureSnapshot, feature: NumericBaseline, tally: Floats) -> None:
    snapshot["rejected"]["infinite"] = int(tally[fields.INFINITE])
    snapshot["le"] = feature.edges.tolist()
    # the tally counts each bin by itself; Prometheus' buckets are cumulative
    snapshot["bucket"] = tally[fields.BINS :].cumsum().astype(np.int64).tolist()
    snapshot["baseline_cdf"] = (feature.edge_counts / max(feature.count, 1)).tolist()


def _fill_categorical(
    snapshot: FeatureSnapshot, feature: CategoricalBaseline, tally: Floats, max_categories: int
) -> None:
    # a baseline's categories are in falling order of frequency: those that are cut off are the rarest
    counts = tally[fields.CATEGORIES :].astype(np.int64)
    shares = feature.counts / max(feature.count, 1)
    snapshot["categories"] = list(feature.categories[:max_categories])
    snapshot["counts"] = counts[:max_categories].tolist()
    snapshot["baseline_frequency"] = shares[:max_categories].tolist()
    snapshot["other"] = int(counts[max_categories:].sum())
    snapshot["other_baseline_frequency"] = float(shares[max_categories:].sum())
    snapshot["unseen"] = int(tally[fields.UNSEEN])
