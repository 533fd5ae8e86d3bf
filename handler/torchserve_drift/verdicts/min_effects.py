"""How large a difference must be to matter: the user's limits and, if so wished, what training time itself showed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from torchserve_drift.baseline.profile import FeatureBaseline, NumericBaseline, Profile
from torchserve_drift.errors import ConfigError
from torchserve_drift.settings.settings import Alarms, Settings, Thresholds
from torchserve_drift.window.tally import scale_of

DEFAULT_MEAN_SHIFT = 0.25
"""In standard deviations of the baseline."""

LEARNED_MARGIN = 1.25
"""Next year's season is not exactly this year's."""

CHANCE = 2.0
"""Standard errors of the effect of a span: it is partly chance, as is that of a window in the same season."""

_SPREADS = {"mean": 1.0, "std": 1.0, "joint": 1.0, "ks": 0.5, "chi2": 0.5, "frequency": 0.5, "missing": 0.5}
"""The standard error of a check's effect times the root of the rows, at most: of a share 0.5. Heavier tails than a
normal distribution's make that of std more than its 0.7."""


def thresholds_of(feature: FeatureBaseline, settings: Settings) -> Thresholds:
    """The limits of a feature's checks, with ``mean_shift`` in the feature's unit.

    With ``min_effect: learned`` none is below what `_raised` makes of the largest effect that a span of the training
    data's own time had.
    """
    limits = settings.thresholds(feature.name)
    if isinstance(feature, NumericBaseline):
        scale = scale_of(feature)[1]
        mean = DEFAULT_MEAN_SHIFT * feature.std if limits.mean_shift is None else limits.mean_shift
        limits = replace(limits, mean_shift=max(mean, _learned(feature, settings.alarms, "mean") * scale))
    return replace(
        limits,
        std_shift=max(limits.std_shift, _learned(feature, settings.alarms, "std")),
        frequency_shift=max(limits.frequency_shift, _learned(feature, settings.alarms, "frequency")),
        new_category_ratio=max(limits.new_category_ratio, _learned(feature, settings.alarms, "new_category")),
        missing_shift=max(limits.missing_shift, _learned(feature, settings.alarms, "missing")),
        range_ratio=max(limits.range_ratio, _learned(feature, settings.alarms, "range")),
    )


def gate_of(feature: FeatureBaseline, alarms: Alarms) -> float:
    """The smallest effect at which a feature's ks or chi2 may fail, in [0, 1]."""
    if feature.kind == "numeric":
        return max(alarms.min_effect_ks, _learned(feature, alarms, "ks"))
    return max(alarms.min_effect_cramers_v, _learned(feature, alarms, "chi2"))


def joint_gate_of(baseline: Profile, alarms: Alarms) -> float:
    """The smallest change of a correlation at which `joint` may fail."""
    if not alarms.min_effect_learned:
        return alarms.min_effect_joint
    return max(
        alarms.min_effect_joint, _raised(baseline.joint_tolerance, "joint", baseline.sample_rows, baseline.spans)
    )


def require_learnable(features: Sequence[FeatureBaseline], alarms: Alarms) -> None:
    """ConfigError where limits are to be learned from a baseline that was built without times."""
    if alarms.min_effect_learned and not any(feature.variation for feature in features):
        raise ConfigError("alarms.min_effect.learned must be false for a baseline built without --time, got True")


def _learned(feature: FeatureBaseline, alarms: Alarms, check: str) -> float:
    if not alarms.min_effect_learned or check not in feature.variation:
        return 0.0
    return _raised(feature.tolerance(check), check, feature.count, len(feature.variation[check]))


def _raised(tolerance: float, check: str, rows: int, spans: int) -> float:
    """A limit above the tolerance by what may differ in another year, and by what chance does in a span of so few rows.

    Of shares that are 0 but for a few rows (``range``, ``new_category``) the tolerance says how far chance moves them.
    """
    spread = _SPREADS.get(check, math.sqrt(min(tolerance, 0.25)))
    return LEARNED_MARGIN * tolerance + CHANCE * spread * math.sqrt(spans / max(rows, 1))
