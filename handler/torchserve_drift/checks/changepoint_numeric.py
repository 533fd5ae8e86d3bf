"""`cusum` of numeric features: location and scale of each span's normal scores, for many features at once."""

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

LOCATION_SHARE, SCALE_SHARE = 0.85, 0.15
"""Parts of a feature's level. Most drift of numbers moves their location."""


class _Scores(NamedTuple):
    """One kind of score of each bin (F, B), its moments in the baseline, and its steps between neighbouring bins."""

    of_bins: Floats
    baseline: Moments
    step: Floats


class NumericSpans:
    """The numeric features at ``places`` in the baseline, at least one."""

    def __init__(self, model: CheckedModel, places: Sequence[int]) -> None:
        features = [f for f in (model.profile.features[i] for i in places) if isinstance(f, NumericBaseline)]
        self._places = np.array(places, np.intp)
        offsets = np.array(model.layout.offsets)[self._places]
        self._moments = TalliedMoments.of(features, [model.min_effects[i] for i in places], offsets)
        # features have different numbers of bins: the arrays are as wide as the most, `_is_bin` tells what is real
        counts = [baseline_bins(feature) for feature in features]
        most = max(map(len, counts))
        self._is_bin = np.arange(most) < np.array([len(count) for count in counts])[:, None]
        self._bins = np.where(self._is_bin, offsets[:, None] + fields.BINS + np.arange(most), 0)
        known = np.array([np.pad(count, (0, most - len(count))) for count in counts], np.float64)
        scores, rows = bin_scores(known), known.sum(axis=1)
        self._location = _Scores(scores.location, score_moments(known, scores.location, rows), scores.location_step)
        self._scale = _Scores(scores.scale, score_moments(known, scores.scale, rows), scores.scale_step)

    def findings(self, window: WindowView) -> Iterator[Finding]:
        """Of each feature that has enough rows in a span."""
        spans, design_effects = window.rows.spans, window.span_design_effects[:, self._places]
        counts = np.where(self._is_bin, spans[:, self._bins], 0.0)
        rows = counts.sum(axis=-1)
        weights = span_weights(rows)
        used = weights.any(axis=1)
        if not used.any():
            return
        spans, counts, rows, weights, design_effects = (
            each[used] for each in (spans, counts, rows, weights, design_effects)
        )
        adjusted = self._adjusted_p(counts, rows, weights, design_effects)
        sizes = np.array(shifts_of(spans, self._moments))
        min_effects = np.array([self._moments.mean_min_effects, self._moments.std_min_effects])
        large = (np.abs(sizes) > min_effects[:, None, :]) & (weights > 0)
        (part, span), feature = np.divmod(_clearest(adjusted, large), len(spans)), np.arange(len(self._places))
        p_values = np.minimum(adjusted[part, span, feature], 1.0)
        changes, least = sizes[part, span, feature], min_effects[part, feature]
        for i in np.flatnonzero(weights.any(axis=0)):
            change = float(changes[i])
            evidence = Evidence(float(p_values[i]), change, abs(change), float(least[i]))
            yield Finding(int(self._places[i]), "cusum", evidence)

    def _adjusted_p(self, counts: Floats, rows: Floats, weights: Floats, design_effects: Floats) -> Floats:
        """p-values of location and scale of each span (2, S, F), divided by their parts of the level; may exceed 1.

        Infinite where a span of a feature has no part.
        """
        effective, clustered = np.maximum(rows / design_effects, 1), design_effects > 1
        p_values = np.array(
            [
                np.nan_to_num(
                    shift_p(
                        score_moments(counts, scores.of_bins, effective),
                        scores.baseline,
                        scores.step,
                        cautious=clustered,
                    ),
                    nan=1.0,
                )
                for scores in (self._location, self._scale)
            ]
        )
        parts = weights * np.array([LOCATION_SHARE, SCALE_SHARE])[:, None, None]
        adjusted: Floats = np.where(parts > 0, np.maximum(p_values, LEAST) / np.where(parts > 0, parts, 1), np.inf)
        return adjusted


def _clearest(adjusted: Floats, large: Bools) -> Indices:
    """For each feature the smallest p-value among changes that are large enough, if any are; else among all.

    A small but certain change must not hide a large one. ``adjusted`` and ``large`` (parts, S, F); indices (F,) into
    parts x S.
    """
    flat, ample = adjusted.reshape(-1, adjusted.shape[-1]), large.reshape(-1, large.shape[-1])
    best: Indices = np.where(ample, flat, np.inf).argmin(axis=0)
    return np.where(ample.any(axis=0), best, flat.argmin(axis=0)).astype(np.intp)
