"""Shifts of the mean and of the standard deviation of numeric features, from tallies alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from torchserve_drift.baseline.profile import NumericBaseline
from torchserve_drift.stats.arrays import Floats, Indices, Integers
from torchserve_drift.window import fields
from torchserve_drift.window.tally import scale_of


@dataclass(frozen=True, eq=False)
class TalliedMoments:
    """What is needed to compare the mean and the standard deviation of some numeric features with the baseline.

    Attributes
    ----------
    offsets
        (F,) where the part of each feature begins in a tally vector.
    scales
        (F,) by which values were divided before they were added up; see `tally.scale_of`.
    stds
        (F,) standard deviations in the baseline.
    mean_min_effects
        (F,) minimum effects of `mean`, in standard deviations of the baseline.
    std_min_effects
        (F,) minimum effects of `std`, as shares of the standard deviation of the baseline.
    """

    offsets: Indices
    scales: Floats
    stds: Floats
    mean_min_effects: Floats
    std_min_effects: Floats

    @classmethod
    def of(
        cls,
        features: Sequence[NumericBaseline],
        min_effects: Sequence[Mapping[str, float]],
        offsets: npt.NDArray[Any],
    ) -> TalliedMoments:
        """The object for ``features``, with their minimum effects by check and their ``offsets`` (F,)."""
        return cls(
            offsets,
            np.array([scale_of(feature)[1] for feature in features]),
            np.array([feature.std for feature in features]),
            np.array([each["mean"] for each in min_effects]),
            np.array([each["std"] for each in min_effects]),
        )


def shifts_of(tally: Floats, moments: TalliedMoments) -> tuple[Floats, Floats]:
    """How far mean and standard deviation differ from the baseline.

    Parameters
    ----------
    tally
        (..., length) tally vectors.

    Returns
    -------
    mean_shifts
        (..., F) in standard deviations of the baseline, see `tally.scale_of`; 0 for a feature without values.
    std_shifts
        (..., F) standard deviation divided by that of the baseline, minus 1. Infinite where only the window varies.
    """
    count = np.maximum(tally[..., moments.offsets + fields.VALID], 1)
    shift = tally[..., moments.offsets + fields.SUM] / count
    # Values were shifted by the baseline's mean before they were added up, so the subtraction loses few digits.
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        squares = tally[..., moments.offsets + fields.SUM_SQUARES] - count * shift * shift
        std = moments.scales * np.sqrt(np.maximum(squares, 0) / np.maximum(count - 1, 1))
        ratio = np.where(moments.stds > 0, std / moments.stds - 1, np.where(std > 0, np.inf, 0.0))
    return shift, ratio


def baseline_bins(feature: NumericBaseline) -> Integers:
    """The baseline's rows (E + 1,) in each bin that production rows are counted in.

    The last bin is above the last edge, which is the baseline's maximum, so it has no rows.
    """
    return np.diff(feature.edge_counts, prepend=0, append=feature.count)
