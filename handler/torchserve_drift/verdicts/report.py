"""What an evaluation found: plain data, the same in Python, in JSON and behind the metrics."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Optional

JOINT_NAME = "_joint"
"""The name under which the joint distribution is reported; one more ``_`` before it where a feature has that name."""

STATES = ("ok", "drifted", "too_few_rows")


class CheckResult(NamedTuple):
    """One check of one feature in one window.

    ``statistic`` is the check's own (docs/metrics.md says which), ``effect`` its size without sign, ``p_value`` in
    [0, 1], ``alpha`` the level it was held against, ``min_effect`` the size below which it never fails (``None``: no
    such limit), ``failed`` the check's own outcome.
    """

    p_value: Optional[float]
    statistic: float
    effect: float
    alpha: Optional[float]
    min_effect: Optional[float]
    failed: bool


@dataclass(frozen=True)
class FeatureWindow:
    """One feature in one window.

    ``since`` is the time (seconds) of the first evaluation of the present drift, ``last_failed`` of the last one at
    which a check failed: for a while after that it still counts as drifted. ``design_effect`` rows of the window stand
    for one that is independent of all others; ``pair`` names the two features whose association changed most (of
    `JOINT` alone).
    """

    drifted: bool
    since: Optional[float]
    checks: Mapping[str, CheckResult]
    last_failed: Optional[float] = None
    design_effect: float = 1.0
    pair: tuple[str, ...] = ()


@dataclass(frozen=True)
class FeatureReport:
    """One feature in every window. ``unseen`` names its categories unknown to the baseline with their shares of the
    window's rows, most frequent first; filled only by offline checks, never by a monitor, whose categories are users'
    data.
    """

    name: str
    kind: str
    importance: float
    windows: Mapping[str, FeatureWindow]
    unseen: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class WindowReport:
    """``rows`` seen in the window, ``sample_rows`` in its sample, ``state`` one of `STATES`, ``score`` in [0, 1]."""

    rows: int
    sample_rows: int
    state: str
    score: float


@dataclass(frozen=True)
class Report:
    """The outcome of one evaluation; features in falling order of importance."""

    model_name: str
    model_version: str
    evaluated_at: float
    baseline_sha256: str
    windows: Mapping[str, WindowReport]
    features: tuple[FeatureReport, ...]

    @property
    def drifted(self) -> bool:
        """Whether any feature has drifted in any window."""
        return any(window.drifted for feature in self.features for window in feature.windows.values())

    def feature(self, name: str) -> FeatureReport:
        """The feature called ``name``; KeyError where there is none."""
        for feature in self.features:
            if feature.name == name:
                return feature
        raise KeyError(name)

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Report:
        """The report that `to_dict` made; infinities, which JSON cannot hold, come back as NaN.

        Raises
        ------
        KeyError, TypeError, ValueError
            When ``plain`` is no such report.
        """
        return cls(
            plain["model_name"],
            plain["model_version"],
            float(plain["evaluated_at"]),
            plain["baseline_sha256"],
            {label: WindowReport(**window) for label, window in plain["windows"].items()},
            tuple(_feature_from(feature) for feature in plain["features"]),
        )

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON-ready data: numbers that JSON cannot hold (infinities) become ``None``."""
        return {
            "model_name": self.model_name,
            "model_version": self.model_version,
            "evaluated_at": self.evaluated_at,
            "baseline_sha256": self.baseline_sha256,
            "windows": {
                label: {"rows": w.rows, "sample_rows": w.sample_rows, "state": w.state, "score": w.score}
                for label, w in self.windows.items()
            },
            "features": [_feature_dict(feature) for feature in self.features],
        }


def _feature_dict(feature: FeatureReport) -> dict[str, Any]:
    plain: dict[str, Any] = {
        "name": feature.name,
        "kind": feature.kind,
        "importance": feature.importance,
        "windows": {label: _window_dict(window) for label, window in feature.windows.items()},
    }
    if feature.unseen:
        plain["unseen"] = dict(feature.unseen)
    return plain


def _window_dict(window: FeatureWindow) -> dict[str, Any]:
    plain: dict[str, Any] = {
        "drifted": window.drifted,
        "since": window.since,
        "last_failed": window.last_failed,
        "design_effect": window.design_effect,
        "checks": {
            name: {
                "p_value": _finite(check.p_value),
                "statistic": _finite(check.statistic),
                "effect": _finite(check.effect),
                "alpha": check.alpha,
                "min_effect": check.min_effect,
                "failed": check.failed,
            }
            for name, check in window.checks.items()
        },
    }
    if window.pair:
        plain["pair"] = list(window.pair)
    return plain


def _finite(value: Optional[float]) -> Optional[float]:
    return value if value is not None and math.isfinite(value) else None


def _feature_from(plain: Mapping[str, Any]) -> FeatureReport:
    windows = {
        label: FeatureWindow(
            window["drifted"],
            window["since"],
            {name: _check_from(check) for name, check in window["checks"].items()},
            window["last_failed"],
            window["design_effect"],
            tuple(window.get("pair", ())),
        )
        for label, window in plain["windows"].items()
    }
    return FeatureReport(plain["name"], plain["kind"], plain["importance"], windows, plain.get("unseen", {}))


def _check_from(plain: Mapping[str, Any]) -> CheckResult:
    numbers = {name: math.nan if plain[name] is None else plain[name] for name in ("statistic", "effect")}
    return CheckResult(**{**plain, **numbers})
