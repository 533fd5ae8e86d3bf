"""What a baseline holds, as plain frozen data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Union

import numpy as np
import numpy.typing as npt

from torchserve_drift.features.schema import Feature, Kind

QUANTILE_LEVELS = (0.001, 0.005, 0.01, 0.025, *(i / 20 for i in range(1, 20)), 0.975, 0.99, 0.995, 0.999)
"""The levels of `NumericBaseline.quantiles`: 0.05, 0.10, ..., 0.95, finer in the tails, where spread shows first."""

MOST_EDGES = len(QUANTILE_LEVELS) + 1
"""Of `NumericBaseline.edges`: the distinct quantiles and the maximum."""

NUMERIC_EFFECTS = ("ks", "mean", "std", "range", "missing")
CATEGORICAL_EFFECTS = ("chi2", "frequency", "new_category", "missing")
"""The checks whose effects `variation` has, in the artifact's order."""

MOST_SPANS = 100
MISSING_CODE = 65535
"""A categorical sample's code for a missing value; real codes are below `LARGEST_CATEGORIES`."""

LARGEST_CATEGORIES = 65_000
LARGEST_SAMPLE = 32_000
"""Rows: with two-byte codes, 2 x distinct values + 1 of them, no larger sample can be told apart."""


Variation = Mapping[str, npt.NDArray[np.float64]]
"""By check, its effect in each span of training time (spans,), 0 or more, against all of the training data; empty where
the baseline was built without times."""


@dataclass(frozen=True, eq=False)
class NumericBaseline:
    """One numeric feature of the training data.

    ``count`` finite values, ``missing`` nulls and NaNs, ``invalid`` infinities; ``std`` with count - 1 (0 for fewer
    than two values), ``minimum``, ``maximum``, ``mean`` of the finite values (NaN where there are none); ``quantiles``
    at `QUANTILE_LEVELS`; ``edges`` (E,) strictly increasing upper bounds of the bins that are counted in production:
    the distinct quantiles, then ``maximum``; ``edge_counts`` (E,) finite values <= each edge; ``sample`` (rows,)
    float64, NaN where missing or invalid, row r of all features being one row of the training data; ``importance`` in
    [0, 1], 1 over all features; ``variation``: see `tolerance`.
    """

    name: str
    count: int
    missing: int
    invalid: int
    mean: float
    std: float
    minimum: float
    maximum: float
    quantiles: npt.NDArray[np.float64]
    edges: npt.NDArray[np.float64]
    edge_counts: npt.NDArray[np.int64]
    sample: npt.NDArray[np.float64]
    importance: float
    variation: Variation = field(default_factory=dict)

    @property
    def kind(self) -> Kind:
        return "numeric"

    def tolerance(self, check: str) -> float:
        """The largest effect of ``check`` that a span of the training data's own time had against all of it.

        0 where the baseline was built without times, and for a check that is not among `NUMERIC_EFFECTS`. An effect of
        few rows is partly chance: the tolerance is never less than the change of seasons, and may be more.
        """
        return _largest(self.variation, check)

    @property
    def feature(self) -> Feature:
        return Feature(self.name, "numeric")


@dataclass(frozen=True, eq=False)
class CategoricalBaseline:
    """One categorical feature of the training data.

    ``categories`` in falling order of ``counts`` (C,), then by name, spelled as `category_key` does; ``missing`` nulls;
    ``sample`` (rows,) uint16 indices into ``categories``, `MISSING_CODE` where missing; ``variation``: see `tolerance`.
    """

    name: str
    categories: tuple[str, ...]
    counts: npt.NDArray[np.int64]
    missing: int
    sample: npt.NDArray[np.uint16]
    importance: float
    variation: Variation = field(default_factory=dict)

    @property
    def kind(self) -> Kind:
        return "categorical"

    @cached_property
    def count(self) -> int:
        """Rows with a category."""
        return int(self.counts.sum())

    @property
    def feature(self) -> Feature:
        return Feature(self.name, "categorical", self.categories)

    def tolerance(self, check: str) -> float:
        """As `NumericBaseline.tolerance`, of `CATEGORICAL_EFFECTS`."""
        return _largest(self.variation, check)


def _largest(variation: Variation, check: str) -> float:
    return float(variation[check].max()) if check in variation else 0.0


FeatureBaseline = Union[NumericBaseline, CategoricalBaseline]


@dataclass(frozen=True, eq=False)
class Profile:
    """The training data's profile. Immutable; safe to share between threads.

    ``features`` in the order of the training data's columns; ``rows`` of the training data; ``created`` in ISO 8601,
    UTC; ``seed`` of the sample; ``sha256`` of the artifact, as it says (hexadecimal, empty before it is written);
    ``joint_variation`` (spans,): see `joint_tolerance`.
    """

    features: tuple[FeatureBaseline, ...]
    rows: int
    created: str
    seed: int
    sha256: str = ""
    joint_variation: npt.NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))

    @cached_property
    def schema(self) -> tuple[Feature, ...]:
        return tuple(feature.feature for feature in self.features)

    @property
    def sample_rows(self) -> int:
        """Rows in the sample, the same for every feature."""
        return len(self.features[0].sample)

    @property
    def spans(self) -> int:
        """Spans of training time in every feature's ``variation``; 0 for a baseline that was built without times."""
        return len(next(iter(self.features[0].variation.values()), ()))

    @property
    def joint_tolerance(self) -> float:
        """The largest effect of `joint` in a span of the training data's own time; 0 for a baseline without times."""
        return float(self.joint_variation.max(initial=0.0))
