"""The smallest effect that matters, of each check of each feature: the user's, raised by what training time showed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Optional

from torchserve_drift.baseline.profile import FeatureBaseline, NumericBaseline, Profile
from torchserve_drift.checks.catalogue import CHECKS, DEFAULT_MEAN_SHIFT, checks_of
from torchserve_drift.errors import ConfigError
from torchserve_drift.settings.settings import Alarms, Settings
from torchserve_drift.window.tally import scale_of

LEARNED_MARGIN = 1.25
"""Next year's season is not exactly this year's."""

CHANCE = 2.0
"""Standard errors of the effect of a span: it is partly chance, as is that of a window in the same season."""


def min_effects_of(profile: Profile, settings: Settings) -> list[dict[str, float]]:
    """For each feature, then the joint distribution, the minimum effect of each check that has one, by its name.

    In the unit of the check's effect; that of `mean` in standard deviations of the baseline. With ``min_effect:
    learned`` none is below what `raised` makes of the largest effect that a span of the training data's time had.
    """
    features = [_of_feature(feature, settings) for feature in profile.features]
    return [*features, {"joint": joint_min_effect(profile, settings.alarms)}]


def joint_min_effect(profile: Profile, alarms: Alarms) -> float:
    """The smallest change of a correlation that matters to `joint`."""
    of_user = alarms.min_effects["joint"]
    if not alarms.min_effect_learned:
        return of_user
    return max(of_user, raised(profile.joint_tolerance, "joint", profile.sample_rows, profile.spans))


def require_learnable(features: Sequence[FeatureBaseline], alarms: Alarms) -> None:
    """ConfigError where minimum effects are to be learned from a baseline that was built without times."""
    if alarms.min_effect_learned and not any(feature.variation for feature in features):
        raise ConfigError("alarms.min_effect.learned must be false for a baseline built without --time, got True")


def raised(tolerance: float, check: str, rows: int, spans: int) -> float:
    """A minimum effect above ``tolerance``, the largest effect of any of ``spans`` spans of ``rows`` rows in all.

    It allows for what may differ in another year, and for what chance does in a span of so few rows.
    """
    learning = CHECKS[check].learning
    spread = learning.spread if learning is not None else None
    if spread is None:  # a share that is 0 but for a few rows: the tolerance says how far chance moves it
        spread = math.sqrt(min(tolerance, 0.25))
    return LEARNED_MARGIN * tolerance + CHANCE * spread * math.sqrt(spans / max(rows, 1))


def _of_feature(feature: FeatureBaseline, settings: Settings) -> dict[str, float]:
    found = {}
    for check in checks_of(feature.kind):
        if check.min_effect is not None:
            of_user = settings.min_effect(feature.name, check.name)
            if check.name == "mean":  # set in the feature's own unit
                of_user = _in_standard_deviations(feature, of_user)
            found[check.name] = max(of_user or 0.0, _learned(feature, settings.alarms, check.name))
    return found


def _in_standard_deviations(feature: FeatureBaseline, mean_shift: Optional[float]) -> float:
    assert isinstance(feature, NumericBaseline)
    shift = DEFAULT_MEAN_SHIFT * feature.std if mean_shift is None else mean_shift
    return shift / scale_of(feature)[1]


def _learned(feature: FeatureBaseline, alarms: Alarms, check: str) -> float:
    if not alarms.min_effect_learned or check not in feature.variation:
        return 0.0
    return raised(feature.tolerance(check), check, feature.count, len(feature.variation[check]))
