"""The table of metrics: which there are, and how each is read from a snapshot."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Callable, NamedTuple, Union

from torchserve_drift.port.metrics.labels import bound, distinct, label
from torchserve_drift.port.snapshot import FeatureSnapshot, Snapshot

PREFIX = "torchserve_drift_"
MODEL_LABELS = ("model_name", "model_version")
OTHER, UNSEEN = "__other__", "__unseen__"
"""Labels of the baseline's further categories and of those it lacks; a category really called so gets a ``_`` more."""


class Buckets(NamedTuple):
    """A histogram: ``counts`` cumulative over upper bounds ``le``, infinity last, ``sum`` where it is known."""

    le: Sequence[str]
    counts: Sequence[int]
    sum: float | None


Row = tuple[tuple[str, ...], Union[float, Buckets]]
"""The values of a family's own labels, and the value."""


class Family(NamedTuple):
    """One metric: ``labels`` are those after the model's, ``rows`` reads its samples from a model."""

    type: str
    labels: tuple[str, ...]
    documentation: str
    rows: Callable[[Model], Iterator[Row]]


class Model:
    """A snapshot with every name as the label it gets; names that would become equal labels stay apart."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot
        self.labels = (label(snapshot["model_name"]), label(snapshot["model_version"]))
        report: Mapping[str, Any] = snapshot["report"] or {"windows": {}, "features": []}
        self._window_labels = distinct(report["windows"])
        self.windows = [(text, report["windows"][name]) for name, text in self._window_labels.items()]
        self.judged = {name for name, window in report["windows"].items() if window["state"] != "too_few_rows"}
        known = {feature["name"]: feature for feature in reversed(snapshot["features"])}
        found = {feature["name"]: feature for feature in reversed(report["features"])}
        names = distinct([feature["name"] for feature in (*snapshot["features"], *report["features"])])
        shown = _shown(names, known, found, snapshot["top_features"])
        self.features = [(text, known[name]) for name, text in names.items() if name in shown and name in known]
        self._found = [(text, found[name]) for name, text in names.items() if name in shown and name in found]

    def feature_windows(self) -> Iterator[tuple[str, str, str, Mapping[str, Any]]]:
        """Feature label, window label, window as reported, and what was found of the one in the other."""
        for text, feature in self._found:
            for name, window in feature["windows"].items():
                if name in self._window_labels:
                    yield text, self._window_labels[name], name, window


def _shown(
    names: Iterable[str], known: Mapping[str, FeatureSnapshot], found: Mapping[str, Mapping[str, Any]], top: int
) -> set[str]:
    if top <= 0:
        return set(names)
    weights = {name: (known.get(name) or found[name])["importance"] for name in names}
    drifted = {name for name, feature in found.items() if any(w["drifted"] for w in feature["windows"].values())}
    return drifted.union(sorted(weights, key=lambda name: -weights[name])[:top])


def _bounds(le: Iterable[float]) -> list[str]:
    return [*map(bound, le), "+Inf"]


def _windows(key: str, *, judged: bool = False) -> Callable[[Model], Iterator[Row]]:
    def rows(model: Model) -> Iterator[Row]:
        for text, window in model.windows:
            if not judged or window["state"] != "too_few_rows":
                yield (text,), window[key]

    return rows


def _checks(key: str, *, judged: bool = False) -> Callable[[Model], Iterator[Row]]:
    def rows(model: Model) -> Iterator[Row]:
        for feature, window, name, found in model.feature_windows():
            if not judged or name in model.judged:
                for check, result in found["checks"].items():
                    if result[key] is not None:
                        yield (feature, window, label(check)), result[key]

    return rows


def _drifted(model: Model) -> Iterator[Row]:
    for feature, window, name, found in model.feature_windows():
        if name in model.judged:
            yield (feature, window), found["drifted"]


def _design_effects(model: Model) -> Iterator[Row]:
    for feature, window, name, found in model.feature_windows():
        if name in model.judged and "design_effect" in found:
            yield (feature, window), found["design_effect"]


def _importance(model: Model) -> Iterator[Row]:
    return (((text,), feature["importance"]) for text, feature in model.features)


def _numeric(model: Model) -> Iterator[tuple[str, FeatureSnapshot]]:
    return (pair for pair in model.features if pair[1]["kind"] == "numeric")


def _feature_value(model: Model) -> Iterator[Row]:
    return (((text,), Buckets(_bounds(feature["le"]), feature["bucket"], None)) for text, feature in _numeric(model))


def _baseline_cdf(model: Model) -> Iterator[Row]:
    for text, feature in _numeric(model):
        for le, share in zip(_bounds(feature["le"]), (*feature["baseline_cdf"], 1.0)):
            yield (text, le), share


def _categories(values: Callable[[FeatureSnapshot], Iterable[float]]) -> Callable[[Model], Iterator[Row]]:
    def rows(model: Model) -> Iterator[Row]:
        for text, feature in model.features:
            if feature["kind"] == "categorical":
                labels = (*distinct(feature["categories"], (OTHER, UNSEEN)).values(), OTHER, UNSEEN)
                for category, value in zip(labels, values(feature)):
                    yield (text, category), value

    return rows


def _counts(counts: Mapping[str, int], *before: str) -> Iterator[Row]:
    return (((*before, text), counts[name]) for name, text in distinct(counts).items())


def _values_rejected(model: Model) -> Iterator[Row]:
    for text, feature in model.features:
        yield from _counts(feature["rejected"], text)


def _one(value: Callable[[Snapshot], float | Buckets]) -> Callable[[Model], Iterator[Row]]:
    return lambda model: iter([((), value(model.snapshot))])


def _totals(counts: Callable[[Snapshot], Mapping[str, int]]) -> Callable[[Model], Iterator[Row]]:
    return lambda model: _counts(counts(model.snapshot))


def _observed(snapshot: Snapshot) -> Buckets:
    seconds = snapshot["observe_seconds"]
    return Buckets(_bounds(seconds["le"]), seconds["counts"], seconds["sum"])


def _baseline_info(model: Model) -> Iterator[Row]:
    baseline = model.snapshot["baseline"]
    yield tuple(label(baseline[key]) for key in ("sha256", "created", "rows", "features")), 1.0


METRICS: Mapping[str, Family] = {
    "p_value": Family(
        "gauge",
        ("feature", "window", "check"),
        "Probability of so large a difference without drift; absent while there are too few rows.",
        _checks("p_value", judged=True),
    ),
    "effect": Family(
        "gauge",
        ("feature", "window", "check"),
        "Size of the difference, without sign: what min_effect or the threshold is held against.",
        _checks("effect", judged=True),
    ),
    "statistic": Family(
        "gauge",
        ("feature", "window", "check"),
        "The check's own measure of the difference from the baseline.",
        _checks("statistic"),
    ),
    "check_failed": Family(
        "gauge", ("feature", "window", "check"), "1 where the check by itself fails, else 0.", _checks("failed")
    ),
    "feature_drifted": Family(
        "gauge",
        ("feature", "window"),
        "1 where the feature has drifted under the policy, else 0; absent while the window has too few rows.",
        _drifted,
    ),
    "design_effect": Family(
        "gauge",
        ("feature", "window"),
        "Rows of the window that stand for one that is independent of all others, as those of one request are alike.",
        _design_effects,
    ),
    "feature_importance": Family(
        "gauge", ("feature",), "Weight of the feature in the score; 1 over all features of the model.", _importance
    ),
    "score": Family(
        "gauge",
        ("window",),
        "Importance-weighted share of drifted features; absent while the window has too few rows.",
        _windows("score", judged=True),
    ),
    "window_rows": Family("gauge", ("window",), "Rows in the window.", _windows("rows")),
    "window_sample_rows": Family("gauge", ("window",), "Rows in the window's sample.", _windows("sample_rows")),
    "rows_total": Family("counter", (), "Rows observed.", _one(lambda snapshot: snapshot["rows_total"])),
    "rows_rejected_total": Family(
        "counter",
        ("reason",),
        "Rows that could not be read as features.",
        _totals(lambda snapshot: snapshot["rows_rejected"]),
    ),
    "values_rejected_total": Family(
        "counter", ("feature", "reason"), "Values that could not be read as their feature.", _values_rejected
    ),
    "values_unknown_total": Family(
        "counter",
        (),
        "Values under names that are no features of the baseline.",
        _one(lambda snapshot: snapshot["values_unknown"]),
    ),
    "feature_value": Family(
        "histogram",
        ("feature",),
        "Exact counts of a numeric feature's values over bins between quantiles of the baseline.",
        _feature_value,
    ),
    "category_total": Family(
        "counter",
        ("feature", "category"),
        "Exact counts of a categorical feature's values.",
        _categories(lambda feature: (*feature["counts"], feature["other"], feature["unseen"])),
    ),
    "baseline_cdf": Family(
        "gauge",
        ("feature", "le"),
        "Share of the baseline's values at or below the upper bound, of the bins of feature_value.",
        _baseline_cdf,
    ),
    "baseline_frequency": Family(
        "gauge",
        ("feature", "category"),
        "Share of the baseline's values in the category, as in category_total.",
        _categories(lambda feature: (*feature["baseline_frequency"], feature["other_baseline_frequency"], 0.0)),
    ),
    "errors_total": Family(
        "counter",
        ("stage",),
        "Faults inside the plugin; predictions go on.",
        _totals(lambda snapshot: snapshot["errors"]),
    ),
    "observe_seconds": Family(
        "histogram", (), "Time that a batch of rows takes in the request's way.", _one(_observed)
    ),
    "evaluation_seconds": Family(
        "gauge", (), "Time that the last evaluation took.", _one(lambda snapshot: snapshot["evaluation_seconds"])
    ),
    "last_evaluation_timestamp_seconds": Family(
        "gauge",
        (),
        "Unix time of the last evaluation, 0 before the first.",
        _one(lambda snapshot: snapshot["last_evaluation_timestamp_seconds"]),
    ),
    "baseline_info": Family(
        "gauge", ("sha256", "created", "rows", "features"), "1; the labels say which baseline.", _baseline_info
    ),
}
"""Name without `PREFIX` to family; a histogram has ``_bucket`` and, where a sum is known, ``_sum`` and ``_count``."""
