"""Time profiles as data for JSON, and their short summary."""

from __future__ import annotations

from typing import Any

import numpy as np

from torchserve_drift.baseline.channels import names_of
from torchserve_drift.baseline.profile import FeatureBaseline, NumericBaseline
from torchserve_drift.baseline.time_profile import GROUPS, LENGTHS, PRIOR_ROWS, TESTED_LENGTHS, TimeProfile
from torchserve_drift.stats.arrays import Floats
from torchserve_drift.stats.bin_scores import bin_scores

SUMMARY_LENGTHS = {"10m": 600.0, "1h": 3600.0, "24h": 86400.0}
"""The windows whose correlation the summary has."""

_DECIMALS = 6


def time_facts(feature: FeatureBaseline, profile: TimeProfile) -> dict[str, Any]:
    """All of ``profile``; arrays as nested lists, in the order of the axes that `TimeProfile` gives.

    ``summary`` has the correlation of the first channel (the location of numbers, the most frequent category) in
    windows of each of `SUMMARY_LENGTHS`, the mean over the rows, and the mean score of this channel at each hour of the
    day in UTC.
    """
    rows = profile.counts.sum(axis=1)
    by_group = np.bincount(profile.groups, rows, GROUPS) / max(int(rows.sum()), 1)
    correlation = {
        name: round(float(profile.correlation[TESTED_LENGTHS.index(length), :, 0] @ by_group), _DECIMALS)
        for name, length in SUMMARY_LENGTHS.items()
    }
    channels = names_of(feature)
    by_hour = [round(mean, _DECIMALS) for mean in _by_hour_of_day(feature, profile).tolist()]
    return {
        "summary": {"channel": channels[0], "correlation": correlation, "hours_of_day": by_hour},
        "channels": list(channels),
        "lengths": list(LENGTHS),
        **{name: values.tolist() for name, values in vars(profile).items()},
    }


def _by_hour_of_day(feature: FeatureBaseline, profile: TimeProfile) -> Floats:
    """The mean score (24,) of the first channel, with `PRIOR_ROWS` of the mean of all hours."""
    rows = profile.counts.reshape(7, 24, -1).sum(axis=0)
    scores = np.zeros(rows.shape[1])
    if isinstance(feature, NumericBaseline):
        if feature.count:
            bins = np.diff(feature.edge_counts, prepend=0)[None].astype(np.float64)
            scores = bin_scores(bins).location[0]
    else:
        scores[0] = 1.0
    overall = float(rows.sum(axis=0) @ scores) / max(int(rows.sum()), 1)
    means: Floats = (rows @ scores + PRIOR_ROWS * overall) / (rows.sum(axis=1) + PRIOR_ROWS)
    return means
