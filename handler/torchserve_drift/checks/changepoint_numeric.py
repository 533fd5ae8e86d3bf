"""The check `cusum` of numeric features: by location and scale of each span's normal scores.

In this module P = 2 is the number of tests of each span: the test of location and the test of scale. S is the number of
spans, F of features, and B of bins.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from torchserve_drift.baseline.profile import NumericBaseline
from torchserve_drift.checks.evidence import CheckedModel, Evidence, Finding, WindowView
from torchserve_drift.checks.moments import TalliedMoments, baseline_bins, shifts_of
from torchserve_drift.checks.span_weights import span_weights
from torchserve_drift.stats.arrays import Bools, Floats, Indices
from torchserve_drift.stats.bin_scores import bin_scores, score_moments
from torchserve_drift.stats.kolmogorov import LEAST
from torchserve_drift.stats.score_tests import Moments, shift_p
from torchserve_drift.window import fields

LOCATION_PART, SCALE_PART = 0.85, 0.15
"""The parts of a feature's level for the two tests. Most drift of numbers moves their location."""


class _Scores(NamedTuple):
    """The scores of one test: of each bin (F, B), their moments in the baseline, and the step (F,) of `BinScores`."""

    by_bin: Floats
    baseline: Moments
    step: Floats


class NumericSpans:
    """The check cusum of the numeric features at ``places`` in the baseline, at least one. Thread-safe."""

    def __init__(self, model: CheckedModel, places: Sequence[int]) -> None:
        features = [f for f in (model.profile.features[i] for i in places) if isinstance(f, NumericBaseline)]
        self._places = np.array(places, np.intp)
        offsets = np.array(model.layout.offsets)[self._places]
        self._moments = TalliedMoments.of(features, [model.min_effects[i] for i in places], offsets)
        # Features have different numbers of bins. The arrays have room for the largest number, and `_is_bin` (F, B)
        # says which of their elements are bins.
        counts = [baseline_bins(feature) for feature in features]
        most = max(map(len, counts))
        self._is_bin = np.arange(most) < np.array([len(count) for count in counts])[:, None]
        self._bins = np.where(self._is_bin, offsets[:, None] + fields.BINS + np.arange(most), 0)
        known = np.array([np.pad(count, (0, most - len(count))) for count in counts], np.float64)
        scores, rows = bin_scores(known), known.sum(axis=1)
        self._location = _Scores(scores.location, score_moments(known, scores.location, rows), scores.location_step)
        self._scale = _Scores(scores.scale, score_moments(known, scores.scale, rows), scores.scale_step)

    def findings(self, window: WindowView) -> Iterator[Finding]:
        """The evidence on each feature that has enough rows in at least one span."""
        spans, design_effects = window.rows.spans, window.span_design_effects[:, self._places]
        counts = np.where(self._is_bin, spans[:, self._bins], 0.0)
        rows = counts.sum(axis=-1)
        weights = span_weights(rows)
        used = weights.any(axis=1)  # (S,): spans without a weight for any feature need no computation
        if not used.any():
            return
        spans, counts, rows, weights, design_effects = (
            each[used] for each in (spans, counts, rows, weights, design_effects)
        )
        adjusted = self._adjusted_p(counts, rows, weights, design_effects)
        # Scores give the p-values; the effects are those of `mean` and `std`, whose minimum effects users know.
        shifts = np.array(shifts_of(spans, self._moments))
        min_effects = np.array([self._moments.mean_min_effects, self._moments.std_min_effects])
        large = (np.abs(shifts) > min_effects[:, None, :]) & (weights > 0)
        (test, span), feature = np.divmod(_clearest(adjusted, large), len(spans)), np.arange(len(self._places))
        p_values = np.minimum(adjusted[test, span, feature], 1.0)
        changes, chosen_min_effects = shifts[test, span, feature], min_effects[test, feature]
        for i in np.flatnonzero(weights.any(axis=0)):
            change = float(changes[i])
            evidence = Evidence(float(p_values[i]), change, abs(change), float(chosen_min_effects[i]))
            yield Finding(int(self._places[i]), "cusum", evidence)

    def _adjusted_p(self, counts: Floats, rows: Floats, weights: Floats, design_effects: Floats) -> Floats:
        """The p-values (P, S, F) of both tests of each span, divided by their parts of the level.

        They can exceed 1. They are infinite where a span has no weight for a feature.

        Parameters
        ----------
        counts
            (S, F, B) rows in each bin.
        rows, weights, design_effects
            (S, F) of each feature in each span.
        """
        effective, clustered = np.maximum(rows / design_effects, 1), design_effects > 1
        p_values = np.array(
            [
                np.nan_to_num(
                    shift_p(
                        score_moments(counts, scores.by_bin, effective),
                        scores.baseline,
                        scores.step,
                        cautious=clustered,
                    ),
                    nan=1.0,  # a span without rows shows no change
                )
                for scores in (self._location, self._scale)
            ]
        )
        # The parts of all spans and both tests sum to 1: the check holds its level by the union bound.
        parts = weights * np.array([LOCATION_PART, SCALE_PART])[:, None, None]
        adjusted: Floats = np.where(parts > 0, np.maximum(p_values, LEAST) / np.where(parts > 0, parts, 1), np.inf)
        return adjusted


def _clearest(adjusted: Floats, large: Bools) -> Indices:
    """For each feature the test and span with the smallest p-value among large changes, or among all if none is large.

    A small but certain change must not hide a large one: only large changes can make the check fail.

    Parameters
    ----------
    adjusted, large
        (P, S, F) p-values, and whether each change is above its minimum effect.

    Returns
    -------
    indices
        (F,) of elements of a flattened (P, S) array.
    """
    p_values, is_large = adjusted.reshape(-1, adjusted.shape[-1]), large.reshape(-1, large.shape[-1])
    clearest_large: Indices = np.where(is_large, p_values, np.inf).argmin(axis=0)
    return np.where(is_large.any(axis=0), clearest_large, p_values.argmin(axis=0)).astype(np.intp)
