"""The sizes of one worker's share of memory, and where each feature lies in a tally vector."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Union

import numpy as np

from torchserve_drift.baseline.profile import CategoricalBaseline, FeatureBaseline, NumericBaseline, Profile
from torchserve_drift.stats.arrays import Floats
from torchserve_drift.window import fields

PANES = 32
"""The most panes of a window."""

FEWEST_PANES = 6
"""The fewest panes of a window, also where the tallies of many categories need much memory."""

POOL_RESERVOIRS = 16
"""The most rows of the pool, as a multiple of `reservoir_rows`. A pool of this size is large enough for k exp(15) rows
in the longest window, where k is `reservoir_rows`."""

_FEWEST_POOL_RESERVOIRS = 10
"""The fewest rows of the pool, as a multiple of `reservoir_rows`, without the rows of a full ring."""

_BYTES_PER_RESERVOIR_VALUE = 15 * 4
"""The memory of a segment for each value of a reservoir: 15 numbers of 4 bytes."""

_TALLY_BYTES = 8
"""A number in a tally vector is a float64."""

_OTHER_BYTES = 8192
"""Allowed for headers, counters, rounding, and the rows by hour."""


@dataclass(frozen=True)
class Layout:
    """Sizes of one segment, all fixed at start.

    Attributes
    ----------
    offsets
        (F,) where each feature's part of the tally vector begins.
    length
        The length of the tally vector.
    windows, panes
        The number of windows, and of panes in each window.
    ring_rows
        The most rows that can wait for a fold.
    pool_rows
        The most rows in the pool.
    reservoir_rows
        The most rows in the sample of a window.
    sums
        The positions in the tally vector that do not hold counts.
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
        """The number of features."""
        return len(self.offsets)

    def part(self, vector: Floats, index: int) -> Floats:
        """The part of feature ``index``: a view of a tally vector (length,), or of an array (..., length) of them."""
        end = self.offsets[index + 1] if index + 1 < self.features else self.length
        return vector[..., self.offsets[index] : end]


def tally_width(feature: FeatureBaseline) -> int:
    """The size of a feature's part of a tally vector."""
    if isinstance(feature, NumericBaseline):
        return fields.BINS + len(feature.edges) + 1
    return fields.CATEGORIES + len(feature.categories)


def layout_for(baseline: Profile, windows: int, reservoir_rows: int) -> Layout:
    """The layout for a baseline's features.

    With the default windows and five or more numeric features a segment has at most 15 x ``reservoir_rows`` x features
    x 4 bytes. Features with very many categories need more: their tallies are added to this, in fewer panes.
    """
    widths = [tally_width(feature) for feature in baseline.features]
    offsets = tuple(int(offset) for offset in np.cumsum([fields.PARTS, *widths[:-1]]))
    length = fields.PARTS + sum(widths)
    ring_rows = int(np.clip(reservoir_rows // 2, 256, 4096))
    memory = _Memory(len(widths), length, windows, reservoir_rows, ring_rows)
    panes = memory.panes()
    return Layout(
        offsets,
        length,
        windows,
        panes,
        ring_rows,
        memory.pool_rows(panes),
        reservoir_rows,
        _sums(baseline, offsets),
    )


@dataclass(frozen=True)
class _Memory:
    """How the memory of a segment is shared out between tallies, ring and pool."""

    features: int
    length: int
    windows: int
    reservoir_rows: int
    ring_rows: int

    @property
    def segment_bytes(self) -> int:
        """The intended size of the whole segment."""
        return _BYTES_PER_RESERVOIR_VALUE * self.reservoir_rows * self.features

    @property
    def tallies_and_pool_bytes(self) -> int:
        """The size without the ring, in which a row has its values, its time, and a byte for where requests begin."""
        return self.segment_bytes - (8 * self.features + 9) * self.ring_rows - _OTHER_BYTES

    @property
    def vector_bytes(self) -> int:
        """The size of one tally vector."""
        return _TALLY_BYTES * self.length

    @property
    def pool_row_bytes(self) -> int:
        """The size of a row in the pool: a code of two bytes for each feature, the row's number and its priority."""
        return 2 * self.features + 12

    @property
    def fewest_pool_rows(self) -> int:
        """Enough for k exp(9) rows in the longest window, where k is `reservoir_rows`, plus the rows of a full ring."""
        return _FEWEST_POOL_RESERVOIRS * self.reservoir_rows + self.ring_rows

    def panes(self) -> int:
        """Panes of each window: as many as fit into a quarter of the segment, within `FEWEST_PANES` and `PANES`."""
        wanted = int(np.clip(self.segment_bytes // 4 // (self.vector_bytes * self.windows) - 1, FEWEST_PANES, PANES))
        left = self.tallies_and_pool_bytes - self.pool_row_bytes * self.fewest_pool_rows
        affordable = (left // self.vector_bytes - 2) // self.windows - 3
        # The smallest pool may not fit beside these panes. A quarter of the panes may go to make room for it. Where
        # that is not enough, the segment is larger than planned.
        if max(wanted * 3 // 4, FEWEST_PANES) <= affordable < wanted:
            return affordable
        return wanted

    def pool_rows(self, panes: int) -> int:
        """Rows of the pool: as many as fit into the memory that is left, but not fewer than it needs."""
        # Each window has a vector for each of its panes, one more slot for a pane that is being closed, and one for its
        # current pane in both state copies. The totals of all rows are in both state copies too.
        vectors = 2 + self.windows * (panes + 3)
        fitting = (self.tallies_and_pool_bytes - self.vector_bytes * vectors) // self.pool_row_bytes
        most = max(self.fewest_pool_rows, POOL_RESERVOIRS * self.reservoir_rows)
        return int(np.clip(fitting, self.fewest_pool_rows, most))


def _sums(baseline: Profile, offsets: tuple[int, ...]) -> tuple[int, ...]:
    """The positions in the tally vector of sums that need not be whole numbers or can be very large."""
    numeric = [offset for offset, f in zip(offsets, baseline.features) if isinstance(f, NumericBaseline)]
    of_every_feature = (fields.SIZES_FOURTH, fields.TOTALS_SQUARED, fields.SIZES_TOTALS)
    of_numeric_features = (fields.SUM, fields.SUM_SQUARES)
    return (
        fields.REQUESTS_FOURTH,
        *(offset + field for offset in offsets for field in of_every_feature),
        *(offset + field for offset in numeric for field in of_numeric_features),
    )


def fingerprint(baseline: Profile, windows: tuple[object, ...], layout: Layout) -> bytes:
    """32 bytes that are equal only where one process can read another's segment: same baseline, windows and sizes."""
    text = json.dumps([baseline.sha256, _shape(baseline), [repr(window) for window in windows], repr(layout)])
    return hashlib.sha256(text.encode()).digest()


def _shape(baseline: Profile) -> list[Union[list[object], str]]:
    """Each feature's name and number of categories, -1 for a numeric one."""
    return [[f.name, len(f.categories) if isinstance(f, CategoricalBaseline) else -1] for f in baseline.features]
