"""The fields of a tally vector: the position of each count and sum.

A tally vector (length,) begins with the fields of all features together. The part of each feature follows, at the
offset that `layout.Layout` gives. All positions below are relative to the beginning of the vector, or of the part.

In the comments, a request has s rows. For one feature, m of them have a value that takes part in statistics, with
normal scores that sum to T, and k = s - m of them do not.
"""

from __future__ import annotations

# Of all features together: rows, and the sums over requests of s² and s⁴.
ROWS, REQUESTS_SQUARED, REQUESTS_FOURTH = 0, 1, 2

PARTS = 3
"""Where the part of the first feature begins."""

# Of every feature: values that take part in statistics, missing values, and values of a wrong type.
VALID, MISSING, MISTYPED = 0, 1, 2

# Of every feature: the sums over requests of m², m⁴, T² and m T, from which the design effect is estimated.
SIZES_SQUARED, SIZES_FOURTH, TOTALS_SQUARED, SIZES_TOTALS = 3, 4, 5, 6

# Of every feature: the sums over requests of k² and s k, for the design effect of the share of absent values.
ABSENT_SQUARED, SIZES_ABSENT = 7, 8

# Of a numeric feature: infinite values; finite values outside the baseline's range; the sums of scaled values and of
# their squares (see `tally.scale_of`); then the values in each bin: up to each of the baseline's edges, and beyond all.
INFINITE, OUTSIDE, SUM, SUM_SQUARES, BINS = 9, 10, 11, 12, 13

# Of a categorical feature: values in categories that the baseline does not have; then those in each of its categories.
UNSEEN, CATEGORIES = 9, 10
