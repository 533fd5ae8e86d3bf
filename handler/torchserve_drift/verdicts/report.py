"""The report of an evaluation: plain data, the same in Python, in JSON and behind the metrics."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Optional

JOINT_NAME = "_joint"
"""The name of the joint distribution in reports. If a feature has this name, one more ``_`` is put before it."""

STATES = ("ok", "drifted", "too_few_rows")
"""The states of a window."""


class CheckResult(NamedTuple):
    """The result of one check of one feature in one window.

    Attributes
    ----------
    p_value
        In [0, 1]; ``None`` where it is not known.
    statistic
        The check's own statistic; docs/metrics.md describes each.
    effect
        The size of the difference, 0 or more.
    alpha
        The level that the p-value was compared with; ``None`` under a policy that does not use the p-value.
    min_effect
        The minimum effect; ``None`` under a policy that does not use it.
    failed
        Whether the check failed.
    """

    p_value: Optional[float]
    statistic: float
    effect: float
    alpha: Optional[float]
    min_effect: Optional[float]
    failed: bool


@dataclass(frozen=True)
class FeatureWindow:
    """The result of one feature in one window.

    Attributes
    ----------
    drifted
        Whether the feature has drifted. It still counts as drifted for some time after the last failed check.
    since
        When the current drift was first found, in seconds since 1970; ``None`` without drift.
    checks
        The result of each check, by name.
    last_failed
        When a check failed last, in seconds since 1970; ``None`` if none has.
    design_effect
        The number of rows of the window, at least 1, that are worth one independent row.
    pair
        The names of the two features whose association changed most; only the joint distribution has it.
    """

    drifted: bool
    since: Optional[float]
    checks: Mapping[str, CheckResult]
    last_failed: Optional[float] = None
    design_effect: float = 1.0
    pair: tuple[str, ...] = ()


@dataclass(frozen=True)
class FeatureReport:
    """The results of one feature in all windows.

    Attributes
    ----------
    name, kind, importance
        The same as in the baseline; the kind of the joint distribution is "joint", its importance 0.
    windows
        The result in each window, by the window's label.
    unseen
        The categories that the baseline does not have, and their shares of the window's rows, most frequent first. Only
        an offline check fills it: these categories are data of users, which a monitor never keeps.
    """

    name: str
    kind: str
    importance: float
    windows: Mapping[str, FeatureWindow]
    unseen: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class WindowReport:
    """The state of one window over all features.

    ``rows`` in the window; ``sample_rows`` in its sample; ``state``, one of `STATES`; ``score``, the sum of the
    importances of drifted features, in [0, 1].
    """

    rows: int
    sample_rows: int
    state: str
    score: float


@dataclass(frozen=True)
class Report:
    """The report of one evaluation. Its features are in falling order of importance.

    ``evaluated_at`` is in seconds since 1970, ``baseline_sha256`` the digest of the baseline's file, empty if it has
    none. ``windows`` are by label.
    """

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
        """The results of the feature ``name``.

        Raises
        ------
        KeyError
            When there is no such feature.
        """
        for feature in self.features:
            if feature.name == name:
                return feature
        raise KeyError(name)

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Report:
        """The report from the result of `to_dict`. Statistics and effects that were infinite become NaN.

        Raises
        ------
        KeyError, TypeError, ValueError
            When ``plain`` is not such a result.
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
        """The report as data for JSON. Infinities and NaN, which JSON does not have, become ``None``."""
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
                "p_value": _none_unless_finite(check.p_value),
                "statistic": _none_unless_finite(check.statistic),
                "effect": _none_unless_finite(check.effect),
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


def _none_unless_finite(value: Optional[float]) -> Optional[float]:
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
