"""The rules for the values of a baseline.

A right digest shows that a file is whole, not that the program that wrote it was honest or correct. Monitoring uses
these values as indices and divisors, so they are checked once, here. Each rule is checked for all features at once,
without a loop over values: an array with one boolean for each feature says where the rule holds.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Optional

import numpy as np

from torchserve_drift.baseline.header import Header
from torchserve_drift.baseline.profile import CATEGORICAL_EFFECTS, MISSING_CODE, MOST_EDGES, NUMERIC_EFFECTS
from torchserve_drift.baseline.tensors import Tensors
from torchserve_drift.errors import BaselineError
from torchserve_drift.features.schema import Feature
from torchserve_drift.stats.arrays import AnyArray, Integers


def check(header: Header, tensors: Tensors) -> None:
    """Check the values of ``tensors``, which have the shapes that `expected_tensors` gives.

    Raises
    ------
    BaselineError
        When a rule does not hold; the error names the first feature that breaks it.
    """
    _check_importance(header, tensors)
    if header.numeric:
        _check_tallies(header, tensors)
        _check_moments(header, tensors)
        _check_quantiles(header, tensors)
        _check_edges(header, tensors)
        _check_edge_counts(header, tensors)
        _check_numeric_sample(header, tensors)
    if header.categorical:
        _check_categories(header, tensors)
        _check_categorical_sample(header, tensors)
    if header.spans:
        _check_variation(header.numeric, tensors.get("numeric.variation"), NUMERIC_EFFECTS)
        _check_variation(header.categorical, tensors.get("categorical.variation"), CATEGORICAL_EFFECTS)
        _check_joint_variation(tensors["joint.variation"])


def _check_importance(header: Header, tensors: Tensors) -> None:
    importance = tensors["importance"]
    require(header.features, (importance >= 0) & (importance <= 1), "importance must be from 0 to 1")
    total = float(importance.sum())
    if not abs(total - 1) < 1e-6:
        raise BaselineError(f"the importance of its features must sum to 1, got {total!r}")


def _check_tallies(header: Header, tensors: Tensors) -> None:
    tallies = tensors["numeric.tallies"]
    in_range = (tallies >= 0) & (tallies <= header.rows)
    # huge values are left out of the sum, which they could make overflow to the right total
    complete = np.where(in_range, tallies, 0).sum(axis=1) == header.rows
    rule = f"tallies must be counts that sum to its {header.rows} rows"
    require(header.numeric, in_range.all(axis=1) & complete, rule)


def _check_moments(header: Header, tensors: Tensors) -> None:
    counts = tensors["numeric.tallies"][:, 0]
    mean, std, minimum, maximum = tensors["numeric.moments"].T
    location = np.stack([mean, minimum, maximum])
    known = np.isfinite(location).all(axis=0) & (minimum <= maximum)
    unknown = np.isnan(location).all(axis=0)
    require(header.numeric, np.where(counts > 0, known, unknown), "mean, minimum and maximum must be finite")
    valid_std = np.isfinite(std) & (std >= 0) & ((counts > 1) | (std == 0))
    require(header.numeric, valid_std, "std must be 0 or more, and finite")


def _check_quantiles(header: Header, tensors: Tensors) -> None:
    counts, quantiles = tensors["numeric.tallies"][:, 0], tensors["numeric.quantiles"]
    minimum, maximum = tensors["numeric.moments"][:, 2], tensors["numeric.moments"][:, 3]
    rising = (quantiles[:, 1:] >= quantiles[:, :-1]).all(axis=1)
    # comparisons with NaN are false, so a feature with values cannot have a NaN here
    known = rising & (quantiles[:, 0] >= minimum) & (quantiles[:, -1] <= maximum)
    unknown = np.isnan(quantiles).all(axis=1)
    require(header.numeric, np.where(counts > 0, known, unknown), "quantiles must rise from its minimum to its maximum")


def _check_edges(header: Header, tensors: Tensors) -> None:
    counts, edges = tensors["numeric.tallies"][:, 0], tensors["numeric.edges"]
    minimum, maximum = tensors["numeric.moments"][:, 2], tensors["numeric.moments"][:, 3]
    used = ~np.isnan(edges)
    length = used.sum(axis=1)
    # the edges come first in a row and only NaNs follow: production codes are positions among the edges
    padding = np.arange(MOST_EDGES) >= length[:, None]
    packed = (used != padding).all(axis=1) & ((length > 0) == (counts > 0))
    rising = ((edges[:, 1:] > edges[:, :-1]) | ~used[:, 1:]).all(axis=1)
    within = (edges[:, 0] >= minimum) & (_at_last_edge(edges, length) == maximum)
    valid = packed & rising & (within | (counts == 0))
    require(header.numeric, valid, "edges must rise strictly from its minimum to its maximum")


def _check_edge_counts(header: Header, tensors: Tensors) -> None:
    counts, edge_counts = tensors["numeric.tallies"][:, 0], tensors["numeric.edge_counts"]
    used = ~np.isnan(tensors["numeric.edges"])
    rising = ((edge_counts[:, 1:] >= edge_counts[:, :-1]) | ~used[:, 1:]).all(axis=1) & (edge_counts >= 0).all(axis=1)
    complete = _at_last_edge(edge_counts, used.sum(axis=1)) == counts
    padded = ((edge_counts == 0) | used).all(axis=1)
    require(header.numeric, rising & complete & padded, "edge_counts must rise up to its count")


def _at_last_edge(values: AnyArray, length: Integers) -> AnyArray:
    """Each row's value at its last edge; at the first place for a feature without edges."""
    last = np.maximum(length - 1, 0)[:, None]
    return np.take_along_axis(values, last, axis=1)[:, 0]


def _check_numeric_sample(header: Header, tensors: Tensors) -> None:
    tallies, sample = tensors["numeric.tallies"], tensors["numeric.sample"]
    minimum, maximum = tensors["numeric.moments"][:, 2], tensors["numeric.moments"][:, 3]
    gaps = np.isnan(sample).sum(axis=1)
    # fmin and fmax pass over NaNs, and give NaN for a sample that is all gaps
    smallest, largest = np.fmin.reduce(sample, axis=1), np.fmax.reduce(sample, axis=1)
    within = ((smallest >= minimum) & (largest <= maximum)) | (gaps == header.sample_rows)
    require(header.numeric, within, "sample must lie between its minimum and its maximum")
    possible = (gaps <= tallies[:, 1] + tallies[:, 2]) & (header.sample_rows - gaps <= tallies[:, 0])
    _require_possible_sample(header.numeric, possible)


def _check_categories(header: Header, tensors: Tensors) -> None:
    counts, missing, lengths = tensors["categorical.counts"], tensors["categorical.missing"], _numbers_of(header)
    require(header.categorical, (missing >= 0) & (missing <= header.rows), "missing must be a count of its rows")
    in_range = (counts >= 0) & (counts <= header.rows)
    total = _run_sums(np.where(in_range, counts, 0), lengths)
    complete = (_run_sums(~in_range, lengths) == 0) & (total + missing == header.rows)
    require(header.categorical, complete, f"counts must sum, with missing, to its {header.rows} rows")
    rises = np.append(False, counts[1:] > counts[:-1])
    # the first count of a feature follows the last one of another feature, with which it is not compared
    rises[(np.cumsum(lengths) - lengths)[lengths > 0]] = False
    require(header.categorical, _run_sums(rises, lengths) == 0, "counts must be in falling order")


def _check_categorical_sample(header: Header, tensors: Tensors) -> None:
    sample, lengths = tensors["categorical.sample"], _numbers_of(header)
    known = (sample < lengths[:, None]) | (sample == MISSING_CODE)
    require(header.categorical, known.all(axis=1), "sample must hold indices of its categories")
    gaps = (sample == MISSING_CODE).sum(axis=1)
    total = _run_sums(tensors["categorical.counts"], lengths)
    possible = (gaps <= tensors["categorical.missing"]) & (header.sample_rows - gaps <= total)
    _require_possible_sample(header.categorical, possible)


def _numbers_of(header: Header) -> Integers:
    """The number of categories of each categorical feature."""
    return np.array([len(feature.categories) for feature in header.categorical])


def _check_variation(features: Sequence[Feature], effects: Optional[AnyArray], checks: Sequence[str]) -> None:
    if effects is None:
        return
    # mean and std are in standard deviations; all other effects are shares
    largest = np.array([math.inf if check in ("mean", "std") else 1.0 for check in checks])[:, None]
    valid = np.isfinite(effects) & (effects >= 0) & (effects <= largest)
    rule = "variation must be 0 or more, finite, and at most 1 for all checks but mean and std"
    require(features, np.asarray(valid.all(axis=(1, 2))), rule)


def _check_joint_variation(effects: AnyArray) -> None:
    if not ((effects >= 0) & (effects <= 1)).all():
        raise BaselineError("its joint variation must be from 0 to 1, got other values")


def _run_sums(values: AnyArray, lengths: Integers) -> Integers:
    """The sums of consecutive runs of ``values``: one run for each of ``lengths``, which may be 0."""
    totals = np.append(0, np.cumsum(values, dtype=np.int64))
    ends = np.cumsum(lengths)
    sums: Integers = totals[ends] - totals[ends - lengths]
    return sums


def _require_possible_sample(features: Sequence[Feature], possible: AnyArray) -> None:
    require(features, possible, "sample must have at most as many values, and as many missing ones, as all rows have")


def require(features: Sequence[Feature], holds: AnyArray, rule: str) -> None:
    """Raise the error of ``rule`` for the first of ``features`` for which it does not hold."""
    broken = np.flatnonzero(~np.asarray(holds, dtype=bool))
    if len(broken):
        raise BaselineError(f"feature {features[broken[0]].name!r}: {rule}, got other values")
