"""The input and the results of checks, before any verdict."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Optional, Protocol

from torchserve_drift.baseline.profile import Profile
from torchserve_drift.stats.arrays import Floats
from torchserve_drift.window.coding import FeatureCodes
from torchserve_drift.window.layout import Layout
from torchserve_drift.window.merge import WindowRows
from torchserve_drift.window.pacing import NO_PAUSE, Pace


class Evidence(NamedTuple):
    """What one check found on one feature in one window.

    Attributes
    ----------
    p_value
        In [0, 1]: the probability of a difference at least as large if there were no drift.
    statistic
        The check's own statistic; docs/metrics.md describes each.
    effect
        The size of the difference, 0 or more.
    min_effect
        The minimum effect, in the unit of ``effect``.
    bound
        An upper bound of the p-value that is compared with alpha in its place, where ``p_value`` is an approximation
        that is too small in its far tail; ``None`` where ``p_value`` itself is compared.
    pair
        The names of the two features whose association changed most; only `joint` has it.
    """

    p_value: float
    statistic: float
    effect: float
    min_effect: float
    bound: Optional[float] = None
    pair: tuple[str, ...] = ()


class Finding(NamedTuple):
    """The evidence of one check on one feature.

    ``feature`` is the position of the feature in the baseline; that of the joint distribution is the number of
    features. ``check`` is the name of the check.
    """

    feature: int
    check: str
    evidence: Evidence


FeatureEvidence = Mapping[str, Evidence]
"""The evidence of all checks on one feature in one window, by the name of the check."""


class WindowEvidence(NamedTuple):
    """The evidence of all checks in one window.

    Attributes
    ----------
    features
        One element for each feature, in the baseline's order. If the baseline has at least two features, one more for
        the joint distribution, which is ``None`` if it was not checked this time.
    design_effects
        The design effect of each of them.
    """

    features: Sequence[Optional[FeatureEvidence]]
    design_effects: Sequence[float]


@dataclass(frozen=True, eq=False)
class CheckedModel:
    """What the checks of one model are made from.

    Attributes
    ----------
    profile
        The baseline.
    min_effects
        For each feature, and at the end for the joint distribution, the minimum effect of each check by its name.
    layout
        Where each feature's part of a tally vector lies.
    codes
        The codes of each feature's values.
    in_time
        Whether features that have a time profile are judged by it.
    """

    profile: Profile
    min_effects: Sequence[Mapping[str, float]]
    layout: Layout
    codes: Sequence[FeatureCodes]
    in_time: bool = True


@dataclass(frozen=True, eq=False)
class WindowView:
    """One window and its design effects: the input of all checks.

    Attributes
    ----------
    rows
        The tallies and the sample of the window.
    span_design_effects
        (S, F) design effects of each feature's values in each span. The last span is the whole window.
    absence_design_effects
        (F,) design effects of the share of rows without a value.
    sample_design_effect
        The design effect of the sample: the largest over all features.
    jointly
        Whether the joint distribution is checked this time.
    paced
        Wraps the iterables of long loops.
    """

    rows: WindowRows
    span_design_effects: Floats
    absence_design_effects: Floats
    sample_design_effect: float
    jointly: bool = True
    paced: Pace = NO_PAUSE

    @property
    def design_effects(self) -> Floats:
        """The design effects (F,) of each feature's values in the whole window."""
        whole: Floats = self.span_design_effects[-1]
        return whole


class CheckGroup(Protocol):
    """Checks that are computed together. There is one object per model; it must be thread-safe."""

    def __init__(self, model: CheckedModel) -> None: ...

    def findings(self, window: WindowView) -> Iterator[Finding]:
        """The evidence of this group's checks in a window. A feature without a value that a check needs is left out."""
        ...
