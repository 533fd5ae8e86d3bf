"""The columns of scores whose pairwise associations the check `joint` compares, and which pairs can be compared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from torchserve_drift.baseline.profile import MISSING_CODE, CategoricalBaseline, Profile
from torchserve_drift.stats.arrays import Bools, Floats
from torchserve_drift.window.coding import FeatureCodes, NumericCodes

LARGEST_COLUMNS = 128
CATEGORIES = 8
"""Most columns of one categorical feature."""

LARGEST_SCORE = 7.0
"""In standard deviations: that of a category of 2 % of the rows. Of rarer ones a few rows would decide."""

LEAST_EXPECTED = 5
LEAST_FINENESS = 0.98
"""A third of the rows of one value: 0.98 of the standard deviation of ranks without ties."""


@dataclass(frozen=True, eq=False)
class Column:
    """Scores of feature number ``feature``.

    ``table`` (codes,) the score of each code; ``missing`` the score of no value; ``largest`` score in standard
    deviations; ``ranked``: scores are ranks, not the indicator of one category (two values are two categories);
    ``folded``: scores are the distances of ranks from the median.
    """

    feature: int
    table: Floats
    missing: float
    largest: float
    ranked: bool
    folded: bool


@dataclass(frozen=True, eq=False)
class Pairs:
    """Pairs of columns (d, d): ``different`` ones are of two features and can be compared, ``folded`` ones have folded
    scores on at least one side; ``largest`` scores (d,) of the columns."""

    different: Bools
    folded: Bools
    largest: Floats

    @classmethod
    def of(cls, columns: Sequence[Column]) -> Pairs:
        feature, ranked, folded = (
            np.array([getattr(column, name) for column in columns]) for name in ("feature", "ranked", "folded")
        )
        different = np.triu(feature[:, None] != feature)
        # the association of a category with a spread changes with the category's share alone
        category = np.logical_not(ranked)
        different &= ~(np.logical_and.outer(category, folded) | np.logical_and.outer(folded, category))
        return cls(different, np.logical_or.outer(folded, folded), np.array([column.largest for column in columns]))

    def of_bounded_products(self, rows: float) -> Bools:
        return self.different & bounded(self.largest, rows)

    def too_coarse(self, fineness: Floats) -> Bools:
        """Pairs (d, d) with folded scores in which many values of a feature have become equal.

        Ties move the median, so that folded scores are no longer comparable. ``fineness`` (d,) of the window's ranks
        relative to the baseline's.
        """
        coarse = fineness < LEAST_FINENESS
        return self.folded & np.logical_or.outer(coarse, coarse)


def bounded(largest: Floats, rows: float) -> Bools:
    """Whether enough rows decide each pair: at least `LEAST_EXPECTED` are expected in both of two rare categories."""
    bounded: Bools = LEAST_EXPECTED * np.outer(largest, largest) ** 2 <= rows
    return bounded


def columns_of(baseline: Profile, codes: Sequence[FeatureCodes]) -> list[Column]:
    """At most `LARGEST_COLUMNS` columns: the scores of each feature, the most important feature first, then folded
    scores as far as there is room."""
    plain: list[Column] = []
    folded: list[Column] = []
    for i in sorted(range(len(codes)), key=lambda i: -baseline.features[i].importance):
        feature, code = baseline.features[i], codes[i]
        if isinstance(code, NumericCodes):
            scores, weights = (code.below + code.at_most) / 2 - 0.5, code.at_most - code.below
            ranked = len(code.distinct) > 2
            plain.append(_column(i, scores, weights, ranked))
            if ranked:
                folded.append(replace(_column(i, np.abs(scores), weights, ranked), folded=True))
        elif isinstance(feature, CategoricalBaseline):
            plain += _category_columns(i, feature)
        plain = [column for column in plain if column.largest <= LARGEST_SCORE]
        if len(plain) >= LARGEST_COLUMNS:
            break
    return (plain + [column for column in folded if column.largest <= LARGEST_SCORE])[:LARGEST_COLUMNS]


def _category_columns(i: int, feature: CategoricalBaseline) -> list[Column]:
    """One column for each of the commonest categories; one in all for two categories, which mirror each other."""
    categories = len(feature.categories)
    counts = np.bincount(feature.sample[feature.sample != MISSING_CODE], minlength=categories + 1)
    weights = counts / max(counts.sum(), 1)
    chosen = 1 if categories == 2 else min(categories, CATEGORIES)
    return [_column(i, table, weights, ranked=False) for table in np.eye(chosen, categories + 1)]


def _column(feature: int, table: Floats, weights: Floats, ranked: bool) -> Column:
    """The column of scores ``table`` by code, when the sample has these shares ``weights`` of each code."""
    mean = float(table @ weights)
    deviation = float(np.sqrt((table - mean) ** 2 @ weights))
    sizes = np.abs(table - mean)[weights > 0]
    largest = float(sizes.max()) / deviation if deviation > 1e-9 else np.inf
    return Column(feature, table, mean, largest, ranked, folded=False)
