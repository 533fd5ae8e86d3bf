"""The check `joint`: which two features are associated differently than in the training data."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Optional

import numpy as np

from torchserve_drift.baseline.profile import MISSING_CODE, CategoricalBaseline, FeatureBaseline, Profile
from torchserve_drift.checks.evidence import CheckedModel, Evidence, Finding, WindowView
from torchserve_drift.checks.joint_columns import Pairs, bounded, columns_of
from torchserve_drift.stats.arrays import Bools, Codes, Floats
from torchserve_drift.stats.association import Association, association, change, correlations, own_rank_scores
from torchserve_drift.window.coding import FeatureCodes
from torchserve_drift.window.pacing import NO_PAUSE, Pace

LEAST_ROWS = 100

_BLOCK = 1024
"""Rows of a product of matrices: a larger one would keep the interpreter for milliseconds."""


@dataclass(frozen=True, eq=False)
class _Sample:
    """The associations in a sample of rows.

    ``fixed``: of the scores that values have in the baseline; ``own`` (d, d): correlations of scores in the sample
    itself; ``spread`` (d,): standard deviations that make correlations into slopes; ``fineness`` (d,): those of the
    scores before they were folded.
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
        """One finding, where the joint distribution is looked at this time and there are enough rows."""
        if window.jointly:
            design_effect = window.sample_design_effect
            found = self._associations.compared(window.rows.codes, design_effect, self._min_effect, window.paced)
            if found is not None:
                yield Finding(self._place, "joint", found)


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
        """What a window's sample of whole rows (F, m) shows; ``None`` with too few rows or no features that vary.

        ``design_effect`` >= 1: so many rows stand for one independent row. The pair that differs most surely is
        reported, among those whose correlation changed by ``min_effect`` or more if any did: a small change must not
        hide a large one. The p-value is that of no change in any pair; ``statistic`` is the change of the pair's
        correlation, ``effect`` its size, at most 1.
        """
        rows = codes.shape[1] / design_effect
        fewest = min(rows, self._profile.sample_rows)
        pairs = self._pairs.of_bounded_products(fewest)
        if fewest < LEAST_ROWS or not pairs.any():
            return None
        before, after = self._in_baseline(paced), self._measured(list(codes[self._features]), paced)
        # three measures must agree: scores as they are in the baseline, scores within each sample, and slopes
        own = np.where(self._pairs.too_coarse(after.fineness / before.fineness), np.nan, after.own)
        others = [(before.own, own), (before.own, _slopes(after, before))]
        found = change(replace(after.fixed, rows=rows), before.fixed, others, pairs)
        large = np.abs(found.r) >= min_effect
        best = int((np.where(large, found.p_value, np.inf) if large.any() else found.p_value).argmin())
        one, other = sorted(self._features[i[best]] for i in np.nonzero(pairs))
        names = (self._profile.features[one].name, self._profile.features[other].name)
        statistic = float(found.r[best])
        p_value = min(float(found.p_value[best]) * len(found.p_value), 1.0)
        return Evidence(p_value, statistic, min(abs(statistic), 1.0), min_effect, pair=names)

    def _in_baseline(self, paced: Pace) -> _Sample:
        """The baseline's associations: measured when first needed, since that takes longer than a model may load."""
        if self._baseline is None:
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
            fixed[i], _ = _standardised(np.where(known, scores, column.missing))
            if column.ranked:
                scores = own_rank_scores(np.bincount(row[known], minlength=len(column.table))).take(row, mode="clip")
            own[i], fineness[i] = _standardised(scores, known)
            spread[i] = fineness[i]
            if column.folded:
                own[i], spread[i] = _standardised(np.abs(scores), known)
            largest[i] = np.abs(own[i]).max()
        spans = [slice(start, start + _BLOCK) for start in range(0, rows, _BLOCK)]
        found = association((fixed[:, span] for span in paced(spans)), rows)
        complete = bool(present.all())
        blocks = None if complete else (present[:, span].astype(np.float64) for span in spans)
        r = correlations((own[:, span] for span in paced(spans)), blocks)
        r[~bounded(largest, rows) | (largest == 0) | (largest == 0)[:, None]] = np.nan
        return _Sample(found, r, spread, fineness)


def _standardised(x: Floats, present: Optional[Bools] = None) -> tuple[Floats, float]:
    """``x`` (m,) made to have mean 0 and variance 1 over what is present, and its standard deviation before.

    0 where it is not present, and everywhere if it does not vary.
    """
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
    """The window's correlations as they would be with the spreads of the baseline and the same slopes.

    A correlation falls where most rows have one category or one value, though one feature's effect on the other is
    unchanged; this measure does not.
    """
    ratio = baseline.spread / np.maximum(window.spread, 1e-9)
    return np.clip(window.own * np.outer(ratio, ratio), -1, 1)


def sample_codes(feature: FeatureBaseline, code: FeatureCodes) -> Codes:
    """The rows (m,) of a feature's sample."""
    if isinstance(feature, CategoricalBaseline):
        return feature.sample
    return code.encode(feature.sample)
