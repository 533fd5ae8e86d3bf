"""The checks of features that have a time profile, in windows of time: against what the hours of the rows let expect.

They take the place of the checks by which features without a time profile are judged, under the same names.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Optional

import numpy as np

from torchserve_drift.baseline.profile import CategoricalBaseline, NumericBaseline
from torchserve_drift.baseline.time_profile import DAY_SECONDS
from torchserve_drift.checks.categorical import AT_ONCE
from torchserve_drift.checks.evidence import CheckedModel, Evidence, FeatureEvidence, WindowView
from torchserve_drift.checks.time_channels import MIN_EFFECT_PART, Channels, Kind, channels_of, expected_cdf, is_timed
from torchserve_drift.checks.time_deviations import Deviations, deviations_of
from torchserve_drift.checks.time_significance import (
    matters,
    p_of,
    p_of_distance,
    parts_of,
    standard_errors,
    weights_of,
)
from torchserve_drift.stats.arrays import Floats
from torchserve_drift.stats.deviations import share_p
from torchserve_drift.stats.unseen import unseen_categories_p
from torchserve_drift.window import fields
from torchserve_drift.window.hours import RowsInTime

UNEVEN_SECONDS = 3600.0
"""Rows of a window of at most this length are judged however they come."""

LEAST_SPREAD, LEAST_SPREAD_OF_DAYS = 0.25, 0.5
"""The part of the window's length over which the rows of longer windows must lie, and of windows of a day or more: 200
rows of the night are no verdict on a day."""


def is_spread(in_time: RowsInTime) -> bool:
    """Whether a window's rows lie over enough of its time for a verdict on features with time profiles."""
    if in_time.seconds is None or in_time.seconds <= UNEVEN_SECONDS:
        return True
    return in_time.spread >= (LEAST_SPREAD_OF_DAYS if in_time.seconds >= DAY_SECONDS else LEAST_SPREAD)


@dataclass(frozen=True, eq=False)
class TimedWindow:
    """What was measured in a window of time: the deviations of each batch of features."""

    batches: Sequence[Deviations]


class TimeChecks:
    """The checks of all features of a model that have time profiles. Thread-safe."""

    def __init__(self, model: CheckedModel) -> None:
        timed = [i for i, feature in enumerate(model.profile.features) if is_timed(feature)] if model.in_time else []
        self.places = timed
        self._features = len(model.profile.features)
        self._batches = [_Batch(model, timed[start : start + AT_ONCE]) for start in range(0, len(timed), AT_ONCE)]

    def measured(self, window: WindowView) -> Optional[TimedWindow]:
        """The deviations in a window; ``None`` for a window of rows, and without features that have time profiles."""
        if window.rows.in_time.seconds is None or not self._batches:
            return None
        return TimedWindow([deviations_of(batch.channels, window) for batch in window.paced(self._batches)])

    def correlations(self, found: TimedWindow) -> dict[int, float]:
        """By feature, how much the rows of the whole window are correlated in time: in the location of a numeric
        feature, in the most correlated share of a categorical one."""
        pairs = zip(self._batches, found.batches)
        return {place: rho for batch, of_batch in pairs for place, rho in batch.main_correlations(of_batch)}

    def needs_more_time(self, in_time: RowsInTime) -> bool:
        """Whether no feature can be judged in a window, since all have time profiles and its rows came too unevenly."""
        return len(self.places) == self._features and not is_spread(in_time)

    def revised(
        self, window: WindowView, found: TimedWindow, evidence: Sequence[FeatureEvidence]
    ) -> Iterator[tuple[int, FeatureEvidence]]:
        """By feature, what takes the place of its ``evidence``: nothing where rows do not lie over enough time."""
        if not is_spread(window.rows.in_time):
            yield from ((place, {}) for place in self.places)
            return
        for batch, of_batch in zip(self._batches, found.batches):
            yield from batch.revised(window, of_batch, evidence)


class _Batch:
    """Features that are looked at together."""

    def __init__(self, model: CheckedModel, places: Sequence[int]) -> None:
        self._features = [model.profile.features[i] for i in places]
        self._min_effects = [model.min_effects[i] for i in places]
        self._layout = model.layout
        offsets = [model.layout.offsets[i] for i in places]
        self.channels: Channels = channels_of(self._features, self._min_effects, offsets, places)
        self._parts = parts_of(self.channels)
        self._cdf = [expected_cdf(f) if isinstance(f, NumericBaseline) else np.zeros((0, 0)) for f in self._features]

    def main_correlations(self, found: Deviations) -> Iterator[tuple[int, float]]:
        """The place of each feature, and the correlation of its main channels in the whole window."""
        main = (self.channels.kind == Kind.LOCATION) | (self.channels.kind == Kind.SHARE)
        correlation = np.maximum.reduceat(np.where(main, found.learnt[-1], 0.0), self.channels.firsts[:-1])
        yield from zip(self.channels.places.tolist(), correlation.tolist())

    def revised(
        self, window: WindowView, found: Deviations, evidence: Sequence[FeatureEvidence]
    ) -> Iterator[tuple[int, FeatureEvidence]]:
        channels = self.channels
        errors = standard_errors(channels, found)
        weights = weights_of(channels, found) * self._parts
        whole = np.zeros(errors.shape, bool)
        whole[-1] = True
        p = p_of(channels, found, whole | (matters(errors) & (weights > 0)))
        self._raise_unseen(window, found, p)
        adjusted = _adjusted(p, weights, errors)
        for f, place in enumerate(channels.places.tolist()):
            old = evidence[place]
            if not old:
                continue
            one = _Feature(channels, found, p[-1], f)
            new = dict(old)
            changed = _clearest(one, adjusted)
            if changed is not None and "cusum" in old:
                new["cusum"] = changed
            new.update(self._of_whole_window(window, one, old))
            yield place, new

    def _of_whole_window(
        self, window: WindowView, one: _Feature, old: FeatureEvidence
    ) -> Iterator[tuple[str, Evidence]]:
        feature, min_effects = self._features[one.index], self._min_effects[one.index]
        part = self._layout.part(window.rows.tally, one.place)
        if isinstance(feature, NumericBaseline):
            for check, kind in (("mean", Kind.LOCATION), ("std", Kind.SCALE)):
                if check in old:
                    yield check, one.evidence(one.channel(kind))
            if "range" in old:
                yield "range", _not_below(one.evidence(one.channel(Kind.OUTSIDE)), old["range"])
            if "ks" in old:
                yield "ks", self._distribution(part, one, old["ks"])
        elif isinstance(feature, CategoricalBaseline) and "chi2" in old:
            shares = [c for c in one.channels if one.of.kind[c] == Kind.SHARE]
            surest = min(shares, key=lambda c: (one.p[c], -abs(one.found.deviation[-1, c])))
            p = min(float(one.p[surest]) * len(shares), 1.0)
            yield "frequency", one.evidence(surest)._replace(p_value=p)
            unseen = one.channel(Kind.UNSEEN)
            yield "new_category", _not_below(one.evidence(unseen), old["new_category"])
            effect = _share_distance(one.found, [*shares, unseen])
            yield "chi2", old["chi2"]._replace(effect=effect, min_effect=MIN_EFFECT_PART * min_effects["chi2"], bound=p)
        if "missing" in old:
            yield "missing", one.evidence(one.channel(Kind.MISSING))
        if "wrong_type" in old:
            yield "wrong_type", _wrong_type(part, one, old["wrong_type"], min_effects["wrong_type"])

    def _distribution(self, part: Floats, one: _Feature, old: Evidence) -> Evidence:
        channel = one.channel(Kind.DISTRIBUTION)
        counts = part[fields.BINS :]
        expected = one.found.hours[one.index] @ self._cdf[one.index]
        distance = float(np.abs(np.cumsum(counts)[:-1] / max(counts.sum(), 1) - expected).max())
        min_effect = float(one.of.min_effect[channel])
        bound = p_of_distance(one.found, channel, distance, min_effect)
        return old._replace(effect=distance, min_effect=min_effect, bound=bound)

    def _raise_unseen(self, window: WindowView, found: Deviations, p: Floats) -> None:
        """Let no p-value of unseen categories be below that of independent rows, see `unseen_categories_p`."""
        unseen = np.flatnonzero(self.channels.kind == Kind.UNSEEN)
        for span, i in zip(*np.nonzero(p[:, unseen] < 1)):
            channel = unseen[i]
            f = int(self.channels.owner[channel])
            feature = self._features[f]
            assert isinstance(feature, CategoricalBaseline)
            tally = self._layout.part(window.rows.spans[span], int(self.channels.places[f]))
            effect = float(found.design_effect[span, channel])
            counts = np.floor(tally[fields.CATEGORIES :] / effect).astype(np.int64)
            least = unseen_categories_p(int(tally[fields.UNSEEN] // effect), feature.counts, counts)
            p[span, channel] = max(p[span, channel], least)


@dataclass(frozen=True, eq=False)
class _Feature:
    """One feature of a batch: its channels, and their p-values ``p`` (C,) in the whole window."""

    of: Channels
    found: Deviations
    p: Floats
    index: int

    @property
    def place(self) -> int:
        return int(self.of.places[self.index])

    @property
    def channels(self) -> range:
        return range(int(self.of.firsts[self.index]), int(self.of.firsts[self.index + 1]))

    def channel(self, kind: Kind) -> int:
        return next(c for c in self.channels if self.of.kind[c] == kind)

    def evidence(self, channel: int, span: int = -1, p: Optional[float] = None) -> Evidence:
        """Of one channel in a span, in the unit of its minimum effect."""
        deviation, min_effect = float(self.found.deviation[span, channel]), float(self.of.min_effect[channel])
        if self.of.kind[channel] == Kind.SCALE:  # squared normal scores to standard deviations
            deviation, min_effect = float(np.sqrt(max(1 + deviation, 0.0)) - 1), float(np.sqrt(1 + min_effect) - 1)
        return Evidence(float(self.p[channel]) if p is None else p, deviation, abs(deviation), min_effect)


def _adjusted(p: Floats, weights: Floats, errors: Floats) -> Floats:
    """p-values (S, C) divided by their parts of the level. Those of 1 are in the order of their standard errors, from
    1 to 2; infinite where a span has no part."""
    divided = np.where(weights > 0, p / np.where(weights > 0, weights, 1), np.inf)
    order = 1 + 1 / (1 + np.maximum(errors, 0))
    return np.where(weights > 0, np.where(divided < 1, divided, order), np.inf)


def _clearest(one: _Feature, adjusted: Floats) -> Optional[Evidence]:
    """The surest change of any span; ``None`` where no span has enough rows."""
    own = adjusted[:, one.channels.start : one.channels.stop]
    span, channel = np.unravel_index(int(own.argmin()), own.shape)
    best = float(own[span, channel])
    if not np.isfinite(best):
        return None
    return one.evidence(one.channels.start + int(channel), int(span), min(best, 1.0))


def _not_below(new: Evidence, old: Evidence) -> Evidence:
    """``new``, no surer than ``old``, whose p-value is that of independent rows."""
    return new._replace(p_value=max(new.p_value, old.p_value))


def _share_distance(found: Deviations, channels: Sequence[int]) -> float:
    """The distance of shares of `stats.chisquare.share_distance`, from the expected ones."""
    expected = np.clip(found.expected[-1, channels], 0, 1)
    now = np.clip(expected + found.deviation[-1, channels], 0, 1)
    both = np.maximum(expected + now, 1e-300)
    return float(np.sqrt(min(float((found.deviation[-1, channels] ** 2 / both).sum()) / 2, 1.0)))


def _wrong_type(part: Floats, one: _Feature, old: Evidence, min_effect: float) -> Evidence:
    """Values of a wrong type, which training does not have: they come together as missing ones do."""
    missing, found = one.channel(Kind.MISSING), one.found
    rows = max(float(part[[fields.VALID, fields.MISSING, fields.MISTYPED]].sum()), 1.0)
    correlation = float(found.correlation[-1, missing])
    least = MIN_EFFECT_PART * min_effect
    p = share_p(
        old.effect,
        0.0,
        inverse=float(found.design_effect[-1, missing]) / rows + correlation,
        correlation=correlation,
        freedom=float(found.freedom[-1, missing]),
        min_effect=least,
    )
    return _not_below(old._replace(p_value=float(p) ** float(found.tail[-1, missing]), min_effect=least), old)
