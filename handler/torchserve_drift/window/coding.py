"""Values as two-byte codes against the baseline. Of production rows nothing else is kept."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Union

import numpy as np

from torchserve_drift.baseline.profile import MISSING_CODE, FeatureBaseline, NumericBaseline, Profile
from torchserve_drift.stats.arrays import Codes, Floats
from torchserve_drift.stats.ecdf import code_shares


@dataclass(frozen=True, eq=False)
class NumericCodes:
    """Codes of one numeric feature: 2j + 1 for a value equal to ``distinct[j]``, 2j for a value in the gap before it.

    ``distinct`` (J,) the sorted distinct values of the baseline's sample; ``below`` and ``at_most`` (2J + 1,) the
    shares of that sample that are below a value of each code, and at most that value; ``sample_count`` the number of
    its values.

    Examples
    --------
    >>> codes = NumericCodes.of(np.array([1.0, 2.0, 2.0, np.nan]))
    >>> codes.encode(np.array([0.0, 1.0, 1.5, 2.0, 9.0, np.nan])).tolist()
    [0, 1, 2, 3, 4, 65535]
    >>> codes.at_most.tolist() == [0, 1 / 3, 1 / 3, 1, 1]
    True
    """

    distinct: Floats
    below: Floats
    at_most: Floats
    sample_count: int

    @classmethod
    def of(cls, sample: Floats) -> NumericCodes:
        """The codes for a baseline's ``sample`` (n,), NaN where a value is missing."""
        values = sample[~np.isnan(sample)]
        distinct, counts = np.unique(values, return_counts=True)
        below, at_most = code_shares(np.cumsum(counts))
        return cls(distinct, below, at_most, len(values))

    def encode(self, values: Floats) -> Codes:
        """The codes (m,) of values (m,); `MISSING_CODE` for NaN and infinities."""
        places = self.distinct.searchsorted(values)
        codes = 2 * places
        if len(self.distinct):
            codes += self.distinct.take(places, mode="clip") == values
        codes[~np.isfinite(values)] = MISSING_CODE
        return codes.astype(np.uint16)


@dataclass(frozen=True, eq=False)
class CategoryCodes:
    """Codes of one categorical feature: a category's index, or ``categories``, their number, for an unseen category."""

    categories: int

    def encode(self, values: Floats) -> Codes:
        """The codes (m,) of category indices (m,), negative for an unseen category; `MISSING_CODE` for NaN."""
        codes = np.where(values < 0, self.categories, np.nan_to_num(values, nan=MISSING_CODE))
        return codes.astype(np.uint16)


FeatureCodes = Union[NumericCodes, CategoryCodes]


def codes_for(baseline: Profile) -> tuple[FeatureCodes, ...]:
    """The codes of every feature, in the baseline's order."""
    return tuple(_codes_of(feature) for feature in baseline.features)


def _codes_of(feature: FeatureBaseline) -> FeatureCodes:
    if isinstance(feature, NumericBaseline):
        return NumericCodes.of(feature.sample)
    return CategoryCodes(len(feature.categories))
