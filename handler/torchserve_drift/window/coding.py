"""Values as two-byte codes against the baseline: all that is ever kept of a production row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Union

import numpy as np
import numpy.typing as npt

from torchserve_drift.baseline.profile import MISSING_CODE, FeatureBaseline, NumericBaseline, Profile
from torchserve_drift.stats.ecdf import code_shares


@dataclass(frozen=True, eq=False)
class NumericCodes:
    """Codes of one numeric feature: 2j + 1 for a value equal to ``distinct[j]``, 2j for one in the gap before it.

    ``distinct`` (J,) the sorted distinct values of the baseline's sample; ``below`` and ``at`` (2J + 1,) the share of
    that sample which is less than, and at most, a value of each code; ``sample_count`` its values.

    Examples
    --------
    >>> codes = NumericCodes.of(np.array([1.0, 2.0, 2.0, np.nan]))
    >>> codes.encode(np.array([0.0, 1.0, 1.5, 2.0, 9.0, np.nan])).tolist()
    [0, 1, 2, 3, 4, 65535]
    >>> codes.at.tolist() == [0, 1 / 3, 1 / 3, 1, 1]
    True
    """

    distinct: npt.NDArray[np.float64]
    below: npt.NDArray[np.float64]
    at: npt.NDArray[np.float64]
    sample_count: int

    @classmethod
    def of(cls, sample: npt.NDArray[np.float64]) -> NumericCodes:
        """The codes for a baseline's sample, NaN where missing."""
        values = sample[~np.isnan(sample)]
        distinct, counts = np.unique(values, return_counts=True)
        below, at = code_shares(np.cumsum(counts))
        return cls(distinct, below, at, len(values))

    def encode(self, values: npt.NDArray[np.float64]) -> npt.NDArray[np.uint16]:
        """Codes (m,) of values (m,); `MISSING_CODE` for NaN and infinities."""
        places = self.distinct.searchsorted(values)
        codes = 2 * places
        if len(self.distinct):
            codes += self.distinct.take(places, mode="clip") == values
        codes[~np.isfinite(values)] = MISSING_CODE
        return codes.astype(np.uint16)


@dataclass(frozen=True, eq=False)
class CategoryCodes:
    """Codes of one categorical feature: each category's index, ``categories`` for one the baseline lacks."""

    categories: int

    def encode(self, values: npt.NDArray[np.float64]) -> npt.NDArray[np.uint16]:
        """Codes (m,) of indices (m,), negative for an unseen category; `MISSING_CODE` for NaN."""
        codes = np.where(values < 0, self.categories, np.nan_to_num(values, nan=MISSING_CODE))
        return codes.astype(np.uint16)


Codes = Union[NumericCodes, CategoryCodes]


def codes_for(baseline: Profile) -> tuple[Codes, ...]:
    """The codes of every feature, in the baseline's order."""
    return tuple(_codes(feature) for feature in baseline.features)


def _codes(feature: FeatureBaseline) -> Codes:
    if isinstance(feature, NumericBaseline):
        return NumericCodes.of(feature.sample)
    return CategoryCodes(len(feature.categories))
