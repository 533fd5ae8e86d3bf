"""Snapshots for tests of the port and of its clients: written by hand, or with arbitrary content by hypothesis."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hypothesis import strategies as st

from torchserve_drift.port.snapshot import FeatureSnapshot, Snapshot

EVALUATED = 1795402323.0


def numeric(
    name: str, importance: float = 0.5, le: Sequence[float] = (1.0, 2.5), bucket: Sequence[int] = (3, 5, 9)
) -> FeatureSnapshot:
    return {
        **_feature(name, "numeric", importance),
        "le": list(le),
        "bucket": list(bucket),
        "baseline_cdf": [(i + 1) / (len(le) + 1) for i in range(len(le))],
    }


def categorical(
    name: str, importance: float = 0.5, categories: Sequence[str] = ("a", "b"), counts: Sequence[int] = (7, 2)
) -> FeatureSnapshot:
    return {
        **_feature(name, "categorical", importance),
        "categories": list(categories),
        "counts": list(counts),
        "baseline_frequency": [1 / (len(categories) + 1)] * len(categories),
        "other": 4,
        "other_baseline_frequency": 0.25,
        "unseen": 1,
    }


def _feature(name: str, kind: str, importance: float) -> FeatureSnapshot:
    return {
        "name": name,
        "kind": kind,
        "importance": importance,
        "le": [],
        "bucket": [],
        "baseline_cdf": [],
        "categories": [],
        "counts": [],
        "baseline_frequency": [],
        "other": 0,
        "other_baseline_frequency": 0.0,
        "unseen": 0,
        "rejected": {"mistyped": 2},
    }


def check(p_value: float | None = 0.4, statistic: float | None = 0.02, failed: bool = False) -> dict[str, Any]:
    return {
        "p_value": p_value,
        "statistic": statistic,
        "effect": None if statistic is None else abs(statistic),
        "alpha": 1e-7,
        "min_effect": 0.1,
        "failed": failed,
    }


def found(drifted: bool = False, **checks: Any) -> dict[str, Any]:
    return {"drifted": drifted, "since": EVALUATED - 60 if drifted else None, "checks": checks}


def window(state: str = "ok", score: float = 0.0, rows: int = 5120) -> dict[str, Any]:
    return {"rows": rows, "sample_rows": min(rows, 4096), "state": state, "score": score}


def report(windows: Mapping[str, Any], features: Mapping[str, Mapping[str, Any]], **more: Any) -> dict[str, Any]:
    return {
        "model_name": "m",
        "model_version": "1.0",
        "evaluated_at": EVALUATED,
        "baseline_sha256": "ab" * 32,
        "windows": dict(windows),
        "features": [
            {"name": name, "kind": "numeric", "importance": 0.5, "windows": dict(per_window)}
            for name, per_window in features.items()
        ],
        **more,
    }


def snapshot(features: Sequence[FeatureSnapshot] = (), report: dict[str, Any] | None = None, **more: Any) -> Snapshot:
    made: Any = {
        "model_name": "m",
        "model_version": "1.0",
        "report": report,
        "features": list(features),
        "baseline": {
            "sha256": "ab" * 32,
            "created": "2026-01-01T00:00:00Z",
            "rows": 10000,
            "features": len(features),
            "time_variation": "unknown",
        },
        "rows_total": 20,
        "rows_rejected": {"malformed": 3},
        "values_unknown": 6,
        "errors": {"fold": 1},
        "evaluation_seconds": 0.0125,
        "last_evaluation_timestamp_seconds": EVALUATED if report else 0.0,
        "observe_seconds": {"le": [1e-05, 0.001], "counts": [5, 9, 10], "sum": 0.0012},
        "top_features": 0,
        **more,
    }
    return made  # type: ignore[no-any-return] # a TypedDict from keyword arguments


def usual(**more: Any) -> Snapshot:
    """Two features in two windows: one feature has drifted, and one window has too few rows."""
    return snapshot(
        [numeric("age", 0.75), categorical("device", 0.25)],
        report(
            {"10m": window("too_few_rows", rows=12), "1h": window("drifted", 0.75)},
            {
                "age": {
                    "10m": found(),
                    "1h": found(True, ks=check(1e-46, 0.31, True), mean=check(None, None, True), std=check(None, -0.2)),
                },
                "device": {"10m": found(), "1h": found(chi2=check())},
            },
        ),
        **more,
    )


_texts = st.one_of(
    st.text(st.characters(codec=None, exclude_categories=()), max_size=6),
    st.sampled_from(["a", 'say "hi"\n', "back\\slash", "🙂", "\ud800", "\udfff", "__other__", "__unseen__", "x_", ""]),
)
_shares = st.floats(0, 1)
_counts = st.integers(0, 2**53)
_numbers = st.one_of(st.none(), st.floats(allow_nan=False, allow_infinity=False))


@st.composite
def _features(draw: st.DrawFn) -> FeatureSnapshot:
    name, importance = draw(_texts), draw(_shares)
    if draw(st.booleans()):
        le = sorted(draw(st.sets(st.floats(allow_nan=False, allow_infinity=False).map(lambda x: x + 0.0), max_size=4)))
        bucket = sorted(draw(st.lists(_counts, min_size=len(le) + 1, max_size=len(le) + 1)))
        return numeric(name, importance, le, bucket)
    categories = draw(st.lists(_texts, unique=True, max_size=5))
    counts = draw(st.lists(_counts, min_size=len(categories), max_size=len(categories)))
    return categorical(name, importance, categories, counts)


@st.composite
def hostile(draw: st.DrawFn) -> Snapshot:
    """A snapshot of the right shape with arbitrary names, windows and numbers."""
    features = draw(st.lists(_features(), max_size=4))
    states = st.sampled_from(["ok", "drifted", "too_few_rows"])
    windows = draw(st.dictionaries(_texts, st.builds(window, states, _shares, _counts), max_size=3))
    checks = st.dictionaries(
        st.sampled_from(["ks", "mean", "chi2"]),
        st.builds(check, st.one_of(st.none(), _shares), _numbers, st.booleans()),
    )
    names = [feature["name"] for feature in features] + draw(st.lists(_texts, max_size=1))
    per_feature = {name: {label: found(draw(st.booleans()), **draw(checks)) for label in windows} for name in names}
    return snapshot(
        features,
        draw(st.one_of(st.none(), st.just(report(windows, per_feature)))),
        model_name=draw(_texts),
        model_version=draw(_texts),
        errors=draw(st.dictionaries(_texts, _counts, max_size=2)),
        top_features=draw(st.integers(0, 2)),
    )
