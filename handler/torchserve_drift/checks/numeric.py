"""The checks of numeric features in one window: a pass over the sample feature by feature, the rest for all at once."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from torchserve_drift.baseline.profile import MISSING_CODE, NumericBaseline
from torchserve_drift.checks.evidence import CheckedModel, Evidence, Finding, WindowView
from torchserve_drift.checks.moments import TalliedMoments, shifts_of
from torchserve_drift.stats import kolmogorov, proportions
from torchserve_drift.stats.arrays import Codes, Floats
from torchserve_drift.stats.design_effect import sample_design_effect
from torchserve_drift.stats.ecdf import ks_from_sorted_codes
from torchserve_drift.stats.score_tests import Moments, normal_scores, shift_p
from torchserve_drift.window import fields
from torchserve_drift.window.coding import NumericCodes

KS_SAFETY = 1.25
"""By how much the formula's p-values of KS may be too small: 17 % at 1e-9 for 200 rows against 300, 12 % for 1,000
against 1,000, less elsewhere, as its exact distribution says."""


class NumericChecks:
    """ks, mean, std and range. Features of which the baseline has no value are left out. Thread-safe."""

    def __init__(self, model: CheckedModel) -> None:
        features = enumerate(model.profile.features)
        chosen = [(i, f) for i, f in features if isinstance(f, NumericBaseline) and f.count > 0]
        self._places = np.array([i for i, _ in chosen], dtype=np.intp)
        self._codes = [model.codes[i] for i in self._places]
        self._scores = [_Scores.of(code) for code in self._codes if isinstance(code, NumericCodes)]
        self._score_means = list(np.array([scores.means for scores in self._scores]).T)
        self._counts = np.array([f.count for _, f in chosen])
        self._infinite_is_outside = np.array([f.invalid == 0 for _, f in chosen])
        min_effects = [model.min_effects[i] for i in self._places]
        offsets = np.array(model.layout.offsets)[self._places]
        self._moments = TalliedMoments.of([f for _, f in chosen], min_effects, offsets)
        self._min_effects = min_effects

    def findings(self, window: WindowView) -> Iterator[Finding]:
        """Of each feature with a value in the window."""
        if len(self._places):
            yield from self._distributions(window)
            yield from self._ranges(window)

    def _ranges(self, window: WindowView) -> Iterator[Finding]:
        tally, offsets = window.rows.tally, self._moments.offsets
        design_effects = window.design_effects[self._places]
        # infinities are beyond every range, unless the baseline had some
        infinite = tally[offsets + fields.INFINITE] * self._infinite_is_outside
        valid, outside = tally[offsets + fields.VALID] + infinite, tally[offsets + fields.OUTSIDE] + infinite
        p_values = proportions.beyond_range_p(
            np.floor(outside / design_effects), np.floor(valid / design_effects), self._counts
        )
        shares = outside / np.maximum(valid, 1)
        table = zip(self._places.tolist(), valid, p_values.tolist(), shares.tolist(), self._min_effects)
        for place, count, p_value, share, min_effects in table:
            if count:
                yield Finding(place, "range", Evidence(p_value, share, share, min_effects["range"]))

    def _distributions(self, window: WindowView) -> Iterator[Finding]:
        """ks, mean and std: sizes of the latter from the exact tallies, their significance from ranks, which no
        outlier fools."""
        rows, codes = window.rows, window.rows.codes
        design_effects = sample_design_effect(window.design_effects[self._places], rows.sample_rows / max(rows.rows, 1))
        measured = []
        for place, code, scores in window.paced(zip(self._places, self._codes, self._scores)):
            assert isinstance(code, NumericCodes)
            measured.append(_measure(codes[place], code, scores.table))
        d, baseline_rows, present, *means = np.array(measured).T
        effective = np.where(present > 0, np.maximum(present / design_effects, 1), 0)
        p_ks = kolmogorov.two_sample_p(d, baseline_rows, effective)
        # of a few rows no rank test can be as sure as a formula claims to be
        least = kolmogorov.least_two_sample_p(baseline_rows, effective)
        bounds = np.clip(KS_SAFETY * p_ks, least, 1)
        pairs = zip(_score_moments(effective, means), _score_moments(baseline_rows, self._score_means))
        clustered = design_effects > 1
        p_mean, p_std = (np.maximum(shift_p(now, then, cautious=clustered), least) for now, then in pairs)
        shifts, ratios = shifts_of(rows.tally, self._moments)
        columns = (d, p_ks, bounds, shifts, p_mean, ratios, p_std)
        table = zip(self._places.tolist(), effective > 0, self._min_effects, *(column.tolist() for column in columns))
        for place, has_rows, min_effects, statistic, ks, bound, shift, mean, ratio, std in table:
            if has_rows:
                if not math.isnan(ks):  # NaN: samples of so few rows that the formula has no value
                    yield Finding(place, "ks", Evidence(ks, statistic, statistic, min_effects["ks"], bound))
                yield Finding(place, "mean", Evidence(mean, shift, abs(shift), min_effects["mean"]))
                yield Finding(place, "std", Evidence(std, ratio, abs(ratio), min_effects["std"]))


def _measure(sample: Codes, codes: NumericCodes, table: Floats) -> tuple[float, ...]:
    """D, the rows of both samples, and the window's `_power_means`; NaN where the window has no value."""
    # sorted, so that the look-ups below walk through their tables in order; missing values come last
    ordered = np.sort(sample, kind="stable")
    present = ordered[: ordered.searchsorted(MISSING_CODE)].astype(np.intp)
    if len(present) and present[-1] >= len(table):  # no code of this baseline: somebody else wrote into the pool
        present = np.minimum(present, len(table) - 1)
    if not len(present) or not codes.sample_count:
        return (np.nan, codes.sample_count, 0, *[np.nan] * 5)
    d = ks_from_sorted_codes(present, codes.below, codes.at_most)
    return (d, codes.sample_count, len(present), *_power_means(table.take(present)))


@dataclass(frozen=True, eq=False)
class _Scores:
    """The normal score of each code, and `_power_means` of the baseline's own sample."""

    table: Floats
    means: tuple[float, ...]

    @classmethod
    def of(cls, codes: NumericCodes) -> _Scores:
        if not codes.sample_count:  # values so rare that the sample has none: there is no distribution to compare
            return cls(np.zeros(1), _power_means(np.empty(0)))
        cumulative = np.round(codes.at_most[1::2] * codes.sample_count).astype(np.int64)
        table = normal_scores(cumulative)
        return cls(table, _power_means(np.repeat(table[1::2], np.diff(cumulative, prepend=0))))


def _power_means(z: Floats) -> tuple[float, ...]:
    """The mean of a sample's normal scores (m,), and the means of their second, third, fourth and sixth powers about
    it.

    About the sample's own mean, so that a shift does not pass for a spread, nor hide one.
    """
    count = max(len(z), 1)
    mean = float(z.sum()) / count
    centred = z - mean
    square = centred * centred
    cube = square * centred
    powers = (centred @ centred, square @ centred, square @ square, cube @ cube)
    return (mean, *(float(power) / count for power in powers))


def _score_moments(rows: Floats, means: Sequence[Floats]) -> tuple[Moments, Moments]:
    """Moments of the scores and of their squared deviations, for many features, from `_power_means`."""
    mean, second, third, fourth, sixth = means
    spread = Moments(rows, second, fourth - second**2, sixth - 3 * second * fourth + 2 * second**3)
    return Moments(rows, mean, second, third), spread
