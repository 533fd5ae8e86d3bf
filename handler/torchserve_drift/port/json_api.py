"""The JSON API: models, versions and reports."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from torchserve_drift.port.response import Response, response, status_response
from torchserve_drift.port.snapshot import Snapshot


def models_response(names: Sequence[str], snapshots: Sequence[Snapshot]) -> Response:
    """All models (``names`` is empty), all versions of a model (its name), or a report (name and version)."""
    matching = [
        snapshot
        for snapshot in snapshots
        if all(name == str(own) for name, own in zip(names, (snapshot["model_name"], snapshot["model_version"])))
    ]
    if names and not matching:
        return status_response(404)
    if len(names) == 2:
        return _json_response(report_of(max(matching, key=_evaluated_at)))
    return _json_response([summary_of(snapshot) for snapshot in matching])


def report_of(snapshot: Snapshot) -> Mapping[str, Any]:
    """The model's report; before the first evaluation one without windows and features."""
    if snapshot["report"] is not None:
        return snapshot["report"]
    return {
        "model_name": snapshot["model_name"],
        "model_version": snapshot["model_version"],
        "evaluated_at": None,
        "baseline_sha256": snapshot["baseline"]["sha256"],
        "windows": {},
        "features": [],
    }


def summary_of(snapshot: Snapshot) -> Mapping[str, Any]:
    """The report with the names of the drifted features in place of all features."""
    report = report_of(snapshot)
    keys = ("model_name", "model_version", "evaluated_at", "windows")
    drifted = [f["name"] for f in report["features"] if any(w["drifted"] for w in f["windows"].values())]
    return {**{key: report[key] for key in keys}, "drifted_features": drifted}


def to_json(content: object) -> bytes:
    """One line of JSON, with null for infinities and NaN, which JSON does not have."""
    try:
        text = json.dumps(content, allow_nan=False)
    except ValueError:  # rare, so the copy is made only where it is needed
        text = json.dumps(_without_infinite_numbers(content), allow_nan=False)
    return (text + "\n").encode()


def _json_response(content: object) -> Response:
    return response(200, "application/json", to_json(content))


def _without_infinite_numbers(content: Any) -> Any:
    """A copy with ``None`` in place of infinities and NaN."""
    if isinstance(content, Mapping):
        return {key: _without_infinite_numbers(item) for key, item in content.items()}
    if isinstance(content, (list, tuple)):
        return [_without_infinite_numbers(item) for item in content]
    return None if isinstance(content, float) and not math.isfinite(content) else content


def _evaluated_at(snapshot: Snapshot) -> float:
    return snapshot["last_evaluation_timestamp_seconds"]
