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

PRIOR_ROWS = 50.0
"""An hour's mean score is taken over its own rows and so many rows of the whole training data: m_h = (S_h + 50 m) /
(n_h + 50). The same holds for its mean square, and so for its variance."""

LEAST_VARIANCE = 0.05
"""The variance of a score within an hour is at least this part of that over all hours."""


@dataclass(frozen=True, eq=False)
class TimeProfile:
    """One feature's variation over training time.

    A channel is a bounded score of a value, so that the sum of a channel over rows follows from tallies alone;
    `channels.names_of` lists the K channels of a feature. A window's deviation is its mean score less what the hours of
    its rows let expect.

    Parameters
    ----------
    counts
        (HOURS, B) training rows by hour of the week: in each bin of a numeric feature, one per edge; in each category
        that has a channel of its own, and in all others together (B = `channels.own_categories` + 1).
    missing
        (HOURS,) training rows without a value. Infinite values are in neither count.
    unfamiliar
        (HOURS,) training rows that the other half of training time does not know: values outside its range, or in
        categories that it lacks. This is what the channels ``outside`` and ``unseen`` expect.
    groups
        (HOURS,) the group of each hour, from 0, steady, to GROUPS - 1.
    correlation
        (len(TESTED_LENGTHS), GROUPS, K) the correlation of rows within a window of each length, 0 or more, not
        increasing with the length: n rows tell as much as 1 / (1/n + correlation) independent ones. It may exceed 1:
        where rows of one hour are nearly alike, whole hours differ by more than their rows do.
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
    unfamiliar: Integers
    groups: Integers
    correlation: Floats
    steps: Floats
    freedom: Floats
    tail: Floats
    clustering: Floats
