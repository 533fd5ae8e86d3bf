"""p-values of the deviations of channels, where exact ones can matter."""

from __future__ import annotations

import numpy as np

from torchserve_drift.checks.span_weights import span_weights
from torchserve_drift.checks.time_channels import Channels, Kind
from torchserve_drift.checks.time_deviations import Deviations
from torchserve_drift.stats.arrays import Bools, Floats, Indices
from torchserve_drift.stats.deviations import distance_p, score_p, share_p
from torchserve_drift.stats.kolmogorov import least_two_sample_p
from torchserve_drift.stats.proportions import two_proportions_p
from torchserve_drift.window import fields

LOCATION_PART, SCALE_PART = 0.85, 0.15
"""Parts of the level of `cusum` of a numeric feature, as without a time profile."""

SHARES_PART, UNSEEN_PART = 0.75, 0.25
"""Parts of the level of `cusum` of a categorical feature; that of shares is divided among the channels."""

OWN_CHECK = (Kind.OUTSIDE, Kind.MISSING)
"""Channels with a check of their own, which looks at all spans: a feed that fails for hours is little of a day."""

_FEWEST_DEVIATIONS = 2.0
"""A span whose deviation beyond the minimum effect has fewer standard errors is not looked at: p would be 0.01 or
more, which is above all levels once it is divided by the span's part. Nearly all spans are such, and cheap."""


def p_of(channels: Channels, found: Deviations, which: Bools) -> Floats:
    """p-values (S, C) of deviations no larger than their minimum effects, 1 where not ``which`` (S, C).

    None is below what independent rows would say: neither of this expectation as learnt from the rows of its hours,
    nor of any ranks of so few rows.
    """
    p = np.ones(which.shape)
    with_gap = which & (np.abs(found.deviation) > channels.min_effect) & (channels.kind != Kind.DISTRIBUTION)
    for of_kind, tails in ((~channels.is_share, _scores), (channels.is_share, _shares)):
        spans, places = np.nonzero(with_gap & of_kind)
        if len(spans):
            p[spans, places] = tails(channels, found, (spans, places))
    return p


_Entries = tuple[np.ndarray, np.ndarray]


def _scores(channels: Channels, found: Deviations, at: _Entries) -> Floats:
    p = score_p(
        found.deviation[at],
        found.variance[at],
        channels.skewness[at[1]],
        inverse=found.inverse[at],
        freedom=found.freedom[at],
        min_effect=channels.min_effect[at[1]],
    )
    rows = np.maximum(found.rows[at] / found.design_effect[at], 1)
    return np.maximum(p ** found.tail[at], least_two_sample_p(found.profile_rows[at], rows))


def _shares(channels: Channels, found: Deviations, at: _Entries) -> Floats:
    deviation, expected = found.deviation[at], np.clip(found.expected[at], 0, 1)
    p = share_p(
        deviation,
        expected,
        inverse=found.inverse[at],
        correlation=found.correlation[at],
        freedom=found.freedom[at],
        min_effect=channels.min_effect[at[1]],
    )
    before, now = np.floor(found.profile_rows[at]), np.floor(found.rows[at] / found.design_effect[at])
    hits = np.clip(np.round((expected + deviation) * now), 0, now)
    independent = two_proportions_p(np.clip(np.round(expected * before), 0, before), before, hits, now)
    return np.maximum(p ** found.tail[at], independent)


def p_of_distances(channels: Channels, found: Deviations, which: Indices, distances: Floats) -> Floats:
    """p-values of the ``distances`` of the channels ``which``, between whole windows and what is expected."""
    at = (np.full(len(which), -1), which)
    p = distance_p(
        distances, inverse=found.inverse[at], freedom=found.freedom[at], min_effect=channels.min_effect[which]
    )
    rows = np.maximum(found.rows[at] / found.design_effect[at], 1)
    raised: Floats = np.maximum(p ** found.tail[at], least_two_sample_p(found.profile_rows[at], rows))
    return raised


def p_of_wrong_types(
    channels: Channels, found: Deviations, tally: Floats, missing: Indices, min_effects: Floats
) -> Floats:
    """p-values (F,) of values of a wrong type in the whole window: training has none, and they come together as
    ``missing`` ones, whose channels are given, do."""
    wrong = tally[channels.offsets + fields.MISTYPED]
    rows = wrong + tally[channels.offsets + fields.VALID] + tally[channels.offsets + fields.MISSING]
    correlation = found.correlation[-1, missing]
    p = share_p(
        wrong / np.maximum(rows, 1),
        0.0,
        inverse=found.design_effect[-1, missing] / np.maximum(rows, 1) + correlation,
        correlation=correlation,
        freedom=found.freedom[-1, missing],
        min_effect=min_effects,
    )
    raised: Floats = p ** found.tail[-1, missing]
    return raised


def parts_of(channels: Channels) -> Floats:
    """Each channel's part (C,) of the level of its check: `cusum`, but `missing` and `range` for `OWN_CHECK`."""
    parts = np.zeros(len(channels.kind))
    for kind, part in ((Kind.LOCATION, LOCATION_PART), (Kind.SCALE, SCALE_PART), (Kind.UNSEEN, UNSEEN_PART)):
        parts[channels.kind == kind] = part
    parts[np.isin(channels.kind, OWN_CHECK)] = 1.0
    shares = channels.kind == Kind.SHARE
    count = np.bincount(channels.owner, shares, minlength=len(channels.places))
    parts[shares] = SHARES_PART / count[channels.owner[shares]]
    return parts


def weights_of(channels: Channels, found: Deviations) -> Floats:
    """The weight of each span for each channel (S, C), see `span_weights`; faults of a pipeline show in few rows."""
    rows = found.rows[:, channels.firsts[:-1]]
    weights = span_weights(rows)[:, channels.owner]
    unseen, own = channels.kind == Kind.UNSEEN, np.isin(channels.kind, OWN_CHECK)
    weights[:, unseen] = span_weights(rows, -1.0)[:, channels.owner[unseen]]
    weights[:, own] = span_weights(found.rows[:, own], -1.0)
    return weights


def standard_errors(channels: Channels, found: Deviations) -> Floats:
    """The size of each deviation beyond its minimum effect, in standard errors (S, C)."""
    with np.errstate(over="ignore"):
        beyond = np.abs(found.deviation) - channels.min_effect
    errors: Floats = beyond / np.sqrt(found.variance * found.inverse)
    return errors


def matters(errors: Floats) -> Bools:
    """Which spans are worth an exact p-value."""
    some: Bools = errors > _FEWEST_DEVIATIONS
    return some
