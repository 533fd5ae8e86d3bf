"""What a check found, before any verdict."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, Optional


class Evidence(NamedTuple):
    """What one check found. ``limit`` is the effect that a threshold check must exceed, ``None`` for ks and chi2."""

    p_value: float
    statistic: float
    effect: float
    limit: Optional[float]


FeatureEvidence = Mapping[str, Evidence]
"""A feature's checks in one window, by name."""
