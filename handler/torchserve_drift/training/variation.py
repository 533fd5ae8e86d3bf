"""How far each span of training time is from all of the training data, measured by the effects of the checks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from torchserve_drift.baseline.profile import Profile, Variation
from torchserve_drift.checks.joint import PairwiseAssociations, sample_codes
from torchserve_drift.stats.arrays import Floats, Integers
from torchserve_drift.stats.chisquare import share_distance
from torchserve_drift.window.coding import codes_for

_JOINT_DIGITS = 6


@dataclass(frozen=True, eq=False)
class NumericSpans:
    """Counts and moments of a numeric feature in S spans.

    Attributes
    ----------
    count, missing
        (S,) numbers of finite and of missing values.
    outside
        (S,) numbers of values that are below the minimum or above the maximum of all other spans.
    below
        (S, E) numbers of values <= each edge.
    mean, std
        (S,) on the scale where the whole data has the mean 0 and the standard deviation 1. ``mean`` has no meaning for
        a span without values, ``std`` for one with fewer than two.
    """

    count: Integers
    missing: Integers
    outside: Integers
    below: Integers
    mean: Floats
    std: Floats


def numeric_effects(spans: NumericSpans, below: Integers, missing: int) -> Variation:
    """The effects of each span, by check; ``below`` (E,) and ``missing`` are those of the whole data.

    The effect is 0 for a span without values, and that of ``std`` also for a single value: too little to differ.
    """
    whole = int(below[-1]) if len(below) else 0  # the last edge is the maximum
    distances = np.abs(_shares(spans.below, spans.count[:, None]) - _shares(below, whole))
    return {
        "ks": np.where(spans.count > 0, distances.max(axis=1, initial=0.0), 0.0),
        "mean": np.where(spans.count > 0, np.abs(spans.mean), 0.0),
        "std": np.where(spans.count > 1, np.abs(spans.std - 1), 0.0),
        "range": _shares(spans.outside, spans.count),
        "missing": _missing_share_changes(spans.missing, spans.count, missing, whole),
    }


def categorical_effects(counts: Integers, missing: Integers, whole_counts: Integers, whole_missing: int) -> Variation:
    """The effects of each span, by check.

    Parameters
    ----------
    counts, missing
        Rows of each category in each span (S, C), and rows without a category (S,).
    whole_counts, whole_missing
        The same of the whole data: (C,) and a number.

    Examples
    --------
    Every second row of the second span has a category that the first span does not have:

    >>> found = categorical_effects(np.array([[9, 0], [5, 5]]), np.array([1, 0]), np.array([14, 5]), 1)
    >>> found["new_category"].tolist(), found["missing"].round(3).tolist()
    ([0.0, 0.5], [0.05, 0.05])
    """
    rows = counts.sum(axis=1)
    changes = np.abs(_shares(counts, rows[:, None]) - _shares(whole_counts, whole_counts.sum()))
    only_here = (counts == counts.sum(axis=0)) & (counts > 0)
    return {
        "chi2": np.array([share_distance(whole_counts, span, 0) for span in counts]),
        "frequency": np.where(rows > 0, changes.max(axis=1, initial=0.0), 0.0),
        "new_category": _shares(np.where(only_here, counts, 0).sum(axis=1), rows),
        "missing": _missing_share_changes(missing, rows, whole_missing, whole_counts.sum()),
    }


def joint_effects(baseline: Profile, spans: Integers, count: int) -> Floats:
    """The effect of the joint check in each of ``count`` spans: its sampled rows compared with the whole sample.

    ``spans`` (sample_rows,) is the span of each row of the sample, -1 for none. The effect is 0 for a span with fewer
    rows than the check needs.
    """
    codes = codes_for(baseline)
    sample = np.array([sample_codes(feature, code) for feature, code in zip(baseline.features, codes)])
    associations = PairwiseAssociations(baseline, codes)
    found = (associations.compared(sample[:, spans == span]) for span in range(count))
    # rounded: products of matrices differ in their last digits between machines, and the artifact must not
    return np.array([0.0 if evidence is None else round(evidence.effect, _JOINT_DIGITS) for evidence in found])


def second_extremes(lows: Floats, highs: Floats) -> tuple[float, float]:
    """The second lowest of ``lows`` and the second highest of ``highs``; (-inf, inf) when only one span has values.

    ``lows`` and ``highs`` (S,) are the minimum and maximum of each span, NaN for a span without values. A value is
    below the minimum of all other spans only in the span with the lowest minimum, and there when it is below the second
    lowest one. So one pair of limits serves all spans.

    Examples
    --------
    >>> second_extremes(np.array([1.0, 0.0, np.nan, 3.0]), np.array([9.0, 5.0, np.nan, 9.0]))
    (1.0, 9.0)
    """
    low, high = np.sort(lows[~np.isnan(lows)]), np.sort(highs[~np.isnan(highs)])
    return (float(low[1]), float(high[-2])) if len(low) > 1 else (-np.inf, np.inf)


def _shares(part: Any, whole: Any) -> Floats:
    shares: Floats = part / np.maximum(whole, 1)
    return shares


def _missing_share_changes(missing: Integers, count: Integers, whole_missing: int, whole_count: int) -> Floats:
    rows = missing + count
    changes = np.abs(_shares(missing, rows) - _shares(whole_missing, whole_missing + whole_count))
    return np.where(rows > 0, changes, 0.0)
