"""The check `joint`: whether two features are associated differently than in the training data, and which two.

For every pair of columns (see `joint_columns`) it compares the correlations of window and baseline, by three measures
that must agree. docs/decisions/0016 says what each measure is for.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Optional

import numpy as np

from torchserve_drift.baseline.profile import MISSING_CODE, CategoricalBaseline, FeatureBaseline, Profile
from torchserve_drift.checks.evidence import CheckedModel, Evidence, Finding, WindowView
from torchserve_drift.checks.joint_columns import Pairs, columns_of, has_enough_rows
from torchserve_drift.stats.arrays import Bools, Codes, Floats
from torchserve_drift.stats.association import Association, association, change, correlations, own_rank_scores
from torchserve_drift.window.coding import FeatureCodes
from torchserve_drift.window.pacing import NO_PAUSE, Pace

FEWEST_ROWS = 100
"""The smallest number of independent rows of a sample that is compared."""

_BLOCK_ROWS = 1024
"""Rows in each product of matrices. A larger product would let no request through for milliseconds."""

_LEAST_DEVIATION = 1e-9
"""A column with a smaller standard deviation counts as constant: the rest is a rounding error."""


@dataclass(frozen=True, eq=False)
class _Sample:
    """The associations of d columns in a sample of rows.

    Attributes
    ----------
    fixed
        The associations of fixed scores: each value has the score that it has in the baseline.
    own
        (d, d) correlations of the sample's own scores: each value has the score of its rank in this sample. NaN where
        too few rows decide.
    spread
        (d,) standard deviations of the own scores, by which correlations become slopes.
    fineness
        (d,) standard deviations of the own scores before they were folded; ties make them smaller.
    """

    fixed: Association
    own: Floats
    spread: Floats
    fineness: Floats


class JointCheck:
    """The check `joint` of one model. Thread-safe."""

    def __init__(self, model: CheckedModel) -> None:
        self._associations = PairwiseAssociations(model.profile, model.codes)
        self._place = len(model.profile.features)
        self._min_effect = model.min_effects[self._place]["joint"]

    def findings(self, window: WindowView) -> Iterator[Finding]:
        """One finding, if the joint distribution is checked this time and there are enough rows."""
        if window.jointly:
            design_effect = window.sample_design_effect
            evidence = self._associations.compared(window.rows.codes, design_effect, self._min_effect, window.paced)
            if evidence is not None:
                yield Finding(self._place, "joint", evidence)


class PairwiseAssociations:
    """The associations of all pairs of features in one baseline, compared with those of windows. Thread-safe.

    Row r of the ``sample`` of every feature is the same row of the training data.
    """

    def __init__(self, profile: Profile, codes: Sequence[FeatureCodes]) -> None:
        self._profile, self._codes = profile, codes
        self._columns = columns_of(profile, codes)
        self._features = np.array([column.feature for column in self._columns], dtype=np.intp)
        self._pairs = Pairs.of(self._columns)
        self._baseline: Optional[_Sample] = None

    def compared(
        self, codes: Codes, design_effect: float = 1.0, min_effect: float = 0.0, paced: Pace = NO_PAUSE
    ) -> Optional[Evidence]:
        """The pair of features whose association changed most clearly.

        It is the pair with the smallest p-value among those whose correlation changed by ``min_effect`` or more, or
        among all pairs if there are none: a small but certain change must not hide a large one.

        Parameters
        ----------
        codes
            (F, m) the window's sample of whole rows.
        design_effect
            The number of rows of the sample, at least 1, that are worth one independent row.
        min_effect
            The minimum effect of a change, in [0, 1].

        Returns
        -------
        evidence
            ``p_value`` is that of no change in any pair (Bonferroni's correction), ``statistic`` the change of the
            pair's correlation, in [-2, 2], ``effect`` its size, cut off at 1. ``None`` if there are fewer than
            `FEWEST_ROWS` independent rows, or no pair that can be compared.
        """
        rows = codes.shape[1] / design_effect
        smaller = min(rows, self._profile.sample_rows)
        pairs = self._pairs.with_enough_rows(smaller)
        if smaller < FEWEST_ROWS or not pairs.any():
            return None
        before, after = self._baseline_sample(paced), self._measured(list(codes[self._features]), paced)
        # Three measures must agree: correlations of fixed scores, whose error is known and sets the level; correlations
        # of own scores, which stay the same when one feature drifts by itself; and slopes, which stay much the same
        # when the share of a category changes.
        own = np.where(self._pairs.too_coarse(after.fineness / before.fineness), np.nan, after.own)
        others = [(before.own, own), (before.own, _slopes(after, before))]
        found = change(replace(after.fixed, rows=rows), before.fixed, others, pairs)
        large = np.abs(found.r) >= min_effect
        clearest = int((np.where(large, found.p_value, np.inf) if large.any() else found.p_value).argmin())
        # `change` has one element for each True of `pairs`, in the order of np.nonzero.
        one, other = sorted(self._features[i[clearest]] for i in np.nonzero(pairs))
        names = (self._profile.features[one].name, self._profile.features[other].name)
        statistic = float(found.r[clearest])
        p_value = min(float(found.p_value[clearest]) * len(found.p_value), 1.0)
        return Evidence(p_value, statistic, min(abs(statistic), 1.0), min_effect, pair=names)

    def _baseline_sample(self, paced: Pace) -> _Sample:
        """The associations in the baseline's sample. They are measured on first use, so that models load quickly."""
        if self._baseline is None:
            # a feature can have several columns, and is encoded once
            by_feature = {
                i: sample_codes(self._profile.features[i], self._codes[i]) for i in set(self._features.tolist())
            }
            self._baseline = self._measured([by_feature[i] for i in self._features.tolist()], paced)
        return self._baseline

    def _measured(self, codes: Sequence[Codes], paced: Pace) -> _Sample:
        """The associations in m rows, given as the codes (m,) of each column's feature."""
        rows, shape = len(codes[0]), (len(codes), len(codes[0]))
        fixed, own, present = np.empty(shape), np.empty(shape), np.empty(shape, dtype=bool)
        largest, spread, fineness = np.empty((3, shape[0]))
        for i, (column, row) in enumerate(paced(zip(self._columns, codes))):
            known = np.not_equal(row, MISSING_CODE, out=present[i])
            scores = column.table.take(row, mode="clip")
            # Fixed scores: a missing value counts as the mean, so that all pairs have all rows.
            fixed[i], _ = _standardised(np.where(known, scores, column.missing))
            # Own scores: a missing value does not count at all.
            if column.ranked:
                scores = own_rank_scores(np.bincount(row[known], minlength=len(column.table))).take(row, mode="clip")
            own[i], fineness[i] = _standardised(scores, known)
            spread[i] = fineness[i]
            if column.folded:
                own[i], spread[i] = _standardised(np.abs(scores), known)
            largest[i] = np.abs(own[i]).max()
        blocks = [slice(start, start + _BLOCK_ROWS) for start in range(0, rows, _BLOCK_ROWS)]
        of_fixed = association((fixed[:, block] for block in paced(blocks)), rows)
        complete = bool(present.all())
        present_blocks = None if complete else (present[:, block].astype(np.float64) for block in blocks)
        r = correlations((own[:, block] for block in paced(blocks)), present_blocks)
        # Unknown where too few rows decide, and for columns that do not vary.
        r[~has_enough_rows(largest, rows) | (largest == 0) | (largest == 0)[:, None]] = np.nan
        return _Sample(of_fixed, r, spread, fineness)


def _standardised(x: Floats, present: Optional[Bools] = None) -> tuple[Floats, float]:
    """Scores (m,) scaled to mean 0 and variance 1, and their standard deviation before.

    Only scores that are ``present`` count, by default all; the others become 0. All become 0 if they do not vary.
    """
    complete = present is None or bool(present.all())
    values = x if present is None or complete else x[present]
    rows = max(len(values), 1)
    mean = float(values.sum()) / rows
    centred = values - mean
    deviation = float(np.sqrt(centred @ centred / rows))
    scores = np.zeros(len(x))
    if deviation > _LEAST_DEVIATION:
        scores[... if complete else present] = centred / deviation
    return scores, deviation


def _slopes(window: _Sample, baseline: _Sample) -> Floats:
    """The correlations (d, d) that the window would have with the baseline's spreads and its own slopes.

    Where most rows have one category or one value, the correlation of two features falls although the slope of one on
    the other is unchanged. This measure does not fall there.
    """
    ratio = baseline.spread / np.maximum(window.spread, _LEAST_DEVIATION)
    return np.clip(window.own * np.outer(ratio, ratio), -1, 1)


def sample_codes(feature: FeatureBaseline, code: FeatureCodes) -> Codes:
    """The codes (m,) of a feature's values in the baseline's sample."""
    if isinstance(feature, CategoricalBaseline):
        return feature.sample
    return code.encode(feature.sample)
