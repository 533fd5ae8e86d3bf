"""The checks of numeric features in one window: a pass over the sample feature by feature, the rest for all at once."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Callable

import numpy as np
import numpy.typing as npt

from torchserve_drift.baseline.profile import MISSING_CODE, FeatureBaseline, NumericBaseline
from torchserve_drift.checks.evidence import Evidence
from torchserve_drift.settings.settings import Thresholds
from torchserve_drift.stats import kolmogorov, proportions
from torchserve_drift.stats.arrays import Floats
from torchserve_drift.stats.design_effect import sample_design_effect
from torchserve_drift.stats.ecdf import ks_from_sorted_codes
from torchserve_drift.stats.score_tests import Moments, normal_scores, shift_p
from torchserve_drift.window import fields
from torchserve_drift.window.coding import FeatureCodes, NumericCodes
from torchserve_drift.window.layout import Layout
from torchserve_drift.window.merge import WindowRows
from torchserve_drift.window.tally import scale_of

KS_SAFETY = 1.25
"""By how much the formula's p-values of KS may be too small: 17 % at 1e-9 for 200 rows against 300, 12 % for 1,000
against 1,000, less elsewhere, as its exact distribution says."""

_Found = dict[int, dict[str, Evidence]]


@dataclass(frozen=True, eq=False)
class Limits:
    """Of some numeric features: where their tallies lie, in what unit, and how far mean and std may shift; (F,) each.

    ``mean`` in standard deviations of the baseline, ``std`` as a share of it.
    """

    offsets: npt.NDArray[np.intp]
    scales: Floats
    stds: Floats
    mean: Floats
    std: Floats

    @classmethod
    def of(cls, features: Sequence[NumericBaseline], limits: Sequence[Thresholds], offsets: npt.NDArray[Any]) -> Limits:
        mean = [(limit.mean_shift or 0.0) / scale_of(f)[1] for f, limit in zip(features, limits)]
        scales = np.array([scale_of(f)[1] for f in features])
        stds = np.array([f.std for f in features])
        return cls(offsets, scales, stds, np.array(mean), np.array([limit.std_shift for limit in limits]))


def shifts_of(tally: Floats, limits: Limits) -> tuple[Floats, Floats]:
    """Shifts of the mean in the baseline's standard deviations, and ratios of standard deviations less 1.

    Of one tally vector (length,), or of (..., length): (..., F) each.
    """
    count = np.maximum(tally[..., limits.offsets + fields.VALID], 1)
    shift = tally[..., limits.offsets + fields.SUM] / count
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        squares = tally[..., limits.offsets + fields.SUM_SQUARES] - count * shift * shift
        std = limits.scales * np.sqrt(np.maximum(squares, 0) / np.maximum(count - 1, 1))
        ratio = np.where(limits.stds > 0, std / limits.stds - 1, np.where(std > 0, np.inf, 0.0))
    return shift, ratio


def baseline_bins(feature: NumericBaseline) -> npt.NDArray[np.int64]:
    """The baseline's rows (E + 1,) in each bin that is counted in production; none lies above the last edge."""
    return np.diff(feature.edge_counts, prepend=0, append=feature.count)


class NumericChecks:
    """ks, mean, std and range. Features of which the baseline has no value are left out. Thread-safe."""

    def __init__(
        self,
        features: Sequence[FeatureBaseline],
        limits: Sequence[Thresholds],
        gates: Sequence[float],
        layout: Layout,
        codes: Sequence[FeatureCodes],
    ) -> None:
        chosen = [(i, f) for i, f in enumerate(features) if isinstance(f, NumericBaseline) and f.count > 0]
        self._places = np.array([i for i, _ in chosen], dtype=np.intp)
        self._codes = [codes[i] for i in self._places]
        self._scores = [_Scores.of(code) for code in self._codes if isinstance(code, NumericCodes)]
        self._score_means = list(np.array([scores.means for scores in self._scores]).T)
        self._counts = np.array([f.count for _, f in chosen])
        self._infinite_is_outside = np.array([f.invalid == 0 for _, f in chosen])
        offsets = np.array(layout.offsets)[self._places]
        self._limits = Limits.of([f for _, f in chosen], [limits[i] for i in self._places], offsets)
        self._gates = [gates[i] for i in self._places]
        self._range_limits = [limits[i].range_ratio for i in self._places]

    def evidence(self, window: WindowRows, design_effects: Floats, pause: Callable[[], None]) -> _Found:
        """The checks of each feature with a value in the window, by its place in the baseline.

        ``design_effects`` (F,) of all features: so many rows stand for one that is independent of all others.
        """
        if not len(self._places):
            return {}
        found: _Found = {int(place): {} for place in self._places}
        effects = design_effects[self._places]
        of_sample = sample_design_effect(effects, window.sample_rows / max(window.rows, 1))
        self._add_distributions(found, window, of_sample, pause)
        tally, offsets = window.tally, self._limits.offsets
        # infinities are beyond every range, unless the baseline had some
        infinite = tally[offsets + fields.INFINITE] * self._infinite_is_outside
        valid, outside = tally[offsets + fields.VALID] + infinite, tally[offsets + fields.OUTSIDE] + infinite
        p_values = proportions.beyond_range_p(np.floor(outside / effects), np.floor(valid / effects), self._counts)
        shares = outside / np.maximum(valid, 1)
        columns = (p_values.tolist(), shares.tolist(), self._range_limits)
        for place, count, p_value, share, limit in zip(self._places.tolist(), valid, *columns):
            if count:
                found[place]["range"] = Evidence(p_value, share, share, limit)
        return found

    def _add_distributions(self, found: _Found, window: WindowRows, effects: Floats, pause: Callable[[], None]) -> None:
        """ks, mean and std: sizes of the latter from the exact tallies, their significance from ranks, which no
        outlier fools."""
        measured = []
        for place, code, scores in zip(self._places, self._codes, self._scores):
            assert isinstance(code, NumericCodes)
            measured.append(_measure(window.codes[place], code, scores.table))
            pause()
        d, n, rows, *means = np.array(measured).T
        m = np.where(rows > 0, np.maximum(rows / effects, 1), 0)
        p_ks = kolmogorov.two_sample_p(d, n, m)
        # of a few rows no rank test can be as sure as a formula claims to be
        least = kolmogorov.least_two_sample_p(n, m)
        bounds = np.clip(KS_SAFETY * p_ks, least, 1)
        pairs = zip(_score_moments(m, means), _score_moments(n, self._score_means))
        p_mean, p_std = (np.maximum(shift_p(now, then, cautious=effects > 1), least) for now, then in pairs)
        shifts, ratios = shifts_of(window.tally, self._limits)
        columns = (d, p_ks, bounds, shifts, p_mean, ratios, p_std, self._limits.mean, self._limits.std)
        table = zip(self._places.tolist(), m > 0, self._gates, *(column.tolist() for column in columns))
        for place, present, gate, statistic, ks, bound, shift, mean, ratio, std, mean_limit, std_limit in table:
            if present:
                if not math.isnan(ks):  # NaN: samples of so few rows that the formula has no value
                    found[place]["ks"] = Evidence(ks, statistic, statistic, gate, bound)
                found[place]["mean"] = Evidence(mean, shift, abs(shift), mean_limit)
                found[place]["std"] = Evidence(std, ratio, abs(ratio), std_limit)


def _measure(sample: npt.NDArray[np.uint16], codes: NumericCodes, table: Floats) -> tuple[float, ...]:
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
