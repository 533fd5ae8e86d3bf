"""Distances between distributions of a whole window and what the hours of its rows let expect."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from torchserve_drift.baseline.profile import FeatureBaseline, NumericBaseline
from torchserve_drift.baseline.time_profile import HOURS
from torchserve_drift.checks.time_channels import Channels, Kind, expected_cdf
from torchserve_drift.checks.time_deviations import Deviations
from torchserve_drift.checks.time_significance import p_of_distances
from torchserve_drift.stats.arrays import Floats
from torchserve_drift.window import fields


class Distances:
    """The distances of all numeric features of a batch. Thread-safe."""

    def __init__(self, features: Sequence[FeatureBaseline], channels: Channels) -> None:
        numeric = [(f, feature) for f, feature in enumerate(features) if isinstance(feature, NumericBaseline)]
        self._features = np.array([f for f, _ in numeric], np.intp)
        self._count = len(features)
        self._channels = channels
        self._distribution = np.flatnonzero(channels.kind == Kind.DISTRIBUTION)
        # features have different numbers of edges: the arrays are as wide as the most, `_is_edge` tells what is real
        edges = np.array([len(feature.edges) for _, feature in numeric], np.intp)
        most = int(edges.max(initial=1))
        self._is_edge = np.arange(most) < edges[:, None]
        cdfs = [np.pad(expected_cdf(feature), ((0, 0), (0, most - len(feature.edges)))) for _, feature in numeric]
        self._cdf = np.array(cdfs).reshape(len(numeric), HOURS, most)
        begins = channels.offsets[self._features] + fields.BINS
        self._bins = np.where(self._is_edge, begins[:, None] + np.arange(most), 0)
        self._beyond = begins + edges

    def significance(self, tally: Floats, found: Deviations) -> tuple[Floats, Floats]:
        """p-values and distances (F,) of all features, 1 and 0 of those that are not numeric."""
        p_values, distances = np.ones(self._count), np.zeros(self._count)
        if len(self._features):
            expected = (found.hours[self._features][:, None, :] @ self._cdf)[:, 0]
            counts = np.where(self._is_edge, tally[self._bins], 0.0)
            rows = np.maximum(counts.sum(axis=1) + tally[self._beyond], 1)
            gaps = np.abs(np.cumsum(counts, axis=1) / rows[:, None] - expected)
            distances[self._features] = np.where(self._is_edge, gaps, 0.0).max(axis=1)
            p_values[self._features] = p_of_distances(
                self._channels, found, self._distribution, distances[self._features]
            )
        return p_values, distances


def share_distances(channels: Channels, found: Deviations) -> Floats:
    """The distance (F,) of `stats.chisquare.share_distance` between shares of categories and the expected ones."""
    counted = (channels.kind == Kind.SHARE) | (channels.kind == Kind.UNSEEN)
    deviation, expected = found.deviation[-1], np.clip(found.expected[-1], 0, 1)
    both = np.maximum(2 * expected + deviation, 1e-300)
    terms = np.where(counted, deviation**2 / both, 0.0)
    return np.sqrt(np.minimum(np.add.reduceat(terms, channels.firsts[:-1]) / 2, 1))
