"""The statistics that other tools use for their verdicts, computed for many windows at once.

`real_tools` compares them with the tools themselves. A *reference* is a training column, which may have millions of
rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
from scipy.special import chdtrc, rel_entr

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

_WINDOWS_AT_ONCE = 24


@dataclass(frozen=True, eq=False)
class NumericReference:
    """A numeric training column without ties, sorted."""

    values: Floats

    @classmethod
    def of(cls, column: Floats) -> NumericReference:
        return cls(np.sort(column))

    @cached_property
    def std(self) -> float:
        return float(self.values.std())

    @cached_property
    def _sums(self) -> Floats:
        return np.concatenate([[0.0], np.cumsum(self.values)])

    @cached_property
    def bins(self) -> Floats:
        """The edges of NannyML's bins: of equal width, their number by Doane's rule."""
        return np.histogram_bin_edges(self.values, bins="doane")

    @cached_property
    def bin_shares(self) -> Floats:
        """Shares of the reference in `bins`, and 0 for the values outside of them."""
        return np.append(np.histogram(self.values, self.bins)[0] / len(self.values), 0.0)

    def bin_of(self, values: Floats) -> Integers:
        """The index of each value's bin; the number of bins if the value is outside of all."""
        last = len(self.bins) - 1
        place = self.bins.searchsorted(values, "right") - 1
        place[values == self.bins[-1]] = last - 1
        return np.where((place < 0) | (place >= last), last, place)

    def distances(self, values: Floats, window: int, step: int) -> tuple[Floats, Floats]:
        """Kolmogorov-Smirnov's D and Wasserstein's distance / std, for windows of ``window`` values every ``step``."""
        n, m = len(self.values), window
        rank = self.values.searchsorted(values).astype(np.float64)
        # the integral of the reference's distribution function up to each value, times n
        area = rank * values - self._sums[rank.astype(np.intp)]
        levels = np.arange(1, m) / m
        quantile = np.ceil(levels * n).astype(np.intp) - 1
        at_quantile = self.values[quantile]
        quantile_area = quantile * at_quantile - self._sums[quantile]
        found = [
            self._of_sorted(*parts, levels, at_quantile, quantile_area)
            for parts in _sorted(values, rank, area, m, step)
        ]
        d, w = (np.concatenate(parts) for parts in zip(*found, strict=True))
        return d, w / max(self.std, 0.001)

    def _of_sorted(  # noqa: PLR0917 - three views of one window, three of the reference
        self, x: Floats, rank: Floats, area: Floats, levels: Floats, at_quantile: Floats, quantile_area: Floats
    ) -> tuple[Floats, Floats]:
        n, m = len(self.values), x.shape[1]
        share, area = rank / n, area / n
        d = np.maximum((np.arange(1, m + 1) / m - share).max(axis=1), (share - np.arange(m) / m).max(axis=1))
        low, high = x[:, :-1], x[:, 1:]
        # between two neighbours the window's function is flat at `levels`; the reference's crosses it at the quantile
        cross = np.clip(at_quantile, low, high)
        cross_area = np.where(
            cross == at_quantile, quantile_area / n, np.where(cross == low, area[:, :-1], area[:, 1:])
        )
        below = levels * (cross - low) - (cross_area - area[:, :-1])
        above = (area[:, 1:] - cross_area) - levels * (high - cross)
        inside = (below + above).sum(axis=1)
        left = area[:, 0]
        right = (self.values[-1] - x[:, -1]) - (self._whole_area - area[:, -1])
        return d, inside + left + np.maximum(right, 0)

    @cached_property
    def _whole_area(self) -> float:
        return float(self.values[-1] - self._sums[-1] / len(self.values))


def _sorted(values: Floats, rank: Floats, area: Floats, m: int, step: int):  # type: ignore[no-untyped-def]
    """Windows of three arrays in the same order, each window sorted; a few windows at a time, to save memory."""
    views = [np.lib.stride_tricks.sliding_window_view(each, m)[::step] for each in (values, rank, area)]
    for start in range(0, len(views[0]), _WINDOWS_AT_ONCE):
        yield [np.sort(view[start : start + _WINDOWS_AT_ONCE], axis=1) for view in views]


def rolling_counts(codes: Integers, kinds: int, window: int, step: int) -> Integers:
    """Counts (windows, kinds) of codes in windows of ``window`` codes, one every ``step``, which divides ``window``."""
    blocks = len(codes) // step
    flat = codes[: blocks * step].astype(np.int64) + kinds * np.repeat(np.arange(blocks), step)
    return rolled(np.bincount(flat, minlength=blocks * kinds).reshape(blocks, kinds), window // step)


def rolled(counts: Integers, blocks: int) -> Integers:
    """Sums of each ``blocks`` consecutive rows."""
    sums = np.concatenate([np.zeros((1, counts.shape[1]), np.int64), np.cumsum(counts, axis=0)])
    return np.asarray(sums[blocks:] - sums[:-blocks])


def jensen_shannon(p: Floats, q: Floats, base: float | None = None) -> Floats:
    """The Jensen-Shannon distance (not the divergence) between shares p (..., k) and q (..., k)."""
    middle = (p + q) / 2
    divergence = (rel_entr(p, middle).sum(-1) + rel_entr(q, middle).sum(-1)) / 2
    return np.sqrt(np.maximum(divergence / (1.0 if base is None else np.log(base)), 0))


def chi2_p(reference: Integers, counts: Integers) -> Floats:
    """p-values of the chi-squared test of ``reference`` (k,) and each row of ``counts`` (windows, k).

    For two categories with Yates' correction, as in SciPy.
    """
    before, now = np.broadcast_to(reference, counts.shape).astype(float), counts.astype(float)
    n, m, both = before.sum(1, keepdims=True), now.sum(1, keepdims=True), before + now
    live = both > 0
    expected_before, expected_now = both * n / (n + m), both * m / (n + m)
    degrees = live.sum(1) - 1
    two = (degrees == 1)[:, None]
    off_before, off_now = np.abs(before - expected_before), np.abs(now - expected_now)
    off_before = np.where(two, off_before - np.minimum(0.5, off_before), off_before)
    off_now = np.where(two, off_now - np.minimum(0.5, off_now), off_now)
    with np.errstate(all="ignore"):
        terms = np.where(live, off_before**2 / expected_before + off_now**2 / expected_now, 0)
    return np.asarray(chdtrc(degrees, terms.sum(1)))
