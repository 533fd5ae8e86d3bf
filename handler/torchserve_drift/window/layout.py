"""Where each count and sum of a window lies, and how large one worker's share of memory is."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Union

import numpy as np
import numpy.typing as npt

from torchserve_drift.baseline.profile import CategoricalBaseline, FeatureBaseline, NumericBaseline, Profile

ROWS, REQUESTS_SQUARED, REQUESTS_FOURTH = 0, 1, 2
"""The tally vector's first elements: rows, and sums over requests of s² and s⁴ of the s rows of a request."""

_FIRST_OFFSET = 3

VALID, MISSING, MISTYPED = 0, 1, 2
"""Offsets in every feature's part of the vector: values that take part in statistics, missing, of a wrong type."""

SIZES_SQUARED, SIZES_FOURTH, TOTALS_SQUARED, SIZES_TOTALS = 3, 4, 5, 6
"""More of every feature: sums over requests of m², m⁴, T² and m T, of the m values of a request that take part in
statistics and the sum T of their normal scores."""

ABSENT_SQUARED, SIZES_ABSENT = 7, 8
"""More of every feature: sums over requests of k² and s k, of the k values of a request's s rows that take no part in
statistics."""

INFINITE, OUTSIDE, SUM, SUM_SQUARES, BINS = 9, 10, 11, 12, 13
"""Further offsets of a numeric feature. The sums are of (value - baseline mean) / baseline std; the bins count values
up to each of the baseline's edges, and beyond the last."""

UNSEEN, CATEGORIES = 9, 10
"""Further offsets of a categorical feature: rows of categories the baseline lacks, then rows of each of its own."""

PANES = 32
FEWEST_PANES = 6
POOL_RESERVOIRS = 16
"""The pool holds at most so many times `reservoir_rows`: enough for k exp(15) rows in the longest window."""

_BYTES_PER_RESERVOIR_VALUE = 15 * 4


@dataclass(frozen=True)
class Layout:
    """Sizes of one segment, all fixed at start.

    ``offsets`` (F,) where each feature's part of the tally vector begins, ``length`` of that vector, ``panes`` per
    window,
    ``ring_rows`` raw rows that may wait for a fold, ``pool_rows`` rows in the pool, ``reservoir_rows`` rows in a
    sample; ``sums`` the places in that vector which are no counts.
    """

    offsets: tuple[int, ...]
    length: int
    windows: int
    panes: int
    ring_rows: int
    pool_rows: int
    reservoir_rows: int
    sums: tuple[int, ...] = ()

    @property
    def features(self) -> int:
        return len(self.offsets)

    def part(self, vector: npt.NDArray[np.float64], index: int) -> npt.NDArray[np.float64]:
        """Feature ``index``'s view of a tally vector, or of (..., length) vectors."""
        end = self.offsets[index + 1] if index + 1 < self.features else self.length
        return vector[..., self.offsets[index] : end]


def tally_width(feature: FeatureBaseline) -> int:
    """Numbers that one feature takes in a tally vector."""
    if isinstance(feature, NumericBaseline):
        return BINS + len(feature.edges) + 1
    return CATEGORIES + len(feature.categories)


def layout_for(baseline: Profile, windows: int, reservoir_rows: int) -> Layout:
    """The layout for a baseline's features.

    With the default windows and five or more numeric features a segment is at most 15 x reservoir_rows x features x 4
    bytes; features of very many categories take their tallies beyond that, in as few panes as make sense.
    """
    widths = [tally_width(feature) for feature in baseline.features]
    offsets = tuple(int(offset) for offset in np.cumsum([_FIRST_OFFSET, *widths[:-1]]))
    length, features = _FIRST_OFFSET + sum(widths), len(widths)
    budget = _BYTES_PER_RESERVOIR_VALUE * reservoir_rows * features
    panes = int(np.clip(budget // 4 // (8 * windows * length) - 1, FEWEST_PANES, PANES))
    ring_rows = int(np.clip(reservoir_rows // 2, 256, 4096))
    pool_row, fewest = 2 * features + 12, 10 * reservoir_rows + ring_rows
    budget -= (8 * features + 9) * ring_rows + 8192
    affordable = ((budget - pool_row * fewest) // (8 * length) - 2) // windows - 3
    if max(panes * 3 // 4, FEWEST_PANES) <= affordable < panes:  # a few panes less make room for the smallest pool
        panes = affordable
    pool = (budget - 8 * length * (2 + windows * (panes + 3))) // pool_row
    pool_rows = int(np.clip(pool, fewest, max(fewest, POOL_RESERVOIRS * reservoir_rows)))
    numeric = [at for at, feature in zip(offsets, baseline.features) if isinstance(feature, NumericBaseline)]
    sums = [REQUESTS_FOURTH]
    sums += [at + place for at in offsets for place in (SIZES_FOURTH, TOTALS_SQUARED, SIZES_TOTALS)]
    sums += [at + place for at in numeric for place in (SUM, SUM_SQUARES)]
    return Layout(offsets, length, windows, panes, ring_rows, pool_rows, reservoir_rows, tuple(sums))


def fingerprint(baseline: Profile, windows: tuple[object, ...], layout: Layout) -> bytes:
    """32 bytes that are equal only where one process can read another's segment: same baseline, windows and sizes."""
    text = json.dumps([baseline.sha256, _shape(baseline), [repr(window) for window in windows], repr(layout)])
    return hashlib.sha256(text.encode()).digest()


def _shape(baseline: Profile) -> list[Union[list[object], str]]:
    return [[f.name, len(f.categories) if isinstance(f, CategoricalBaseline) else -1] for f in baseline.features]
