"""How far the rows of each span of a window are from what their hours let expect, and how sure that is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from torchserve_drift.baseline.time_profile import GROUPS, TESTED_LENGTHS
from torchserve_drift.checks.evidence import WindowView
from torchserve_drift.checks.time_channels import Channels, Kind
from torchserve_drift.stats.arrays import Floats
from torchserve_drift.stats.effective_rows import clustered_effect, freedom_with
from torchserve_drift.window import fields
from torchserve_drift.window.hours import RowsInTime

_TESTED = np.array(TESTED_LENGTHS)


@dataclass(frozen=True, eq=False)
class Deviations:
    """Of each channel in each span (S, C), see `time_channels.Channels`.

    ``rows``; ``deviation`` of the mean score from ``expected``, 0 without rows; ``variance`` of one row's score;
    ``design_effect`` of requests; ``learnt`` correlation of the rows; ``correlation``: it, or the profile's own error
    where that is larger; ``inverse`` = design_effect / rows + correlation, which is known with ``freedom``; ``tail``:
    the exponent of p-values.
    ``profile_rows``: so many training rows the expectation is worth. ``hours`` (F, HOURS): the weights of the hours
    in what the whole window lets expect of each feature's values.
    """

    rows: Floats
    deviation: Floats
    expected: Floats
    variance: Floats
    design_effect: Floats
    learnt: Floats
    correlation: Floats
    inverse: Floats
    freedom: Floats
    tail: Floats
    profile_rows: Floats
    hours: Floats


def deviations_of(channels: Channels, window: WindowView) -> Deviations:
    """The deviations of a window of time."""
    spans, in_time = window.rows.spans, window.rows.in_time
    rows, sums = channels.sums(spans)
    expected, variance, hours = _expected(channels, in_time, rows)
    some = np.maximum(rows, 1)
    learnt, error, tail = _correlation(channels, in_time)
    own_error = _profile_error(channels, in_time.hours)
    correlation = np.maximum(learnt, own_error)
    design_effect = _design_effects(channels, window)
    inverse = design_effect / some + correlation
    return Deviations(
        rows,
        np.where(rows > 0, sums / some - expected, 0.0),
        expected,
        np.maximum(variance, 1e-12),
        design_effect,
        learnt,
        correlation,
        inverse,
        freedom_with(inverse, error),
        tail,
        1 / own_error,
        hours,
    )


def _expected(channels: Channels, in_time: RowsInTime, rows: Floats) -> tuple[Floats, Floats, Floats]:
    """Mean and variance of a row's score (S, C), as mixtures over the hours of the rows, and the weights of hours."""
    # Between the ends of two spans lies one slice of time. Within it, a feature's values are divided among hours as
    # all rows are, times the part of rows that has a value in this hour.
    slices, of_slices = np.diff(in_time.hours, axis=0, prepend=0), np.diff(rows, axis=0, prepend=0)
    with_value = slices @ channels.presence
    is_missing = channels.kind == Kind.MISSING
    weight = np.where(is_missing, slices.sum(axis=1, keepdims=True), with_value[:, channels.owner])
    scale, some = of_slices / np.maximum(weight, 1e-12), np.maximum(rows, 1)
    mean, variance = (
        np.cumsum(scale * (slices @ of_hours), axis=0) / some for of_hours in (channels.mean, channels.variance)
    )
    values = of_slices[:, channels.firsts[:-1]] / np.maximum(with_value, 1e-12)
    hours = (values.T @ slices) * channels.presence.T
    return mean, variance, hours / np.maximum(hours.sum(axis=1, keepdims=True), 1e-12)


def _correlation(channels: Channels, in_time: RowsInTime) -> tuple[Floats, Floats, Floats]:
    """Correlation, its squared error and the exponent of tails (S, C), by the time over which the rows lie.

    The largest learnt length that is no longer is taken: its correlation is no smaller. Rows of a shorter time than
    any that was learnt are correlated more, in proportion, up to 1.
    """
    lengths = np.maximum(in_time.lengths, 1e-3)
    place = np.maximum(np.searchsorted(_TESTED, lengths + 1e-6, side="right") - 1, 0)
    found = np.zeros((len(place), len(channels.kind)))
    total = np.maximum(in_time.hours @ channels.presence, 1e-12)
    for group in range(GROUPS):
        share = in_time.hours @ channels.groups[group] / total
        found += share[:, channels.owner] * channels.correlation[place, group]
    shorter = np.maximum(_TESTED[0] / lengths, 1)[:, None]
    correlation = np.minimum(found * shorter, np.maximum(found, 1))
    return correlation, channels.error[place], channels.tail[place]


def _profile_error(channels: Channels, hours: Floats) -> Floats:
    """The variance (S, C) of what is expected, in that of one row: each hour was learnt from so many rows only."""
    total = np.maximum(hours @ channels.presence, 1e-12)
    squared: Floats = (hours**2 @ channels.presence_error) / total**2
    return np.maximum(squared, 1e-12)[:, channels.owner]


def _design_effects(channels: Channels, window: WindowView) -> Floats:
    """The larger of what requests of these sizes had in training and of what they have now (S, C)."""
    spans, is_missing = window.rows.spans, channels.kind == Kind.MISSING
    values = channels.offsets[channels.owner]
    rows = np.where(is_missing, spans[:, [fields.ROWS]], spans[:, values + fields.VALID])
    squares = np.where(is_missing, spans[:, [fields.REQUESTS_SQUARED]], spans[:, values + fields.SIZES_SQUARED])
    learnt = clustered_effect(channels.clustering, rows, squares)
    places = channels.places[channels.owner]
    # that of absence is known of the whole window, the only one whose missing values are looked at
    now = np.where(is_missing, window.absence_design_effects[places], window.span_design_effects[:, places])
    return np.maximum(learnt, now)
