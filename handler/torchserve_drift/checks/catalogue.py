"""One declaration per check: everything that settings, budget, verdicts, baselines and displays need to know about it.

A new check is one declaration here, and one class with a method ``findings`` that `Check.computed_by` names.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Optional

NUMERIC, CATEGORICAL, JOINT = "numeric", "categorical", "joint"
"""Kinds of what is checked: a numeric feature, a categorical feature, the joint distribution of all features."""

P_VALUE, EFFECT = "p_value", "effect"
"""Which rule a check follows under the policy `classic`: it fails if p_value < alpha, or if effect > min_effect."""

LARGEST_EFFECT = 1e300
"""The largest minimum effect that can be set for `mean` and `std`. Their effects are not shares and can exceed 1."""


@dataclass(frozen=True)
class MinEffect:
    """The setting of a check's minimum effect.

    Attributes
    ----------
    key
        The name of the setting.
    default
        Its value if the user does not set it; ``None`` means `DEFAULT_MEAN_SHIFT` standard deviations of the baseline.
    largest
        The largest value that the user may set; the smallest is 0.
    of_all_features
        Whether the setting is in ``alarms.min_effect`` and holds for all features, or in ``features.<name>``.
    """

    key: str
    default: Optional[float]
    largest: float = 1.0
    of_all_features: bool = False


@dataclass(frozen=True)
class Learning:
    """How ``min_effect: learned`` raises a check's minimum effect above the differences between spans of training time.

    Attributes
    ----------
    spread
        The standard error of the effect, times the square root of the rows, where it is largest: 0.5 for a share,
        whose standard error is largest at one half. ``None`` for shares that are usually near 0: their standard error
        follows from the learned share itself (see `min_effects.learned_min_effect`).
    """

    spread: Optional[float]


@dataclass(frozen=True)
class Check:
    """One check.

    Attributes
    ----------
    name
        The name in reports, metrics and displays.
    computed_by
        The class that computes the check, as ``module.Class`` in `checks`. One class can compute several checks.
    budget
        Each kind of feature that has the check, and the check's share of such a feature's alarm budget, in [0, 1]. The
        shares of all checks of a kind sum to 1.
    min_effect
        The setting of its minimum effect; ``None`` if the check uses the minimum effects of other checks.
    fails_at_min_effect
        Whether an effect equal to the minimum effect is large enough; otherwise it must be larger.
    learning
        How ``min_effect: learned`` raises the minimum effect; ``None`` if it does not.
    classic
        `P_VALUE` or `EFFECT`, the rule under the policy `classic`; ``None`` if the check never fails under it.
    headline
        Whether displays show its p-value as that of the whole feature.
    """

    name: str
    computed_by: str
    budget: Mapping[str, float]
    min_effect: Optional[MinEffect] = None
    fails_at_min_effect: bool = False
    learning: Optional[Learning] = None
    classic: Optional[str] = None
    headline: bool = False


DEFAULT_MEAN_SHIFT = 0.25
"""The minimum effect of `mean` if ``mean_shift`` is not set, in standard deviations of the baseline."""

# Budget: the check that usually finds drift first has the largest share (docs/decisions/0014).
# Learning of `std`: for a normal distribution the spread is 0.7. It is 1 here, because heavier tails make it larger.
CHECKS: Mapping[str, Check] = {
    check.name: check
    for check in (
        Check(
            "ks",
            "numeric.NumericChecks",
            {NUMERIC: 0.03},
            MinEffect("ks", 0.1, of_all_features=True),
            fails_at_min_effect=True,
            learning=Learning(0.5),
            classic=P_VALUE,
            headline=True,
        ),
        Check(
            "chi2",
            "categorical.CategoricalChecks",
            {CATEGORICAL: 0.03},
            MinEffect("cramers_v", 0.1, of_all_features=True),
            fails_at_min_effect=True,
            learning=Learning(0.5),
            classic=P_VALUE,
            headline=True,
        ),
        Check("cusum", "changepoint.ChangepointChecks", {NUMERIC: 0.90, CATEGORICAL: 0.90}),
        Check(
            "mean",
            "numeric.NumericChecks",
            {NUMERIC: 0.01},
            MinEffect("mean_shift", None, largest=LARGEST_EFFECT),
            learning=Learning(1.0),
            classic=EFFECT,
        ),
        Check(
            "std",
            "numeric.NumericChecks",
            {NUMERIC: 0.01},
            MinEffect("std_shift", 0.1, largest=LARGEST_EFFECT),
            learning=Learning(1.0),
            classic=EFFECT,
        ),
        Check(
            "range", "numeric.NumericChecks", {NUMERIC: 0.02}, MinEffect("range_ratio", 0.01), learning=Learning(None)
        ),
        Check(
            "frequency",
            "categorical.CategoricalChecks",
            {CATEGORICAL: 0.02},
            MinEffect("frequency_shift", 0.05),
            learning=Learning(0.5),
            classic=EFFECT,
        ),
        Check(
            "new_category",
            "categorical.CategoricalChecks",
            {CATEGORICAL: 0.02},
            MinEffect("new_category_ratio", 0.0),
            learning=Learning(None),
            classic=EFFECT,
        ),
        Check(
            "missing",
            "presence.PresenceChecks",
            {NUMERIC: 0.02, CATEGORICAL: 0.02},
            MinEffect("missing_shift", 0.02),
            learning=Learning(0.5),
        ),
        Check(
            "wrong_type",
            "presence.PresenceChecks",
            {NUMERIC: 0.01, CATEGORICAL: 0.01},
            MinEffect("wrong_type_ratio", 0.01),
        ),
        Check(
            "joint",
            "joint.JointCheck",
            {JOINT: 1.0},
            MinEffect("joint", 0.1, of_all_features=True),
            fails_at_min_effect=True,
            learning=Learning(1.0),
            headline=True,
        ),
    )
}
"""All checks by name, in the order of display."""

HEADLINES = tuple(check.name for check in CHECKS.values() if check.headline)
"""The checks whose p-values are shown as those of whole features, one for each kind."""

FEWEST_JOINT_FEATURES = 2
"""The joint distribution is checked if the baseline has at least this number of features."""


def checks_of(kind: str) -> tuple[Check, ...]:
    """The checks of a kind, in the order of display.

    Examples
    --------
    >>> [check.name for check in checks_of("categorical")]
    ['chi2', 'cusum', 'frequency', 'new_category', 'missing', 'wrong_type']
    """
    return tuple(check for check in CHECKS.values() if kind in check.budget)


def min_effect_settings(*, of_all_features: bool) -> dict[str, MinEffect]:
    """The settings of minimum effects, by key: those in ``alarms.min_effect``, or those in ``features.<name>``."""
    settings = (check.min_effect for check in CHECKS.values() if check.min_effect is not None)
    return {setting.key: setting for setting in settings if setting.of_all_features == of_all_features}
