"""The channels of features with a time profile: how their sums follow from tallies, and what each hour lets expect.

The channels of all features stand one after the other, so that one product of matrices serves them all.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

import numpy as np

from torchserve_drift.baseline.channels import own_categories
from torchserve_drift.baseline.profile import CategoricalBaseline, FeatureBaseline, NumericBaseline
from torchserve_drift.baseline.time_profile import GROUPS, HOURS, LEAST_VARIANCE, PRIOR_ROWS, TimeProfile
from torchserve_drift.checks.moments import baseline_bins
from torchserve_drift.stats.arrays import Bools, Floats, Indices, Integers
from torchserve_drift.stats.bin_scores import bin_scores
from torchserve_drift.window import fields

MIN_EFFECT_PART = 0.4
"""Of a minimum effect: p-values test that a deviation is no larger. A test against a minimum effect itself would find a
deviation of twice its size late; at this part delays are as those of tests against no change."""


class Kind(IntEnum):
    """What a channel measures, see `channels.NUMERIC_CHANNELS`; SHARE is a category, or the rest of them."""

    LOCATION = 0
    SCALE = 1
    OUTSIDE = 2
    MISSING = 3
    DISTRIBUTION = 4
    SHARE = 5
    UNSEEN = 6


NUMERIC_KINDS = (Kind.LOCATION, Kind.SCALE, Kind.OUTSIDE, Kind.MISSING, Kind.DISTRIBUTION)


class _Hours(NamedTuple):
    """Mean and variance of channels (HOURS, k) within each hour, and their skewness (k,) over all hours."""

    mean: Floats
    variance: Floats
    skewness: Floats


class _Terms(NamedTuple):
    """A channel's sum: tally fields of a feature's part and their weights (J,); its rows are those with a value and
    ``extra_weight`` times the field ``extra``."""

    positions: Indices
    weights: Floats
    extra: int
    extra_weight: float


@dataclass(frozen=True, eq=False)
class Channels:
    """C channels of F features, those of a feature side by side, in the order of `channels.names_of`.

    Positions are those of a whole tally vector. ``places`` (F,) in the baseline; ``offsets`` (F,) of the features'
    parts; ``firsts`` (F + 1,) where the channels of each begin; ``owner`` (C,) the feature of each. ``positions``,
    ``weights`` and ``terms`` (C,) where each channel's terms begin; ``extra`` and ``extra_weight`` (C,).

    By hour of the week: ``presence`` (HOURS, F) the part of rows that has a value; ``mean`` and ``variance``
    (HOURS, C) of a row's score, times the presence of the values that it is of (1 of missing ones); ``presence_error``
    (HOURS, F) presence² / training rows; ``groups`` (GROUPS, HOURS, F) the presence where an hour is in the group.
    ``skewness`` and ``clustering`` (C,). By tested length: ``correlation`` (L, GROUPS, C), ``tail`` (L, C), and
    ``error`` (L, C) of the correlation, see `freedom_with`.
    """

    places: Indices
    offsets: Indices
    firsts: Indices
    owner: Indices
    kind: Indices
    min_effect: Floats
    positions: Indices
    weights: Floats
    terms: Indices
    extra: Indices
    extra_weight: Floats
    mean: Floats
    variance: Floats
    skewness: Floats
    presence: Floats
    presence_error: Floats
    groups: Floats
    correlation: Floats
    error: Floats
    tail: Floats
    clustering: Floats

    @property
    def is_share(self) -> Bools:
        shares: Bools = (self.kind != Kind.LOCATION) & (self.kind != Kind.SCALE) & (self.kind != Kind.DISTRIBUTION)
        return shares

    def sums(self, spans: Floats) -> tuple[Floats, Floats]:
        """The rows and the summed scores of every channel (S, C), of tally vectors (S, length)."""
        rows = spans[:, (self.offsets + fields.VALID)[self.owner]] + self.extra_weight * spans[:, self.extra]
        sums: Floats = np.add.reduceat(spans[:, self.positions] * self.weights, self.terms, axis=1)
        return rows, sums


def channels_of(
    features: Sequence[FeatureBaseline],
    min_effects: Sequence[Mapping[str, float]],
    offsets: Sequence[int],
    places: Sequence[int],
) -> Channels:
    """The channels of ``features``, which have time profiles and rows in them, at ``places`` in the baseline."""
    kinds = [_kinds(feature) for feature in features]
    hours = [_hours(feature) for feature in features]
    terms = [
        _Terms(offset + each.positions, each.weights, offset + each.extra, each.extra_weight)
        for feature, offset in zip(features, offsets)
        for each in _terms(feature)
    ]
    profiles = [_time(feature) for feature in features]
    owner = np.repeat(np.arange(len(features)), [len(each) for each in kinds])
    rows = np.stack([profile.counts.sum(axis=1) for profile in profiles], axis=1).astype(np.float64)
    presence = np.maximum(np.stack([1 - _missing(profile).mean[:, 0] for profile in profiles], axis=1), 1e-9)
    group = np.stack([profile.groups for profile in profiles], axis=1)
    kind = np.concatenate([np.array(each, np.intp) for each in kinds])
    weight = np.where(kind == Kind.MISSING, 1.0, presence[:, owner])
    return Channels(
        places=np.array(places, np.intp),
        offsets=np.array(offsets, np.intp),
        firsts=np.cumsum([0, *(len(each) for each in kinds)]).astype(np.intp),
        owner=owner.astype(np.intp),
        kind=kind,
        min_effect=np.array([_min_effect(k, own) for each, own in zip(kinds, min_effects) for k in each]),
        positions=np.concatenate([each.positions for each in terms]).astype(np.intp),
        weights=np.concatenate([each.weights for each in terms]),
        terms=np.cumsum([0, *(len(each.positions) for each in terms[:-1])]).astype(np.intp),
        extra=np.array([each.extra for each in terms], np.intp),
        extra_weight=np.array([each.extra_weight for each in terms]),
        mean=weight * np.concatenate([each.mean for each in hours], axis=1),
        variance=weight * np.concatenate([each.variance for each in hours], axis=1),
        skewness=np.concatenate([each.skewness for each in hours]),
        presence=presence,
        presence_error=presence**2 / (rows + PRIOR_ROWS),
        groups=np.where(group == np.arange(GROUPS)[:, None, None], presence, 0.0),
        correlation=np.concatenate([_finite(profile.correlation) for profile in profiles], axis=2),
        error=np.concatenate([_error(profile) for profile in profiles], axis=1),
        tail=np.concatenate([np.clip(profile.tail, 1e-3, 1) for profile in profiles], axis=1),
        clustering=np.concatenate([np.clip(profile.clustering, 0, 1) for profile in profiles]),
    )


def expected_cdf(feature: NumericBaseline) -> Floats:
    """The cumulative share (HOURS, E) of rows at or below each edge, within each hour."""
    counts = _time(feature).counts.astype(np.float64)
    overall = np.cumsum(counts.sum(axis=0)) / counts.sum()
    cdf: Floats = (np.cumsum(counts, axis=1) + PRIOR_ROWS * overall) / (counts.sum(axis=1, keepdims=True) + PRIOR_ROWS)
    return cdf


def _time(feature: FeatureBaseline) -> TimeProfile:
    assert feature.time is not None
    return feature.time


def _finite(correlation: Floats) -> Floats:
    return np.maximum(np.nan_to_num(np.asarray(correlation, np.float64), nan=1.0, posinf=1e3), 0.0)


def _error(profile: TimeProfile) -> Floats:
    """Of each length and channel the sum of step² / freedom over this and all longer lengths, see `freedom_with`."""
    each = np.square(profile.steps.astype(np.float64)) / np.maximum(profile.freedom, 1)
    return np.cumsum(each[::-1], axis=0)[::-1][: len(profile.tail)]


def _kinds(feature: FeatureBaseline) -> Sequence[Kind]:
    if isinstance(feature, NumericBaseline):
        return NUMERIC_KINDS
    return (*[Kind.SHARE] * (own_categories(feature) + 1), Kind.UNSEEN, Kind.MISSING)


def _min_effect(kind: Kind, min_effects: Mapping[str, float]) -> float:
    if kind == Kind.SCALE:  # a standard deviation that is larger by this part, in squared normal scores
        with np.errstate(over="ignore"):
            return float(np.square(1 + MIN_EFFECT_PART * np.float64(min_effects["std"])) - 1)
    return MIN_EFFECT_PART * min_effects[_CHECKS[kind]]


_CHECKS = {
    Kind.LOCATION: "mean",
    Kind.OUTSIDE: "range",
    Kind.MISSING: "missing",
    Kind.DISTRIBUTION: "ks",
    Kind.SHARE: "frequency",
    Kind.UNSEEN: "new_category",
}


def _scores(feature: NumericBaseline) -> tuple[Floats, Floats]:
    """The location and the scale score of each bin (E + 1,)."""
    scores = bin_scores(baseline_bins(feature)[None].astype(np.float64))
    return scores.location[0], scores.scale[0]


def _hours(feature: FeatureBaseline) -> _Hours:
    """Of all channels of a feature, in their order."""
    profile = _time(feature)
    counts = profile.counts.astype(np.float64)
    rows = counts.sum(axis=1)
    unfamiliar, missing = _shrunk(_column(profile.unfamiliar), _column(profile.unfamiliar), rows), _missing(profile)
    if isinstance(feature, NumericBaseline):
        z = np.stack(_scores(feature), axis=1)[: counts.shape[1]]
        scores = _shrunk(counts @ z, counts @ z**2, rows)
        weights, total = counts.sum(axis=0), max(rows.sum(), 1.0)
        centred = z - weights @ z / total
        third, second = weights @ centred**3 / total, weights @ centred**2 / total
        skewness = third / np.maximum(second, 1e-12) ** 1.5
        distribution = _Hours(np.zeros((HOURS, 1)), np.ones((HOURS, 1)), np.zeros(1))
        return _joined([scores._replace(skewness=skewness), unfamiliar, missing, distribution])
    return _joined([_shrunk(counts, counts, rows), unfamiliar, missing])


def _missing(profile: TimeProfile) -> _Hours:
    missing = _column(profile.missing)
    return _shrunk(missing, missing, profile.counts.sum(axis=1) + missing[:, 0])


def _column(counts: Integers) -> Floats:
    return np.asarray(counts, np.float64)[:, None]


def _joined(parts: Sequence[_Hours]) -> _Hours:
    mean, variance, skewness = zip(*parts)
    return _Hours(np.concatenate(mean, axis=1), np.concatenate(variance, axis=1), np.concatenate(skewness))


def _shrunk(sums: Floats, squares: Floats, rows: Floats) -> _Hours:
    """Of channels with these sums and sums of squares (HOURS, k) over the ``rows`` (HOURS,) of each hour."""
    total = max(float(rows.sum()), 1.0)
    mean, square = sums.sum(axis=0) / total, squares.sum(axis=0) / total
    overall = np.maximum(square - mean**2, 0)
    n = (rows + PRIOR_ROWS)[:, None]
    of_hour = (sums + PRIOR_ROWS * mean) / n
    variance = np.maximum((squares + PRIOR_ROWS * square) / n - of_hour**2, LEAST_VARIANCE * overall)
    return _Hours(of_hour, np.maximum(variance, 1e-12), np.zeros(sums.shape[1]))


def _terms(feature: FeatureBaseline) -> Iterator[_Terms]:
    """The terms of each channel's sum, at positions in the feature's part of a tally vector."""
    one, missing = np.ones(1), np.array([fields.MISSING])
    absent = _Terms(missing, one, fields.MISSING, 1.0)
    if isinstance(feature, NumericBaseline):
        location, scale = _scores(feature)
        bins = fields.BINS + np.arange(len(location))
        infinite = float(feature.invalid == 0)  # infinities are beyond every range, unless the baseline had some
        yield _Terms(bins, location, fields.MISSING, 0.0)
        yield _Terms(bins, scale, fields.MISSING, 0.0)
        outside = np.array([fields.OUTSIDE, fields.INFINITE])
        yield _Terms(outside, np.array([1.0, infinite]), fields.INFINITE, infinite)
        yield absent
        yield _Terms(missing, np.zeros(1), fields.MISSING, 0.0)
        return
    own, all_categories = own_categories(feature), len(feature.categories)
    for category in range(own):
        yield _Terms(np.array([fields.CATEGORIES + category]), one, fields.MISSING, 0.0)
    rest = fields.CATEGORIES + np.arange(own, all_categories)
    yield _Terms(rest, np.ones(len(rest)), fields.MISSING, 0.0) if len(rest) else _Terms(missing, 0 * one, 0, 0.0)
    yield _Terms(np.array([fields.UNSEEN]), one, fields.MISSING, 0.0)
    yield absent


def is_timed(feature: FeatureBaseline) -> bool:
    """Whether a feature has a time profile that holds rows, and so is judged by it."""
    known = isinstance(feature, (NumericBaseline, CategoricalBaseline)) and feature.count > 0
    return known and feature.time is not None and bool(feature.time.counts.sum() > 0)
