"""The channels of a feature: bounded scores of its values whose sums follow from tallies."""

from __future__ import annotations

import numpy as np

from torchserve_drift.baseline.profile import FeatureBaseline, NumericBaseline
from torchserve_drift.stats.arrays import Integers

MIN_SHARE, MOST_CATEGORIES = 0.01, 40
"""A category with at least this share of the training rows has a channel of its own, up to this number."""

NUMERIC_CHANNELS = ("location", "scale", "outside", "missing", "ks")
"""Normal score, squared normal score, values outside the training data's range, missing values, the distribution."""


def own_categories(feature: FeatureBaseline) -> int:
    """How many of a categorical feature's categories, the most frequent first, have channels of their own."""
    return 0 if isinstance(feature, NumericBaseline) else frequent_categories(feature.counts)


def frequent_categories(counts: Integers) -> int:
    """How many of ``counts`` (C,), rows of each category in falling order, give their category its own channel."""
    shares = counts / max(int(counts.sum()), 1)
    return min(int(np.count_nonzero(shares >= MIN_SHARE)), MOST_CATEGORIES)


def names_of(feature: FeatureBaseline) -> tuple[str, ...]:
    """The channels of a feature. A categorical one has its frequent categories, the rest, unseen and missing ones."""
    if isinstance(feature, NumericBaseline):
        return NUMERIC_CHANNELS
    own = (f"={category}" for category in feature.categories[: own_categories(feature)])
    return (*own, "rest", "unseen", "missing")
