"""What a baseline holds, as plain frozen data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Optional, Union

import numpy as np

from torchserve_drift.baseline.time_profile import TimeProfile
from torchserve_drift.features.schema import Feature, Kind
from torchserve_drift.stats.arrays import Codes, Floats, Integers

QUANTILE_LEVELS = (0.001, 0.005, 0.01, 0.025, *(i / 20 for i in range(1, 20)), 0.975, 0.99, 0.995, 0.999)
"""The levels of `NumericBaseline.quantiles`: 0.05, 0.10, ..., 0.95, and finer in the tails, where a wider spread shows
first."""

MOST_EDGES = len(QUANTILE_LEVELS) + 1
"""The largest number of `NumericBaseline.edges`: the distinct quantiles and the maximum."""

NUMERIC_EFFECTS = ("ks", "mean", "std", "range", "missing")
CATEGORICAL_EFFECTS = ("chi2", "frequency", "new_category", "missing")
"""The checks that `variation` has effects of, in the order of the artifact."""

MOST_SPANS = 100
"""The largest number of spans of training time."""

MISSING_CODE = 65535
"""The code for a missing value in a categorical sample. Codes of categories are below `LARGEST_CATEGORIES`."""

LARGEST_CATEGORIES = 65_000
"""The largest number of categories of a feature."""

LARGEST_SAMPLE = 32_000
"""The largest number of rows in the sample. A sample of n distinct values needs 2 n + 1 codes: one for each value, one
for each gap between two values and one for each side. Codes have two bytes."""

Variation = Mapping[str, Floats]
"""Check to its effect (spans,) in each span of training time, compared with all of the training data; 0 or more. Empty
when the baseline was built without times."""


@dataclass(frozen=True, eq=False)
class NumericBaseline:
    """One numeric feature of the training data.

    Attributes
    ----------
    count, missing, invalid
        Numbers of finite values; of nulls and NaNs; of infinite values.
    mean, std, minimum, maximum
        Of the finite values. ``std`` divides by count - 1 and is 0 for fewer than two values; the others are NaN when
        there are no values.
    quantiles
        (27,) at `QUANTILE_LEVELS`, of the finite values; NaN when there are none.
    edges
        (E,) upper bounds, strictly rising, of the bins that are counted in production: the distinct quantiles, then
        ``maximum``. E is at most `MOST_EDGES`, and 0 when there are no values.
    edge_counts
        (E,) numbers of finite values <= each edge.
    sample
        (sample_rows,) values of sampled rows; NaN where missing or invalid. Row r of the samples of all features is the
        same row of the training data.
    importance
        Share of the feature in the score, in [0, 1]; the shares of all features sum to 1.
    variation
        Effects of `NUMERIC_EFFECTS`; see `tolerance`.
    time
        How the feature varied over time; None when the baseline was built without real times.
    """

    name: str
    count: int
    missing: int
    invalid: int
    mean: float
    std: float
    minimum: float
    maximum: float
    quantiles: Floats
    edges: Floats
    edge_counts: Integers
    sample: Floats
    importance: float
    variation: Variation = field(default_factory=dict)
    time: Optional[TimeProfile] = None

    @property
    def kind(self) -> Kind:
        return "numeric"

    def tolerance(self, check: str) -> float:
        """The largest effect of ``check`` in any span of training time, compared with all of the training data.

        0 when the baseline was built without times, and for a check that is not among `NUMERIC_EFFECTS`. An effect in
        few rows is partly chance, so the tolerance can be larger than the change that the seasons bring.
        """
        return _largest_effect(self.variation, check)

    @property
    def feature(self) -> Feature:
        return Feature(self.name, "numeric")


@dataclass(frozen=True, eq=False)
class CategoricalBaseline:
    """One categorical feature of the training data.

    Attributes
    ----------
    categories
        C names as `category_key` spells them, in falling order of ``counts``, then by name.
    counts
        (C,) rows of each category.
    missing
        Rows without a category.
    sample
        (sample_rows,) indices into ``categories``; `MISSING_CODE` where missing.
    importance
        As in `NumericBaseline`.
    variation
        Effects of `CATEGORICAL_EFFECTS`; see `tolerance`.
    time
        As in `NumericBaseline`.
    """

    name: str
    categories: tuple[str, ...]
    counts: Integers
    missing: int
    sample: Codes
    importance: float
    variation: Variation = field(default_factory=dict)
    time: Optional[TimeProfile] = None

    @property
    def kind(self) -> Kind:
        return "categorical"

    @cached_property
    def count(self) -> int:
        """The number of rows with a category."""
        return int(self.counts.sum())

    @property
    def feature(self) -> Feature:
        return Feature(self.name, "categorical", self.categories)

    def tolerance(self, check: str) -> float:
        """As `NumericBaseline.tolerance`, for `CATEGORICAL_EFFECTS`."""
        return _largest_effect(self.variation, check)


def _largest_effect(variation: Variation, check: str) -> float:
    return float(variation[check].max()) if check in variation else 0.0


FeatureBaseline = Union[NumericBaseline, CategoricalBaseline]


@dataclass(frozen=True, eq=False)
class Profile:
    """The profile of the training data, as pure data. Immutable; safe to share between threads.

    Attributes
    ----------
    features
        In the order of the columns of the training data.
    rows
        Rows of the training data.
    created
        ISO 8601, in UTC.
    seed
        The random seed with which the sample was drawn.
    sha256
        The digest of the artifact in hexadecimal; empty before it is written.
    joint_variation
        (spans,) effects of the joint check; see `joint_tolerance`.
    """

    features: tuple[FeatureBaseline, ...]
    rows: int
    created: str
    seed: int
    sha256: str = ""
    joint_variation: Floats = field(default_factory=lambda: np.zeros(0))

    @cached_property
    def schema(self) -> tuple[Feature, ...]:
        return tuple(feature.feature for feature in self.features)

    @property
    def sample_rows(self) -> int:
        """The number of rows in the sample, the same for every feature."""
        return len(self.features[0].sample)

    @property
    def spans(self) -> int:
        """The number of spans in the ``variation`` of every feature; 0 when the baseline was built without times."""
        return len(next(iter(self.features[0].variation.values()), ()))

    @property
    def has_time_profiles(self) -> bool:
        """Whether every feature has a time profile."""
        return all(feature.time is not None for feature in self.features)

    @property
    def joint_tolerance(self) -> float:
        """The largest effect of the joint check in any span; 0 when the baseline was built without times."""
        return float(self.joint_variation.max(initial=0.0))
