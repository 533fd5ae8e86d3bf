"""The samples of each metric over all models, in the order in which text and collector show them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from torchserve_drift.port.metrics.families import MODEL_LABELS, Family
from torchserve_drift.port.metrics.labelled import LabelledSnapshot
from torchserve_drift.port.metrics.labels import label
from torchserve_drift.port.metrics.readers import Buckets
from torchserve_drift.port.snapshot import Snapshot

Sample = tuple[str, tuple[str, ...], float]
"""The suffix of the sample's name, the values of all its labels, and its value."""


def labelled_models(snapshots: Iterable[Snapshot]) -> list[LabelledSnapshot]:
    """One model per name and version, sorted by them; of several snapshots of one version the one evaluated last."""
    latest: dict[tuple[str, str], Snapshot] = {}
    for snapshot in sorted(snapshots, key=lambda snapshot: snapshot["last_evaluation_timestamp_seconds"]):
        latest[label(snapshot["model_name"]), label(snapshot["model_version"])] = snapshot
    return [LabelledSnapshot(latest[key]) for key in sorted(latest)]


def label_names(family: Family, suffix: str) -> tuple[str, ...]:
    """The names of the labels of a sample with this suffix, in the order of its label values."""
    return (*MODEL_LABELS, *family.labels, *(["le"] if suffix == "_bucket" else []))


def samples_of(models: Iterable[LabelledSnapshot], family: Family) -> Iterator[Sample]:
    """All samples of a metric, model by model."""
    for model in models:
        for values, value in family.rows(model):
            labels = model.labels + values
            if isinstance(value, Buckets):
                yield from (("_bucket", (*labels, le), count) for le, count in zip(value.le, value.counts))
                if value.sum is not None:  # OpenMetrics allows a count only beside a sum
                    yield "_count", labels, value.counts[-1]
                    yield "_sum", labels, value.sum
            else:
                yield "", labels, value
