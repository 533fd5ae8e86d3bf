"""How far each span of training time is from all of the training data, by the effects of the checks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from torchserve_drift.baseline.profile import Profile, Variation
from torchserve_drift.checks.joint import PairwiseAssociations, sample_codes
from torchserve_drift.stats.arrays import Floats, Integers
from torchserve_drift.stats.chisquare import share_distance
from torchserve_drift.window.coding import codes_for

_DIGITS = 6


@dataclass(frozen=True, eq=False)
class NumericSpans:
    """What S spans hold of a numeric feature.

    ``count`` finite values (S,), ``missing`` ones (S,), ``outside`` (S,) those beyond the values of all other spans,
    ``below`` (S, E) those up to each edge; ``mean`` and ``std`` (S,) where the whole data has the mean 0 and the
    standard deviation 1. What a span has too few values for is not looked at.
    """

    count: Integers
    missing: Integers
    outside: Integers
    below: Integers
    mean: Floats
    std: Floats


def numeric(spans: NumericSpans, below: Integers, missing: int) -> Variation:
    """The effects of each span, by check; ``below`` (E,) and ``missing`` of the whole data.

    A span without a value has the effect 0, in ``std`` one of a single value too: neither shows any difference.
    """
    whole = int(below[-1]) if len(below) else 0
    distances = np.abs(_shares(spans.below, spans.count[:, None]) - _shares(below, whole))
    return {
        "ks": np.where(spans.count > 0, distances.max(axis=1, initial=0.0), 0.0),
        "mean": np.where(spans.count > 0, np.abs(spans.mean), 0.0),
        "std": np.where(spans.count > 1, np.abs(spans.std - 1), 0.0),
        "range": _shares(spans.outside, spans.count),
        "missing": _changes(spans.missing, spans.count, missing, whole),
    }


def categorical(counts: Integers, missing: Integers, whole_counts: Integers, whole_missing: int) -> Variation:
    """The effects of each of S spans, by check, from the ``counts`` of C categories in each (S, C), and its ``missing``
    (S,); of the whole data (C,) and one number.

    Examples
    --------
    Every second row of the second span is of a category that the first does not have:

    >>> found = categorical(np.array([[9, 0], [5, 5]]), np.array([1, 0]), np.array([14, 5]), 1)
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
        "missing": _changes(missing, rows, whole_missing, whole_counts.sum()),
    }


def joint(baseline: Profile, spans: Integers, count: int) -> Floats:
    """The effect of `joint` in each of ``count`` spans: of its rows in the sample against all of the sample.

    ``spans`` (sample_rows,): the span of each row of the sample, -1 for none. 0 for a span of too few rows to look at.
    """
    codes = codes_for(baseline)
    sample = np.array([sample_codes(feature, code) for feature, code in zip(baseline.features, codes)])
    associations = PairwiseAssociations(baseline, codes)
    found = (associations.compared(sample[:, spans == span]) for span in range(count))
    # products of matrices differ in their last digits from machine to machine, and the artifact must not
    return np.array([0.0 if evidence is None else round(evidence.effect, _DIGITS) for evidence in found])


def second_extremes(lows: Floats, highs: Floats) -> tuple[float, float]:
    """The least and the greatest value of all spans but the one that reaches furthest; (-inf, inf) for one span.

    Only a span that reaches further than these has values outside the others' range. NaN stands for no value.

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


def _changes(missing: Integers, count: Integers, whole_missing: int, whole_count: int) -> Floats:
    rows = missing + count
    changes = np.abs(_shares(missing, rows) - _shares(whole_missing, whole_missing + whole_count))
    return np.where(rows > 0, changes, 0.0)
