"""How the samples of a metric are read from a snapshot: each reader yields label values and a value.

The functions that return a `Reader` are named for where the values come from; `families` says which metric uses which.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Callable, NamedTuple, Union

from torchserve_drift.port.metrics.labelled import LabelledSnapshot
from torchserve_drift.port.metrics.labels import bound_label, distinct_labels, label
from torchserve_drift.port.snapshot import FeatureSnapshot, Snapshot

OTHER, UNSEEN = "__other__", "__unseen__"
"""The labels of the baseline's other categories and of unseen ones. A category of this name gets one more ``_``."""


class Buckets(NamedTuple):
    """A histogram: ``counts`` are cumulative over the upper bounds ``le``, infinity last; ``sum`` where it is known."""

    le: Sequence[str]
    counts: Sequence[int]
    sum: float | None


Row = tuple[tuple[str, ...], Union[float, Buckets]]
"""The values of a metric's own labels, and the metric's value."""

Reader = Callable[[LabelledSnapshot], Iterator[Row]]
"""Reads the rows of one metric from one model."""


def from_windows(key: str, *, judged_only: bool = False) -> Reader:
    """``key`` of each window; with ``judged_only`` of those with enough rows for a verdict."""

    def rows(model: LabelledSnapshot) -> Iterator[Row]:
        for text, window in model.windows:
            if not judged_only or window["state"] != "too_few_rows":
                yield (text,), window[key]

    return rows


def from_checks(key: str, *, judged_only: bool = False) -> Reader:
    """``key`` of each check of each feature in each window, where the check has it."""

    def rows(model: LabelledSnapshot) -> Iterator[Row]:
        for feature, window, name, result in model.feature_results():
            if not judged_only or name in model.judged:
                for check, outcome in result["checks"].items():
                    if outcome[key] is not None:
                        yield (feature, window, label(check)), outcome[key]

    return rows


def from_feature_results(key: str, *, optional: bool = False) -> Reader:
    """``key`` of each feature in each window with enough rows for a verdict.

    ``optional`` skips results without it, which an older version of this package may have published.
    """

    def rows(model: LabelledSnapshot) -> Iterator[Row]:
        for feature, window, name, result in model.feature_results():
            if name in model.judged and not (optional and key not in result):
                yield (feature, window), result[key]

    return rows


def importances(model: LabelledSnapshot) -> Iterator[Row]:
    """The importance of each feature."""
    return (((text,), feature["importance"]) for text, feature in model.features)


def value_histograms(model: LabelledSnapshot) -> Iterator[Row]:
    """The histogram of each numeric feature; its sum is not known."""
    for text, feature in _numeric_features(model):
        yield (text,), Buckets(_bound_labels(feature["le"]), feature["bucket"], None)


def baseline_shares(model: LabelledSnapshot) -> Iterator[Row]:
    """The baseline's share of values at or below each bound of each numeric feature; 1 at infinity."""
    for text, feature in _numeric_features(model):
        for le, share in zip(_bound_labels(feature["le"]), (*feature["baseline_cdf"], 1.0)):
            yield (text, le), share


def _numeric_features(model: LabelledSnapshot) -> Iterator[tuple[str, FeatureSnapshot]]:
    return (pair for pair in model.features if pair[1]["kind"] == "numeric")


def _bound_labels(le: Iterable[float]) -> list[str]:
    return [*map(bound_label, le), "+Inf"]


def from_categories(values: Callable[[FeatureSnapshot], Iterable[float]]) -> Reader:
    """``values`` of each categorical feature: one per category, then those of `OTHER` and `UNSEEN`."""

    def rows(model: LabelledSnapshot) -> Iterator[Row]:
        for text, feature in model.features:
            if feature["kind"] == "categorical":
                labels = (*distinct_labels(feature["categories"], (OTHER, UNSEEN)).values(), OTHER, UNSEEN)
                for category, value in zip(labels, values(feature)):
                    yield (text, category), value

    return rows


def rejected_values(model: LabelledSnapshot) -> Iterator[Row]:
    """The number of rejected values of each feature, by reason."""
    for text, feature in model.features:
        yield from _named_counts(feature["rejected"], text)


def from_named_counts(counts: Callable[[Snapshot], Mapping[str, int]]) -> Reader:
    """``counts`` of the snapshot, with their names as the only label."""
    return lambda model: _named_counts(counts(model.snapshot))


def _named_counts(counts: Mapping[str, int], *labels_before: str) -> Iterator[Row]:
    return (((*labels_before, text), counts[name]) for name, text in distinct_labels(counts).items())


def single(value: Callable[[Snapshot], float]) -> Reader:
    """One ``value`` per model, without further labels."""
    return lambda model: iter([((), value(model.snapshot))])


def observe_histogram(model: LabelledSnapshot) -> Iterator[Row]:
    """The histogram of the seconds spent recording a batch."""
    seconds = model.snapshot["observe_seconds"]
    yield (), Buckets(_bound_labels(seconds["le"]), seconds["counts"], seconds["sum"])


def baseline_facts(model: LabelledSnapshot) -> Iterator[Row]:
    """The value 1 with the facts about the baseline as labels."""
    baseline = model.snapshot["baseline"]
    yield tuple(label(baseline[key]) for key in ("sha256", "created", "rows", "features", "time_variation")), 1.0
