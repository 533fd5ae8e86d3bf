"""The design effects of all features of a baseline, from tally vectors."""

from __future__ import annotations

import numpy as np

from torchserve_drift.baseline.profile import Profile
from torchserve_drift.stats.arrays import Floats
from torchserve_drift.stats.design_effect import RequestSums, design_effect
from torchserve_drift.window import fields
from torchserve_drift.window.layout import Layout
from torchserve_drift.window.request_sums import first_count, scores_of


class DesignEffects:
    """The design effect of each feature of a baseline, from tallies. Stateless after construction; thread-safe."""

    def __init__(self, baseline: Profile, layout: Layout) -> None:
        parts = np.array(layout.offsets, dtype=np.intp)
        scores = [scores_of(feature) for feature in baseline.features]
        begins = [offset + first_count(feature) for offset, feature in zip(layout.offsets, baseline.features)]
        self._parts = parts
        # The counts of all features and their scores one after the other, and where those of each feature begin.
        self._counts = np.concatenate([np.arange(b, b + len(z)) for b, z in zip(begins, scores)])
        self._scores = np.concatenate(scores)
        self._firsts = np.cumsum([0, *(len(z) for z in scores[:-1])])

    def of(self, tally: Floats) -> Floats:
        """The design effects of the values of each feature.

        A feature's rows divided by its design effect are the independent rows that they are worth. For a sample of the
        rows see `stats.design_effect.sample_design_effect`.

        Parameters
        ----------
        tally
            (..., length) tally vectors.

        Returns
        -------
        design_effects
            (..., F), see `stats.design_effect.design_effect`.
        """
        weighted = tally[..., self._counts] * self._scores
        sums = RequestSums(
            rows=tally[..., self._parts + fields.VALID],
            score_sum=np.add.reduceat(weighted, self._firsts, axis=-1),
            score_squares=np.add.reduceat(weighted * self._scores, self._firsts, axis=-1),
            sizes_squared=tally[..., self._parts + fields.SIZES_SQUARED],
            sizes_fourth=tally[..., self._parts + fields.SIZES_FOURTH],
            totals_squared=tally[..., self._parts + fields.TOTALS_SQUARED],
            sizes_totals=tally[..., self._parts + fields.SIZES_TOTALS],
        )
        return design_effect(sums)

    def of_absence(self, tally: Floats) -> Floats:
        """The design effects (..., F) of the share of rows without a value that takes part in statistics.

        They differ from those of the values: all rows of a request may lack a feature together, while the values of the
        other requests are independent. The score of a row is 1 if its value is absent, else 0.
        """
        rows = tally[..., [fields.ROWS]]
        absent = rows - tally[..., self._parts + fields.VALID]
        sums = RequestSums(
            rows=rows,
            score_sum=absent,
            score_squares=absent,
            sizes_squared=tally[..., [fields.REQUESTS_SQUARED]],
            sizes_fourth=tally[..., [fields.REQUESTS_FOURTH]],
            totals_squared=tally[..., self._parts + fields.ABSENT_SQUARED],
            sizes_totals=tally[..., self._parts + fields.SIZES_ABSENT],
        )
        return design_effect(sums)
