"""What checks look at and what they find, before any verdict."""

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
    """What one check found in one window.

    ``min_effect`` is the smallest effect that matters; ``bound`` is held against alpha where ``p_value`` is an
    approximation that is too small in its far tail (``None``: ``p_value`` itself is); ``pair`` names the two features
    whose association changed most (`joint` alone).
    """

    p_value: float
    statistic: float
    effect: float
    min_effect: float
    bound: Optional[float] = None
    pair: tuple[str, ...] = ()


class Finding(NamedTuple):
    """The evidence of the check called ``check`` on feature number ``feature`` of the baseline.

    The joint distribution has the number after the last feature's.
    """

    feature: int
    check: str
    evidence: Evidence


FeatureEvidence = Mapping[str, Evidence]
"""A feature's checks in one window, by name."""


class WindowEvidence(NamedTuple):
    """All that the checks found in one window.

    ``features`` in the baseline's order, then the joint distribution where there are two features or more; ``None``
    where it was not looked at this time. ``design_effects`` of each.
    """

    features: Sequence[Optional[FeatureEvidence]]
    design_effects: Sequence[float]


@dataclass(frozen=True, eq=False)
class CheckedModel:
    """What the checks of a model are made from.

    ``min_effects``: for each feature, then the joint distribution, the minimum effect of each of its checks by name.
    ``in_time``: whether features that have a time profile are judged by it.
    """

    profile: Profile
    min_effects: Sequence[Mapping[str, float]]
    layout: Layout
    codes: Sequence[FeatureCodes]
    in_time: bool = True


@dataclass(frozen=True, eq=False)
class WindowView:
    """One window as its checks look at it.

    ``span_design_effects`` (S, F) of each feature's values in each of the window's spans, the last of which is the
    window; ``absence_design_effects`` (F,) of the share of rows without a value; ``sample_design_effect`` of the rows
    of the sample, the largest over all features; ``jointly``: whether the joint distribution is looked at this time.
    """

    rows: WindowRows
    span_design_effects: Floats
    absence_design_effects: Floats
    sample_design_effect: float
    jointly: bool = True
    paced: Pace = NO_PAUSE

    @property
    def design_effects(self) -> Floats:
        """Of each feature's values (F,) in the whole window: so many rows stand for one independent row."""
        whole: Floats = self.span_design_effects[-1]
        return whole


class CheckGroup(Protocol):
    """Checks that are computed together. Made once per model; thread-safe."""

    def __init__(self, model: CheckedModel) -> None: ...

    def findings(self, window: WindowView) -> Iterator[Finding]:
        """What the checks of this group find in a window; a check without a value to look at is left out."""
        ...
