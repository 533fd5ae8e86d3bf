"""What a check found, before any verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Optional


class Evidence(NamedTuple):
    """What one check found.

    ``limit`` is the effect that it must exceed to fail, or reach (`AT_LEAST`); ``bound`` is what is held against alpha
    where ``p_value`` is an approximation that is too small in its far tail, ``None`` where that is ``p_value`` itself.
    """

    p_value: float
    statistic: float
    effect: float
    limit: float
    bound: Optional[float] = None


AT_LEAST = frozenset(("ks", "chi2", "joint"))
"""Checks that fail at their limit already: it is the smallest effect that matters, not the largest that does not."""

FeatureEvidence = Mapping[str, Evidence]
"""A feature's checks in one window, by name."""


class Found(NamedTuple):
    """All that was found in one window.

    ``features`` in the baseline's order, then the joint distribution of two or more, ``None`` where this look was not
    at it; ``design_effects`` of each; ``pair`` the two features whose association changed most.
    """

    features: Sequence[Optional[FeatureEvidence]]
    design_effects: Sequence[float]
    pair: tuple[str, ...]
