"""Mean and standard deviation of numeric features, from tallies alone."""

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
    """Where the tallies of some numeric features lie, and in what unit their mean and standard deviation are compared.

    Arrays (F,): ``offsets`` in a tally vector, ``scales`` that values were divided by, ``stds`` of the baseline, and
    the minimum effects of mean (in standard deviations of the baseline) and std (as a share of it).
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
        return cls(
            offsets,
            np.array([scale_of(feature)[1] for feature in features]),
            np.array([feature.std for feature in features]),
            np.array([each["mean"] for each in min_effects]),
            np.array([each["std"] for each in min_effects]),
        )


def shifts_of(tally: Floats, moments: TalliedMoments) -> tuple[Floats, Floats]:
    """Shifts of the mean in the baseline's standard deviations, and ratios of standard deviations less 1.

    Of one tally vector (length,), or of (..., length): (..., F) each.
    """
    count = np.maximum(tally[..., moments.offsets + fields.VALID], 1)
    shift = tally[..., moments.offsets + fields.SUM] / count
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        squares = tally[..., moments.offsets + fields.SUM_SQUARES] - count * shift * shift
        std = moments.scales * np.sqrt(np.maximum(squares, 0) / np.maximum(count - 1, 1))
        ratio = np.where(moments.stds > 0, std / moments.stds - 1, np.where(std > 0, np.inf, 0.0))
    return shift, ratio


def baseline_bins(feature: NumericBaseline) -> Integers:
    """The baseline's rows (E + 1,) in each bin that is counted in production; none lies above the last edge."""
    return np.diff(feature.edge_counts, prepend=0, append=feature.count)
