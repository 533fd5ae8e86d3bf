"""From rows to one vector of exact counts and sums. The vectors of blocks of rows add up to that of all rows."""

from __future__ import annotations

import numpy as np

from torchserve_drift.baseline.profile import CategoricalBaseline, FeatureBaseline, NumericBaseline, Profile
from torchserve_drift.features.encoding import is_mistyped
from torchserve_drift.stats.arrays import Flags, Floats
from torchserve_drift.window import fields
from torchserve_drift.window.layout import Layout
from torchserve_drift.window.pacing import NO_PAUSE, Pace
from torchserve_drift.window.request_sums import CountedValues, scores_of, starts_of, tally_requests, tally_sizes


class Tallier:
    """Counts rows of one model's features. Stateless after construction; thread-safe."""

    def __init__(self, baseline: Profile, layout: Layout) -> None:
        self._features = baseline.features
        self._layout = layout
        self._scales = [scale_of(feature) for feature in baseline.features]
        self._scores = [scores_of(feature) for feature in baseline.features]

    def tally(self, rows: Floats, begins: Flags, paced: Pace = NO_PAUSE) -> Floats:
        """The tally vector of rows.

        Parameters
        ----------
        rows
            (m, F) values, categories as their index.
        begins
            (m,) not 0 where a row begins a request. The first row does so in any case.
        paced
            Wraps the loop over features.

        Returns
        -------
        vector
            (length,), see `fields`.
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
    """The shift and the scale of a feature. Sums are of (value - shift) / scale, so that they lose few digits.

    They are mean and standard deviation of the baseline; (0, 1) for a feature without them, and the scale is 1 for one
    that does not vary.
    """
    if isinstance(feature, CategoricalBaseline) or not np.isfinite(feature.mean):
        return 0.0, 1.0
    return feature.mean, feature.std if feature.std > 0 and np.isfinite(feature.std) else 1.0


def _tally_numeric(part: Floats, values: Floats, feature: NumericBaseline, scale: tuple[float, float]) -> CountedValues:
    valid = np.isfinite(values)
    finite = values[valid]
    if len(finite) < len(values):
        _count_absent(part, values)
        part[fields.INFINITE] = np.count_nonzero(np.isinf(values))
    part[fields.VALID] = len(finite)
    part[fields.OUTSIDE] = np.count_nonzero(finite < feature.minimum) + np.count_nonzero(finite > feature.maximum)
    with np.errstate(over="ignore", invalid="ignore"):  # a value of 1e300 makes the sums infinite, which is intended
        scaled = (finite - scale[0]) / scale[1]
        part[fields.SUM] = scaled.sum()
        part[fields.SUM_SQUARES] = np.dot(scaled, scaled)
    bins = feature.edges.searchsorted(finite)
    part[fields.BINS :] = np.bincount(bins, minlength=len(feature.edges) + 1)
    return CountedValues(bins, valid)


def _tally_categorical(part: Floats, values: Floats, feature: CategoricalBaseline) -> CountedValues:
    valid = ~np.isnan(values)
    present = values[valid]
    if len(present) < len(values):
        _count_absent(part, values)
    places = present.astype(np.intp) + 1  # an unseen category has index -1, and its count comes first
    part[fields.VALID] = len(present)
    part[fields.UNSEEN :] = np.bincount(places, minlength=len(feature.categories) + 1)
    return CountedValues(places, valid)


def _count_absent(part: Floats, values: Floats) -> None:
    mistyped = np.count_nonzero(is_mistyped(values))  # these are NaNs too
    part[fields.MISTYPED] = mistyped
    part[fields.MISSING] = np.count_nonzero(np.isnan(values)) - mistyped
