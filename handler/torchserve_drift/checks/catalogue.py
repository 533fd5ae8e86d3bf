"""One declaration per check: all that settings, budget, verdicts, baselines and displays need to know of it.

A new check is one declaration here and one function in the module of `Check.computed_by`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Optional

NUMERIC, CATEGORICAL, JOINT = "numeric", "categorical", "joint"
"""Kinds of what is checked: a numeric feature, a categorical feature, the joint distribution of all features."""

P_VALUE, EFFECT = "p_value", "effect"
"""What a check fails by under the policy `classic`: p_value < alpha, or effect > min_effect."""

LARGEST_EFFECT = 1e300


@dataclass(frozen=True)
class MinEffect:
    """How the user sets the smallest effect that matters to a check.

    ``key`` of the setting, in ``alarms.min_effect`` if ``of_all_features``, else in ``features.<name>``; ``default``
    (``None``: `DEFAULT_MEAN_SHIFT` standard deviations of the baseline); ``largest`` value that the setting may have.
    """

    key: str
    default: Optional[float]
    largest: float = 1.0
    of_all_features: bool = False


@dataclass(frozen=True)
class Learning:
    """How ``min_effect: learned`` raises a check's minimum effect by what training time showed.

    ``spread``: the largest standard error of the effect times the square root of the rows; 0.5 is that of a share of
    one half. ``None``: that of a share as small as the one that was learned.
    """

    spread: Optional[float]


@dataclass(frozen=True)
class Check:
    """One check.

    ``budget`` maps each kind that the check is for to its part of the alarm budget of a feature of this kind; the parts
    of a kind sum to 1. ``computed_by``: module and class in `checks`. ``fails_at_min_effect``: an effect equal to the
    minimum effect fails too (it is the smallest that matters, not the largest that does not). ``classic``: what it
    fails by under that policy, if at all. ``headline``: its p-value stands for the whole feature in displays.
    ``min_effect`` ``None``: it has the minimum effects of other checks.
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
"""In standard deviations of the baseline: the minimum effect of `mean` where ``mean_shift`` is not set."""

# The parts of the budget: what is surest to find drift first has the most. Spread shares of `std` are larger than the
# 0.7 of a normal distribution, for heavier tails.
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
"""The checks whose p-values stand for whole features in displays, one of each kind."""

FEWEST_JOINT = 2
"""The joint distribution is checked from this number of features on."""


def checks_of(kind: str) -> tuple[Check, ...]:
    """The checks of a kind, in the order of display.

    Examples
    --------
    >>> [check.name for check in checks_of("categorical")]
    ['chi2', 'cusum', 'frequency', 'new_category', 'missing', 'wrong_type']
    """
    return tuple(check for check in CHECKS.values() if kind in check.budget)


def min_effect_settings(*, of_all_features: bool) -> dict[str, MinEffect]:
    """The settings of one of the two sections, by their keys."""
    settings = (check.min_effect for check in CHECKS.values() if check.min_effect is not None)
    return {setting.key: setting for setting in settings if setting.of_all_features == of_all_features}
