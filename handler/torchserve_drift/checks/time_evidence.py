"""The evidence on features that have time profiles, from the deviations of their channels."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple, Optional

import numpy as np

from torchserve_drift.baseline.profile import CategoricalBaseline, NumericBaseline
from torchserve_drift.checks.evidence import CheckedModel, Evidence, FeatureEvidence, WindowView
from torchserve_drift.checks.time_channels import MIN_EFFECT_PART, Channels, Kind, channels_of
from torchserve_drift.checks.time_deviations import Deviations
from torchserve_drift.checks.time_distances import Distances, share_distances
from torchserve_drift.checks.time_significance import (
    OWN_CHECK,
    matters,
    p_of,
    p_of_wrong_types,
    parts_of,
    standard_errors,
    weights_of,
)
from torchserve_drift.stats.arrays import Floats
from torchserve_drift.stats.unseen import unseen_categories_p
from torchserve_drift.window import fields

_LOCATION, _SCALE, _OUTSIDE, _MISSING, _DISTRIBUTION = range(5)
"""The places of a numeric feature's channels; a categorical one ends with those of unseen and missing values."""


class TimedFeatures:
    """Features that are looked at together. Thread-safe."""

    def __init__(self, model: CheckedModel, places: Sequence[int]) -> None:
        self._features = [model.profile.features[i] for i in places]
        self._min_effects = [model.min_effects[i] for i in places]
        self._layout = model.layout
        offsets = [model.layout.offsets[i] for i in places]
        self.channels: Channels = channels_of(self._features, self._min_effects, offsets, places)
        self._parts = parts_of(self.channels)
        self._is_share = self.channels.kind == Kind.SHARE
        self._unseen = np.flatnonzero(self.channels.kind == Kind.UNSEEN)
        self._missing = np.flatnonzero(self.channels.kind == Kind.MISSING)
        self._has_own_check = np.isin(self.channels.kind, OWN_CHECK)
        self._wrong_type = MIN_EFFECT_PART * np.array([each["wrong_type"] for each in self._min_effects])
        self._distances = Distances(self._features, self.channels)

    def main_correlations(self, found: Deviations) -> Iterator[tuple[int, float]]:
        """The place of each feature, and the correlation of its main channels in the whole window."""
        main = self._is_share | (self.channels.kind == Kind.LOCATION)
        correlation = np.maximum.reduceat(np.where(main, found.learnt[-1], 0.0), self.channels.firsts[:-1])
        yield from zip(self.channels.places.tolist(), correlation.tolist())

    def revised(
        self, window: WindowView, found: Deviations, evidence: Sequence[FeatureEvidence]
    ) -> Iterator[tuple[int, FeatureEvidence]]:
        """By feature, what takes the place of its ``evidence``: the same checks, each against what hours let expect."""
        errors = standard_errors(self.channels, found)
        weights = weights_of(self.channels, found) * self._parts
        # the whole window's deviations have checks of their own, those of spans only where a check could fail
        which = matters(errors) & (weights > 0)
        which[-1] = True
        p = p_of(self.channels, found, which)
        self._raise_unseen(window, found, p)
        whole = self._whole(window, found, p[-1])
        adjusted = _adjusted(p, weights, errors)
        of_cusum = np.where(self._has_own_check, np.inf, adjusted)
        deviations, firsts = _in_units(self.channels, found.deviation), self.channels.firsts.tolist()
        of_spans = {
            channel: _clearest(adjusted[:, [channel]], deviations[:, [channel]], [whole.min_effects[channel]])
            for channel in np.flatnonzero(self._has_own_check).tolist()
        }
        for f, place in enumerate(window.paced(self.channels.places.tolist())):
            old = evidence[place]
            if old:
                new = dict(old)
                own = slice(firsts[f], firsts[f + 1])
                changed = _clearest(of_cusum[:, own], deviations[:, own], whole.min_effects[own])
                if changed is not None and "cusum" in old:
                    new["cusum"] = changed
                new.update(self._others(f, own, whole, of_spans, old))
                yield place, new

    def _whole(self, window: WindowView, found: Deviations, p: Floats) -> _Whole:
        tally, deviation = window.rows.tally, found.deviation[-1]
        # of several shares the surest one, and of those that are not sure at all the largest
        order = np.where(self._is_share, np.where(p < 1, p, 2 - np.minimum(np.abs(deviation), 1)), np.inf)
        p_values, distances = self._distances.significance(tally, found)
        return _Whole(
            p.tolist(),
            _in_units(self.channels, deviation).tolist(),
            _in_units(self.channels, self.channels.min_effect).tolist(),
            order,
            p_values.tolist(),
            distances.tolist(),
            share_distances(self.channels, found).tolist(),
            p_of_wrong_types(self.channels, found, tally, self._missing, self._wrong_type).tolist(),
        )

    def _others(
        self,
        f: int,
        own: slice,
        whole: _Whole,
        of_spans: Mapping[int, Optional[Evidence]],
        old: FeatureEvidence,
    ) -> Iterator[tuple[str, Evidence]]:
        """The checks of feature ``f``, whose channels are ``own``, but `cusum`.

        All are of the whole window but `missing` and `range`, for which ``of_spans`` has the surest span of a channel.
        """
        first, end = own.start, own.stop
        if isinstance(self._features[f], NumericBaseline):
            missing = first + _MISSING
            if "mean" in old:
                yield "mean", whole.evidence(first + _LOCATION)
                yield "std", whole.evidence(first + _SCALE)
            if "range" in old:
                outside = of_spans[first + _OUTSIDE]
                yield "range", (outside or whole.evidence(first + _OUTSIDE))._replace(statistic=old["range"].statistic)
            if "ks" in old:
                least = whole.min_effects[first + _DISTRIBUTION]
                yield "ks", old["ks"]._replace(effect=whole.distances[f], min_effect=least, bound=whole.p_distances[f])
        else:
            missing, unseen = end - 1, end - 2
            if "chi2" in old:
                surest = first + int(whole.order[first:unseen].argmin())
                p = min(whole.p_values[surest] * (unseen - first), 1.0)
                least = MIN_EFFECT_PART * self._min_effects[f]["chi2"]
                yield "chi2", old["chi2"]._replace(effect=whole.share_distances[f], min_effect=least, bound=p)
                yield "frequency", whole.evidence(surest)._replace(p_value=p)
                yield "new_category", _not_below(whole.evidence(unseen), old["new_category"])
        if "missing" in old:
            yield "missing", (of_spans[missing] or whole.evidence(missing))._replace(statistic=old["missing"].statistic)
        if "wrong_type" in old:
            found = old["wrong_type"]
            new = found._replace(p_value=whole.p_wrong_types[f], min_effect=float(self._wrong_type[f]))
            yield "wrong_type", _not_below(new, found)

    def _raise_unseen(self, window: WindowView, found: Deviations, p: Floats) -> None:
        """Let no p-value of unseen categories be below that of independent rows, see `unseen_categories_p`."""
        for span, i in zip(*np.nonzero(p[:, self._unseen] < 1)):
            channel = self._unseen[i]
            f = int(self.channels.owner[channel])
            feature = self._features[f]
            assert isinstance(feature, CategoricalBaseline)
            tally = self._layout.part(window.rows.spans[span], int(self.channels.places[f]))
            effect = float(found.design_effect[span, channel])
            counts = np.floor(tally[fields.CATEGORIES :] / effect).astype(np.int64)
            least = unseen_categories_p(int(tally[fields.UNSEEN] // effect), feature.counts, counts)
            p[span, channel] = max(p[span, channel], least)


class _Whole(NamedTuple):
    """The whole window: lists of C channels, or of F features.

    ``p_values``, ``deviations`` and ``min_effects`` (C,), the latter two in the units of the checks; ``order`` (C,) in
    which a share is looked at; ``p_distances`` and ``distances`` (F,) of `ks`, ``share_distances`` (F,) of `chi2`, and
    ``p_wrong_types`` (F,).
    """

    p_values: list[float]
    deviations: list[float]
    min_effects: list[float]
    order: Floats
    p_distances: list[float]
    distances: list[float]
    share_distances: list[float]
    p_wrong_types: list[float]

    def evidence(self, channel: int) -> Evidence:
        deviation = self.deviations[channel]
        return Evidence(self.p_values[channel], deviation, abs(deviation), self.min_effects[channel])


def _in_units(channels: Channels, deviations: Floats) -> Floats:
    """Deviations (..., C) in the units of minimum effects: squared normal scores as standard deviations."""
    spread = channels.kind == Kind.SCALE
    return np.where(spread, np.sqrt(np.maximum(1 + deviations, 0)) - 1, deviations)


def _adjusted(p: Floats, weights: Floats, errors: Floats) -> Floats:
    """p-values (S, C) divided by their parts of the level. Those of 1 are in the order of their standard errors, from
    1 to 2; infinite where a span has no part."""
    divided = np.where(weights > 0, p / np.where(weights > 0, weights, 1), np.inf)
    order = 1 + 1 / (1 + np.maximum(errors, 0))
    return np.where(weights > 0, np.where(divided < 1, divided, order), np.inf)


def _clearest(adjusted: Floats, deviations: Floats, min_effects: Sequence[float]) -> Optional[Evidence]:
    """The surest change of any span and channel (S, k) of a feature; ``None`` where no span has enough rows."""
    best = int(adjusted.argmin())
    p = float(adjusted.flat[best])
    if p == np.inf:
        return None
    deviation = float(deviations.flat[best])
    return Evidence(min(p, 1.0), deviation, abs(deviation), min_effects[best % len(min_effects)])


def _not_below(new: Evidence, old: Evidence) -> Evidence:
    """``new``, no surer than ``old``, whose p-value is that of independent rows and whose statistic is a share."""
    return new._replace(p_value=max(new.p_value, old.p_value), statistic=old.statistic)
