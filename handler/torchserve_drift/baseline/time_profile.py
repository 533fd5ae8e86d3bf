"""How a feature varied over the hours, days and weeks of the training data: what real traffic does without drift."""

from __future__ import annotations

from dataclasses import dataclass

from torchserve_drift.stats.arrays import Floats, Integers

HOURS = 168
"""Hours of the week, by epoch time: hour 0 begins on Thursday at 00:00 UTC, as the epoch did."""

DAY_SECONDS = 86400.0

LENGTHS = (
    150.0, 300.0, 600.0, 1200.0, 2400.0, 3600.0, 5400.0, 8100.0, 10800.0, 16200.0, 27000.0, 43200.0, 64800.0,
    DAY_SECONDS, 3 * DAY_SECONDS, 7 * DAY_SECONDS, 28 * DAY_SECONDS,
)  # fmt: skip
"""Seconds: the lengths of windows of training time whose deviations from the profile were measured."""

TESTED_LENGTHS = tuple(length for length in LENGTHS if length <= DAY_SECONDS)
"""Those that windows of production are compared with."""

GROUPS = 4
"""Hours of the week are divided into so many groups, from steady to unsteady hours."""


@dataclass(frozen=True, eq=False)
class TimeProfile:
    """One feature's variation over training time.

    A channel is a bounded score of a value, so that the sum of a channel over rows follows from tallies alone;
    `channels.names_of` lists the K channels of a feature. A window's deviation is its mean score less what the hours of
    its rows let expect.

    Parameters
    ----------
    counts
        (HOURS, B) training rows by hour of the week, in each bin of a numeric feature (one per edge) or each category.
    missing
        (HOURS,) training rows without a value.
    groups
        (HOURS,) the group of each hour, from 0, steady, to GROUPS - 1.
    correlation
        (len(TESTED_LENGTHS), GROUPS, K) the correlation of rows within a window of each length, 0 or more, not
        increasing with the length: n rows tell as much as 1 / (1/n + correlation) independent ones.
    steps, freedom
        (len(LENGTHS), K) the part of the correlation that each length adds to the next longer one's, and from how many
        independent windows it is known (degrees of freedom).
    tail
        (len(TESTED_LENGTHS), K) in (0, 1]: the exponent that makes p-values of training windows as rare as they claim.
    clustering
        (K,) in [0, 1]: the correlation of rows that arrived together in training.
    """

    counts: Integers
    missing: Integers
    groups: Integers
    correlation: Floats
    steps: Floats
    freedom: Floats
    tail: Floats
    clustering: Floats
