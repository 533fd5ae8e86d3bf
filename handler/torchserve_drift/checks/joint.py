"""The joint distribution in one window: which two features go together otherwise than they did in the training data."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Callable, NamedTuple, Optional

import numpy as np
import numpy.typing as npt

from torchserve_drift.baseline.profile import MISSING_CODE, CategoricalBaseline, FeatureBaseline, Profile
from torchserve_drift.stats.arrays import Codes, Floats
from torchserve_drift.stats.association import Association, association, change, correlations, own_rank_scores
from torchserve_drift.window.coding import FeatureCodes, NumericCodes

LARGEST_COLUMNS = 128
CATEGORIES = 8
"""Most columns of one categorical feature."""

LARGEST_SCORE = 7.0
"""In standard deviations: that of a category of 2 % of the rows."""

LEAST_EXPECTED = 5
LEAST_FINENESS = 0.98
"""A third of the rows of one value: 0.98 of the standard deviation of ranks without ties."""

LEAST_ROWS = 100

_BLOCK = 1024


class JointEvidence(NamedTuple):
    """``p_value`` that no pair of features goes together otherwise than before; of the ``pair`` that differs most
    surely, ``statistic`` the change of its correlation and ``effect`` the size of that, at most 1."""

    p_value: float
    statistic: float
    effect: float
    pair: tuple[str, str]


@dataclass(frozen=True, eq=False)
class _Column:
    """Scores of one feature: ``table`` (codes,) in the baseline, ``missing`` for no value, ``largest`` in standard
    deviations; of ranks or of one category, where two values are two categories; folded: the size of a rank score."""

    feature: int
    table: Floats
    missing: float
    largest: float
    ranked: bool
    folded: bool


@dataclass(frozen=True, eq=False)
class _Sample:
    """The associations in a sample: ``fixed`` of scores in the baseline, ``own`` (d, d) of scores in the sample itself,
    the standard deviations (d,) that make correlations into slopes, and those of the scores before they were folded."""

    fixed: Association
    own: Floats
    spread: Floats
    fineness: Floats


class JointCheck:
    """The pairwise associations of one baseline, held against those of windows. Thread-safe.

    Of the ``sample`` of each feature row r is one row of the training data.
    """

    def __init__(self, baseline: Profile, codes: Sequence[FeatureCodes]) -> None:
        self._baseline, self._codes = baseline, codes
        self._columns = _columns(baseline, codes)
        self._features = np.array([column.feature for column in self._columns], dtype=np.intp)
        self._pairs = _Pairs.of(self._columns)
        self._before: Optional[_Sample] = None

    def evidence(
        self, codes: Codes, pause: Callable[[], None], design_effect: float = 1.0, limit: float = 0.0
    ) -> Optional[JointEvidence]:
        """What the window's sample of whole rows (F, m) shows; nothing with too few rows, or features that vary.

        ``design_effect`` >= 1: rows for each one that is as good as independent. ``pause`` is called every few
        milliseconds, for a background thread to let requests through. The pair that differs most surely is chosen among
        those whose correlation changed by ``limit`` or more, if any did: a small change must not hide a large one.
        """
        rows = codes.shape[1] / design_effect
        fewest = min(rows, self._baseline.sample_rows)
        pairs = self._pairs.of_bounded_products(fewest)
        if fewest < LEAST_ROWS or not pairs.any():
            return None
        before, after = self._known(pause), self._measured(list(codes[self._features]), pause)
        own = np.where(self._pairs.too_coarse(after.fineness / before.fineness), np.nan, after.own)
        others = [(before.own, own), (before.own, _slopes(after, before))]
        found = change(replace(after.fixed, rows=rows), before.fixed, others, pairs)
        pause()
        large = np.abs(found.r) >= limit
        best = int((np.where(large, found.p_value, np.inf) if large.any() else found.p_value).argmin())
        one, other = sorted(self._features[i[best]] for i in np.nonzero(pairs))
        features = self._baseline.features
        statistic = float(found.r[best])
        p_value = min(float(found.p_value[best]) * len(found.p_value), 1.0)
        return JointEvidence(p_value, statistic, min(abs(statistic), 1.0), (features[one].name, features[other].name))

    def _known(self, pause: Callable[[], None]) -> _Sample:
        """The baseline's associations: measured when first needed, since that takes longer than a model may load."""
        if self._before is None:
            by_feature = {
                i: sample_codes(self._baseline.features[i], self._codes[i]) for i in set(self._features.tolist())
            }
            self._before = self._measured([by_feature[i] for i in self._features.tolist()], pause)
        return self._before

    def _measured(self, codes: Sequence[Codes], pause: Callable[[], None]) -> _Sample:
        """The associations in m rows, given as the codes (m,) of each column's feature."""
        rows, shape = len(codes[0]), (len(codes), len(codes[0]))
        fixed, own, present = np.empty(shape), np.empty(shape), np.empty(shape, dtype=bool)
        largest, spread, fineness = np.empty((3, shape[0]))
        for i, (column, row) in enumerate(zip(self._columns, codes)):
            known = np.not_equal(row, MISSING_CODE, out=present[i])
            scores = column.table.take(row, mode="clip")
            fixed[i], _ = _standardised(np.where(known, scores, column.missing))
            if column.ranked:
                scores = own_rank_scores(np.bincount(row[known], minlength=len(column.table))).take(row, mode="clip")
            own[i], fineness[i] = _standardised(scores, known)
            spread[i] = fineness[i]
            if column.folded:
                own[i], spread[i] = _standardised(np.abs(scores), known)
            largest[i] = np.abs(own[i]).max()
            pause()
        spans = [slice(start, start + _BLOCK) for start in range(0, rows, _BLOCK)]
        found = association(_blocks(fixed, spans, pause), rows)
        complete = bool(present.all())
        blocks = None if complete else (present[:, span].astype(np.float64) for span in spans)
        r = correlations(_blocks(own, spans, pause), blocks)
        r[~_bounded(largest, rows) | (largest == 0) | (largest == 0)[:, None]] = np.nan
        return _Sample(found, r, spread, fineness)


def _blocks(columns: Floats, spans: Sequence[slice], pause: Callable[[], None]) -> Iterator[Floats]:
    for span in spans:
        yield columns[:, span]
        pause()


@dataclass(frozen=True, eq=False)
class _Pairs:
    """Which columns (d, d) are of two features and can be held against each other, and their largest scores (d,)."""

    different: npt.NDArray[np.bool_]
    folded: npt.NDArray[np.bool_]
    largest: Floats

    @classmethod
    def of(cls, columns: Sequence[_Column]) -> _Pairs:
        feature, ranked, folded = (
            np.array([getattr(column, name) for column in columns]) for name in ("feature", "ranked", "folded")
        )
        different = np.triu(feature[:, None] != feature)
        # what a category has to do with spreads changes with its share alone
        category = np.logical_not(ranked)
        different &= ~(np.logical_and.outer(category, folded) | np.logical_and.outer(folded, category))
        return cls(different, np.logical_or.outer(folded, folded), np.array([column.largest for column in columns]))

    def of_bounded_products(self, rows: float) -> npt.NDArray[np.bool_]:
        return self.different & _bounded(self.largest, rows)

    def too_coarse(self, fineness: Floats) -> npt.NDArray[np.bool_]:
        """Pairs with folded scores where many of the window's values of either have become one, which folds them
        elsewhere; ``fineness`` (d,) of the window's ranks relative to the baseline's."""
        coarse = fineness < LEAST_FINENESS
        return self.folded & np.logical_or.outer(coarse, coarse)


def _bounded(largest: Floats, rows: float) -> npt.NDArray[np.bool_]:
    """Whether no few rows decide: of two rare categories, at least `LEAST_EXPECTED` rows in both are to be expected."""
    bounded: npt.NDArray[np.bool_] = LEAST_EXPECTED * np.outer(largest, largest) ** 2 <= rows
    return bounded


def _standardised(x: Floats, present: Optional[npt.NDArray[np.bool_]] = None) -> tuple[Floats, float]:
    """``x`` (m,) with mean 0 and variance 1 over what is present, and 0 elsewhere or where it does not vary; and the
    standard deviation that it had."""
    known = present is None or bool(present.all())
    values = x if present is None or known else x[present]
    rows = max(len(values), 1)
    mean = float(values.sum()) / rows
    centred = values - mean
    deviation = float(np.sqrt(centred @ centred / rows))
    scores = np.zeros(len(x))
    if deviation > 1e-9:
        scores[... if known else present] = centred / deviation
    return scores, deviation


def _slopes(window: _Sample, baseline: _Sample) -> Floats:
    """The window's correlations as they would be with the spreads of the baseline and the same effect of one feature on
    the other: no smaller where most rows have come to be of one category, or one value."""
    ratio = baseline.spread / np.maximum(window.spread, 1e-9)
    return np.clip(window.own * np.outer(ratio, ratio), -1, 1)


def _columns(baseline: Profile, codes: Sequence[FeatureCodes]) -> list[_Column]:
    """At most `LARGEST_COLUMNS`: of each feature its scores, the most important first; then, as far as there is room,
    their folded scores."""
    plain: list[_Column] = []
    folded: list[_Column] = []
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


def _category_columns(i: int, feature: CategoricalBaseline) -> list[_Column]:
    """One column for each of the commonest categories, one in all where there are two: these mirror each other."""
    categories = len(feature.categories)
    counts = np.bincount(feature.sample[feature.sample != MISSING_CODE], minlength=categories + 1)
    weights = counts / max(counts.sum(), 1)
    chosen = 1 if categories == 2 else min(categories, CATEGORIES)
    return [_column(i, table, weights, ranked=False) for table in np.eye(chosen, categories + 1)]


def _column(feature: int, table: Floats, weights: Floats, ranked: bool) -> _Column:
    """The column of scores ``table`` by code, when the sample has these shares ``weights`` of each code."""
    mean = float(table @ weights)
    deviation = float(np.sqrt((table - mean) ** 2 @ weights))
    sizes = np.abs(table - mean)[weights > 0]
    largest = float(sizes.max()) / deviation if deviation > 1e-9 else np.inf
    return _Column(feature, table, mean, largest, ranked, folded=False)


def sample_codes(feature: FeatureBaseline, code: FeatureCodes) -> Codes:
    """The rows (m,) of a feature's sample."""
    if isinstance(feature, CategoricalBaseline):
        return feature.sample
    return code.encode(feature.sample)
