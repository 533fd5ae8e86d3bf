"""The minimum effect of each check of each feature.

It is the user's setting. With ``min_effect: learned`` it is raised above the differences between spans of training
time.
"""

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
"""The factor on the largest effect of a span: next year's season is not exactly this year's."""

LEARNED_STANDARD_ERRORS = 2.0
"""How many standard errors of a span's effect are added: the effect in a window of the same season is partly chance."""


def min_effects_of(profile: Profile, settings: Settings) -> list[dict[str, float]]:
    """For each feature, and at the end for the joint distribution, the minimum effect of each check by its name.

    Minimum effects have the unit of the check's effect; that of `mean` is in standard deviations of the baseline.
    Checks without a minimum effect of their own are left out.
    """
    features = [_feature_min_effects(feature, settings) for feature in profile.features]
    return [*features, {"joint": joint_min_effect(profile, settings.alarms)}]


def joint_min_effect(profile: Profile, alarms: Alarms) -> float:
    """The minimum effect of `joint`: a change of a correlation, in [0, 1] before learning raises it."""
    set_by_user = alarms.min_effects["joint"]
    if not alarms.min_effect_learned:
        return set_by_user
    return max(set_by_user, learned_min_effect(profile.joint_tolerance, "joint", profile.sample_rows, profile.spans))


def require_learnable(features: Sequence[FeatureBaseline], alarms: Alarms) -> None:
    """Check that minimum effects can be learned from the baseline, if the settings ask for it.

    Raises
    ------
    ConfigError
        When the baseline was built without times.
    """
    if alarms.min_effect_learned and not any(feature.variation for feature in features):
        raise ConfigError("alarms.min_effect.learned must be false for a baseline built without --time, got True")


def learned_min_effect(tolerance: float, check: str, rows: int, spans: int) -> float:
    """The learned minimum effect of ``check``: the tolerance with a margin, plus standard errors.

    Parameters
    ----------
    tolerance
        The largest effect of the check in any span of training time.
    rows, spans
        The number of rows in all spans together, and the number of spans.
    """
    learning = CHECKS[check].learning
    spread = learning.spread if learning is not None else None
    if spread is None:  # a share near 0, whose standard error follows from the share itself
        spread = math.sqrt(min(tolerance, 0.25))
    # A span has rows / spans rows, and the standard error of its effect is the spread over the square root of them.
    return LEARNED_MARGIN * tolerance + LEARNED_STANDARD_ERRORS * spread * math.sqrt(spans / max(rows, 1))


def _feature_min_effects(feature: FeatureBaseline, settings: Settings) -> dict[str, float]:
    min_effects = {}
    for check in checks_of(feature.kind):
        if check.min_effect is not None:
            set_by_user = settings.min_effect(feature.name, check.name)
            if check.name == "mean":  # users set it in the feature's own unit
                set_by_user = _in_standard_deviations(feature, set_by_user)
            learned = _learned_from_spans(feature, settings.alarms, check.name)
            min_effects[check.name] = max(set_by_user or 0.0, learned)
    return min_effects


def _in_standard_deviations(feature: FeatureBaseline, mean_shift: Optional[float]) -> float:
    """The setting ``mean_shift`` in the unit of the check's effect; see `tally.scale_of`."""
    assert isinstance(feature, NumericBaseline)
    shift = DEFAULT_MEAN_SHIFT * feature.std if mean_shift is None else mean_shift
    return shift / scale_of(feature)[1]


def _learned_from_spans(feature: FeatureBaseline, alarms: Alarms, check: str) -> float:
    """The minimum effect that training time asks for; 0 where none is learned."""
    if not alarms.min_effect_learned or check not in feature.variation:
        return 0.0
    return learned_min_effect(feature.tolerance(check), check, feature.count, len(feature.variation[check]))
