"""Rows to one vector of exact counts and sums; vectors of any rows add up to the vector of all of them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from torchserve_drift.baseline.profile import CategoricalBaseline, FeatureBaseline, NumericBaseline, Profile
from torchserve_drift.features.encoding import is_mistyped
from torchserve_drift.window import layout as at
from torchserve_drift.window.clusters import Counted, scores_of, starts_of, tally_requests, tally_sizes
from torchserve_drift.window.layout import Layout
from torchserve_drift.window.pacing import Pace

Floats = npt.NDArray[np.float64]


class Tallier:
    """Counts rows of one model's features. Stateless after construction; thread-safe."""

    def __init__(self, baseline: Profile, layout: Layout) -> None:
        self._features = baseline.features
        self._layout = layout
        self._scales = [scale_of(feature) for feature in baseline.features]
        self._scores = [scores_of(feature) for feature in baseline.features]

    def tally(self, rows: Floats, begins: npt.NDArray[np.uint8], paced: Pace) -> Floats:
        """The vector (length,) of ``rows`` (m, F): float64 values, categories as their index.

        ``begins`` (m,) is not 0 where a row begins a request; the first row does so in any case.
        ``pause`` is called after each feature, for the caller to let other threads in.
        """
        vector = np.zeros(self._layout.length)
        starts = starts_of(begins)
        tally_sizes(vector, len(rows), starts)
        for index, feature in enumerate(paced(self._features)):
            values = np.ascontiguousarray(rows[:, index])
            part = self._layout.part(vector, index)
            if isinstance(feature, NumericBaseline):
                counted = _tally_numeric(part, values, feature, self._scales[index])
            else:
                counted = _tally_categorical(part, values, feature)
            tally_requests(part, counted, self._scores[index], starts)
        return vector


def scale_of(feature: FeatureBaseline) -> tuple[float, float]:
    """What is subtracted from a value and what it is then divided by, so that sums keep their digits."""
    if isinstance(feature, CategoricalBaseline) or not np.isfinite(feature.mean):
        return 0.0, 1.0
    return feature.mean, feature.std if feature.std > 0 and np.isfinite(feature.std) else 1.0


def _tally_numeric(part: Floats, values: Floats, feature: NumericBaseline, scale: tuple[float, float]) -> Counted:
    valid = np.isfinite(values)
    finite = values[valid]
    if len(finite) < len(values):
        _count_rejected(part, values)
        part[at.INFINITE] = np.count_nonzero(np.isinf(values))
    part[at.VALID] = len(finite)
    part[at.OUTSIDE] = np.count_nonzero(finite < feature.minimum) + np.count_nonzero(finite > feature.maximum)
    with np.errstate(over="ignore", invalid="ignore"):  # a value of 1e300 makes the sums infinite, and so it should
        scaled = (finite - scale[0]) / scale[1]
        part[at.SUM] = scaled.sum()
        part[at.SUM_SQUARES] = np.dot(scaled, scaled)
    bins = feature.edges.searchsorted(finite)
    part[at.BINS :] = np.bincount(bins, minlength=len(feature.edges) + 1)
    return Counted(bins, valid)


def _tally_categorical(part: Floats, values: Floats, feature: CategoricalBaseline) -> Counted:
    valid = ~np.isnan(values)
    present = values[valid]
    if len(present) < len(values):
        _count_rejected(part, values)
    places = present.astype(np.intp) + 1
    part[at.VALID] = len(present)
    part[at.UNSEEN :] = np.bincount(places, minlength=len(feature.categories) + 1)
    return Counted(places, valid)


def _count_rejected(part: Floats, values: Floats) -> None:
    mistyped = np.count_nonzero(is_mistyped(values))
    part[at.MISTYPED] = mistyped
    part[at.MISSING] = np.count_nonzero(np.isnan(values)) - mistyped
