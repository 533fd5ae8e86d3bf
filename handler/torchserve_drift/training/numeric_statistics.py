"""The statistics of one column of numbers, and the exact arithmetic behind its mean and standard deviation.

A sum of floats depends on the order of the terms, and so on the number of threads that add them up. Therefore values
are written as fixed-point numbers of 78 bits, scaled to the largest value. Their sums are exact and the same in any
order. Python computes with these sums as fractions, and rounds once, at the end.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np

from torchserve_drift.baseline.profile import QUANTILE_LEVELS
from torchserve_drift.stats.arrays import Floats, Integers

FIXED_POINT_BITS = 78
"""A decimal of DuckDB has 38 digits, which is 126 bits: 78 for a value leave room to add up 2**48 of them."""


@dataclass
class NumericStatistics:
    """The statistics of a column that `NumericBaseline` holds, and exact sums.

    `numeric.numeric_statistics` fills in the fields step by step.

    Attributes
    ----------
    place
        The column's name in the table.
    count, present
        Numbers of finite values, and of finite and infinite ones.
    minimum, maximum
        The extremes of the finite values; NaN when there are none.
    scaled_mean
        The mean of the values times 2**`shift`.
    squares
        The sum of the squared differences from the mean, each difference divided by 2**`exponent`.
    """

    place: str
    count: int
    present: int
    minimum: float
    maximum: float
    mean: float = math.nan
    scaled_mean: Fraction = Fraction(0)
    squares: Fraction = Fraction(0)
    std: float = 0.0
    quantiles: Floats = field(default_factory=lambda: np.full(len(QUANTILE_LEVELS), np.nan))
    edges: Floats = field(default_factory=lambda: np.empty(0))
    edge_counts: Integers = field(default_factory=lambda: np.empty(0, np.int64))

    @property
    def varies(self) -> bool:
        """Whether the column has two different values."""
        return self.minimum < self.maximum

    @property
    def shift(self) -> int:
        """The power of two that scales the values to at most `FIXED_POINT_BITS` bits."""
        return FIXED_POINT_BITS - math.frexp(max(abs(self.minimum), abs(self.maximum)))[1]

    @property
    def centre(self) -> float:
        """The double nearest to ``scaled_mean``. DuckDB subtracts doubles, and far from zero the mean is not one."""
        return float(self.scaled_mean)

    @property
    def exponent(self) -> int:
        """The power of two that, divided by, makes differences of scaled values from `centre` at most 1."""
        above = _scaled(self.maximum, self.shift) - self.centre
        below = self.centre - _scaled(self.minimum, self.shift)
        return math.frexp(max(above, below))[1]

    def mean_difference(self, total: Fraction, count: int) -> Fraction:
        """How far the mean of ``count`` scaled values with the sum ``total`` is from the mean, over 2**`exponent`."""
        return (total / count - self.scaled_mean) / Fraction(2) ** self.exponent

    def squares_about(self, mean_difference: Fraction, count: int, about_centre: Fraction) -> Fraction:
        """The sum of squares of ``count`` values about their own mean, from their sum of squares about `centre`.

        ``mean_difference`` says where their own mean is. By Steiner's formula the two sums differ by ``count`` times
        the squared distance of that mean from `centre`.
        """
        offset = mean_difference + (self.scaled_mean - Fraction(self.centre)) / Fraction(2) ** self.exponent
        return max(about_centre - count * offset**2, Fraction(0))  # squares in fixed point are rounded


def _scaled(value: float, shift: int) -> float:
    # in two steps: 2**shift itself may be beyond the largest double
    return math.ldexp(math.ldexp(value, shift // 2), shift - shift // 2)
