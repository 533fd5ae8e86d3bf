"""A snapshot with the label value of each name. The readers of metrics read it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from torchserve_drift.port.metrics.labels import distinct_labels, label
from torchserve_drift.port.snapshot import FeatureSnapshot, Snapshot


class FeatureResult(NamedTuple):
    """The report's result of one feature in one window; ``window_name`` is the window's name in the report."""

    feature_label: str
    window_label: str
    window_name: str
    result: Mapping[str, Any]


class LabelledSnapshot:
    """One model version. Every name has the label with which it is shown; different names have different labels.

    ``labels`` are the values of the model's own labels. ``windows`` and ``features`` are pairs of a label and the
    window or feature with this label. ``judged`` are the names of the windows with enough rows for verdicts.
    """

    def __init__(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot
        self.labels = (label(snapshot["model_name"]), label(snapshot["model_version"]))
        report: Mapping[str, Any] = snapshot["report"] or {"windows": {}, "features": []}
        self._window_labels = distinct_labels(report["windows"])
        self.windows = [(text, report["windows"][name]) for name, text in self._window_labels.items()]
        self.judged = {name for name, window in report["windows"].items() if window["state"] != "too_few_rows"}
        # reversed: of two features with one name the first counts
        counted = {feature["name"]: feature for feature in reversed(snapshot["features"])}
        reported = {feature["name"]: feature for feature in reversed(report["features"])}
        # one set of labels for both, so that a feature has the same label in all metrics
        names = distinct_labels([feature["name"] for feature in (*snapshot["features"], *report["features"])])
        visible = _visible_features(names, counted, reported, snapshot["top_features"])
        labels = [(name, text) for name, text in names.items() if name in visible]
        self.features = [(text, counted[name]) for name, text in labels if name in counted]
        self._reported = [(text, reported[name]) for name, text in labels if name in reported]

    def feature_results(self) -> Iterator[FeatureResult]:
        """The report's result of each visible feature in each window."""
        for text, feature in self._reported:
            for name, result in feature["windows"].items():
                if name in self._window_labels:
                    yield FeatureResult(text, self._window_labels[name], name, result)


def _visible_features(
    names: Iterable[str],
    counted: Mapping[str, FeatureSnapshot],
    reported: Mapping[str, Mapping[str, Any]],
    top_features: int,
) -> set[str]:
    """The names of the ``top_features`` most important features and of all drifted ones; 0 means all."""
    if top_features <= 0:
        return set(names)
    importance = {name: (counted.get(name) or reported[name])["importance"] for name in names}
    drifted = {name for name, feature in reported.items() if any(w["drifted"] for w in feature["windows"].values())}
    return drifted.union(sorted(importance, key=lambda name: -importance[name])[:top_features])
