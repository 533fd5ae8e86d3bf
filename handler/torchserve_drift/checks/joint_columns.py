"""The columns of scores that the check `joint` compares pair by pair, and which pairs it can compare.

A feature has one column or several. A ranked column scores a value by its rank in the baseline's sample. A folded
column scores it by the distance of that rank from the median; it shows associations that ranks do not, such as U-shaped
ones. A categorical feature has a column for each of its commonest categories: 1 for this category, else 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from torchserve_drift.baseline.profile import MISSING_CODE, CategoricalBaseline, Profile
from torchserve_drift.stats.arrays import Bools, Floats
from torchserve_drift.window.coding import FeatureCodes, NumericCodes

MOST_COLUMNS = 128
"""The largest number of columns. Time and memory grow with its square."""

MOST_CATEGORIES = 8
"""The largest number of columns of one categorical feature."""

LARGEST_SCORE = 7.0
"""The largest score of a column, in standard deviations: that of a category with 2 % of the rows. With rarer categories
a few rows would decide."""

FEWEST_EXPECTED = 5
"""A pair of columns is compared if at least this number of rows is expected to have the largest score in both."""

LEAST_FINENESS = 0.98
"""The smallest fineness of a folded column. Ranks of which a third are tied at one value have 0.98 of the standard
deviation of ranks without ties."""


@dataclass(frozen=True, eq=False)
class Column:
    """One column of scores.

    Attributes
    ----------
    feature
        The position of the feature in the baseline.
    table
        (codes,) the score of each code.
    missing
        The score of a missing value.
    largest
        The largest distance of a score from the mean, in standard deviations.
    ranked
        Whether scores are ranks, else they are the indicator of one category. A numeric feature with two values counts
        as two categories.
    folded
        Whether scores are the distances of ranks from the median.
    """

    feature: int
    table: Floats
    missing: float
    largest: float
    ranked: bool
    folded: bool


@dataclass(frozen=True, eq=False)
class Pairs:
    """Facts about all pairs of d columns.

    Attributes
    ----------
    comparable
        (d, d) whether the two columns can be compared: they belong to different features. Each pair is True once.
    folded
        (d, d) whether at least one of the two columns is folded.
    largest
        (d,) the largest score of each column.
    """

    comparable: Bools
    folded: Bools
    largest: Floats

    @classmethod
    def of(cls, columns: Sequence[Column]) -> Pairs:
        """The pairs of ``columns``."""
        feature, ranked, folded = (
            np.array([getattr(column, name) for column in columns]) for name in ("feature", "ranked", "folded")
        )
        comparable = np.triu(feature[:, None] != feature)
        # A category is not compared with a folded column: their association changes with the category's share alone.
        category = np.logical_not(ranked)
        comparable &= ~(np.logical_and.outer(category, folded) | np.logical_and.outer(folded, category))
        return cls(comparable, np.logical_or.outer(folded, folded), np.array([column.largest for column in columns]))

    def with_enough_rows(self, rows: float) -> Bools:
        """The comparable pairs (d, d) for which a sample of ``rows`` independent rows is large enough."""
        return self.comparable & has_enough_rows(self.largest, rows)

    def too_coarse(self, fineness: Floats) -> Bools:
        """The pairs (d, d) with a folded column of a feature of which many values in the window are equal.

        Ties move the median, so folded scores of window and baseline cannot be compared. ``fineness`` (d,) is the
        standard deviation of the window's ranks divided by that of the baseline's ranks; ties make it smaller.
        """
        coarse = fineness < LEAST_FINENESS
        return self.folded & np.logical_or.outer(coarse, coarse)


def has_enough_rows(largest: Floats, rows: float) -> Bools:
    """Whether at least `FEWEST_EXPECTED` of ``rows`` rows are expected to decide each pair (d, d) of columns.

    A category with the share p has a largest score of about 1 / sqrt(p). So for two rare categories with the largest
    scores a and b, rows / (a b)² rows are expected to have both. ``largest`` (d,) scores of the columns.
    """
    enough: Bools = FEWEST_EXPECTED * np.outer(largest, largest) ** 2 <= rows
    return enough


def columns_of(baseline: Profile, codes: Sequence[FeatureCodes]) -> list[Column]:
    """The columns of a baseline, at most `MOST_COLUMNS`.

    First come the ranks and categories of each feature, beginning with the most important feature. Then, as far as
    there is room, come the folded columns.
    """
    plain: list[Column] = []
    folded: list[Column] = []
    for i in sorted(range(len(codes)), key=lambda i: -baseline.features[i].importance):
        feature, code = baseline.features[i], codes[i]
        if isinstance(code, NumericCodes):
            # The midrank of each code as a share of the rows, minus ½, so that the median has the score 0.
            scores, weights = (code.below + code.at_most) / 2 - 0.5, code.at_most - code.below
            ranked = len(code.distinct) > 2
            plain.append(_column(i, scores, weights, ranked))
            if ranked:
                folded.append(replace(_column(i, np.abs(scores), weights, ranked), folded=True))
        elif isinstance(feature, CategoricalBaseline):
            plain += _category_columns(i, feature)
        plain = [column for column in plain if column.largest <= LARGEST_SCORE]
        if len(plain) >= MOST_COLUMNS:
            break
    return (plain + [column for column in folded if column.largest <= LARGEST_SCORE])[:MOST_COLUMNS]


def _category_columns(i: int, feature: CategoricalBaseline) -> list[Column]:
    """One column for each of the commonest categories; a single one for two categories, since one mirrors the other."""
    categories = len(feature.categories)
    counts = np.bincount(feature.sample[feature.sample != MISSING_CODE], minlength=categories + 1)
    weights = counts / max(counts.sum(), 1)
    chosen = 1 if categories == 2 else min(categories, MOST_CATEGORIES)
    # Categories are in falling order of frequency, so the first ones are the commonest.
    return [_column(i, table, weights, ranked=False) for table in np.eye(chosen, categories + 1)]


def _column(feature: int, table: Floats, weights: Floats, ranked: bool) -> Column:
    """The column with the scores ``table`` (codes,); ``weights`` (codes,) is the share of each code in the sample.

    A missing value gets the mean score, which adds nothing to a correlation.
    """
    mean = float(table @ weights)
    deviation = float(np.sqrt((table - mean) ** 2 @ weights))
    sizes = np.abs(table - mean)[weights > 0]
    largest = float(sizes.max()) / deviation if deviation > 1e-9 else np.inf
    return Column(feature, table, mean, largest, ranked, folded=False)
