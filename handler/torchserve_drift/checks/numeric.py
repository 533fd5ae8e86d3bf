"""The checks of numeric features in one window: `ks`, `mean`, `std` and `range`.

The sample is read feature by feature. Everything else is computed for all features at once.
"""

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
"""The factor on p-values of KS that keeps them above the exact ones. Compared with the exact distribution, the formula
is too small by 17 % at 1e-9 for 200 rows against 300, by 12 % for 1,000 against 1,000, and by less elsewhere."""


class NumericChecks:
    """The checks ks, mean, std and range, for features that have a value in the baseline. Thread-safe."""

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
        """The evidence on each feature that has a value in the window."""
        if len(self._places):
            yield from self._distributions(window)
            yield from self._ranges(window)

    def _ranges(self, window: WindowView) -> Iterator[Finding]:
        """The findings of `range`, from the exact tallies."""
        tally, offsets = window.rows.tally, self._moments.offsets
        design_effects = window.design_effects[self._places]
        # Infinite values are outside every range. They are no drift if the training data had some too.
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
        """The findings of `ks`, `mean` and `std`.

        The effects of `mean` and `std` come from the exact tallies of all rows. Their p-values come from the ranks of
        the sample, on which outliers have little influence (docs/decisions/0006).
        """
        rows, codes = window.rows, window.rows.codes
        design_effects = sample_design_effect(window.design_effects[self._places], rows.sample_rows / max(rows.rows, 1))
        measured = []
        for place, code, scores in window.paced(zip(self._places, self._codes, self._scores)):
            assert isinstance(code, NumericCodes)
            measured.append(_sample_statistics(codes[place], code, scores.table))
        d, baseline_rows, present, *means = np.array(measured).T
        effective = np.where(present > 0, np.maximum(present / design_effects, 1), 0)
        p_ks = kolmogorov.two_sample_p(d, baseline_rows, effective)
        # A test by ranks cannot have a smaller p-value than this with so few rows, but the formulas below can.
        least = kolmogorov.least_two_sample_p(baseline_rows, effective)
        bounds = np.clip(KS_SAFETY * p_ks, least, 1)
        # First the moments of location, then those of scale; each for the window and for the baseline.
        pairs = zip(_score_moments(effective, means), _score_moments(baseline_rows, self._score_means))
        clustered = design_effects > 1
        p_mean, p_std = (np.maximum(shift_p(now, then, cautious=clustered), least) for now, then in pairs)
        mean_shifts, std_shifts = shifts_of(rows.tally, self._moments)
        columns = (d, p_ks, bounds, mean_shifts, p_mean, std_shifts, p_std)
        table = zip(self._places.tolist(), effective > 0, self._min_effects, *(column.tolist() for column in columns))
        for place, has_rows, min_effects, statistic, ks, bound, mean_shift, mean, std_shift, std in table:
            if has_rows:
                if not math.isnan(ks):  # with very few rows the formula has no value
                    yield Finding(place, "ks", Evidence(ks, statistic, statistic, min_effects["ks"], bound))
                yield Finding(place, "mean", Evidence(mean, mean_shift, abs(mean_shift), min_effects["mean"]))
                yield Finding(place, "std", Evidence(std, std_shift, abs(std_shift), min_effects["std"]))


def _sample_statistics(sample: Codes, codes: NumericCodes, table: Floats) -> tuple[float, ...]:
    """The KS statistic D, the rows of the baseline's and the window's sample, and the window's `_power_means`.

    ``sample`` (m,) holds the window's codes of one feature, and ``table`` the normal score of each code. The statistics
    are NaN where one of the samples has no value.
    """
    # Sorted, so that the look-ups below read their tables in order, which is faster. Missing values come last.
    ordered = np.sort(sample, kind="stable")
    present = ordered[: ordered.searchsorted(MISSING_CODE)].astype(np.intp)
    if len(present) and present[-1] >= len(table):  # no such code exists: another program wrote into the shared memory
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
        if not codes.sample_count:  # values are so rare that the sample has none: there is nothing to compare with
            return cls(np.zeros(1), _power_means(np.empty(0)))
        # Odd codes are the distinct values of the sample. Their shares of rows become whole numbers of rows again.
        cumulative = np.round(codes.at_most[1::2] * codes.sample_count).astype(np.int64)
        table = normal_scores(cumulative)
        return cls(table, _power_means(np.repeat(table[1::2], np.diff(cumulative, prepend=0))))


def _power_means(z: Floats) -> tuple[float, ...]:
    """The mean of a sample's normal scores (m,), then their second, third, fourth and sixth central moments.

    The moments are about the sample's own mean. About the baseline's mean, a shift would look like a wider spread, and
    could hide a narrower one.
    """
    count = max(len(z), 1)
    mean = float(z.sum()) / count
    centred = z - mean
    square = centred * centred
    cube = square * centred
    powers = (centred @ centred, square @ centred, square @ square, cube @ cube)
    return (mean, *(float(power) / count for power in powers))


def _score_moments(rows: Floats, means: Sequence[Floats]) -> tuple[Moments, Moments]:
    """The moments for the tests of location and of scale, from the `_power_means` of many features.

    The test of location compares the scores, the test of scale their squared deviations from the mean.
    """
    mean, second, third, fourth, sixth = means
    # The central moments of squared deviations, from the moments of the deviations themselves.
    spread = Moments(rows, second, fourth - second**2, sixth - 3 * second * fourth + 2 * second**3)
    return Moments(rows, mean, second, third), spread
