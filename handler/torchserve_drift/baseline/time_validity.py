"""The rules for the values of time profiles; see `validity`."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

import numpy as np

from torchserve_drift.baseline.channels import frequent_categories
from torchserve_drift.baseline.header import Header
from torchserve_drift.baseline.tensors import Tensors
from torchserve_drift.baseline.time_profile import GROUPS
from torchserve_drift.baseline.time_tensors import bins_of, channels_of
from torchserve_drift.baseline.validity import require
from torchserve_drift.features.schema import Feature
from torchserve_drift.stats.arrays import AnyArray
from torchserve_drift.stats.paule_mandel import LARGEST

_RULES = {
    "correlation": (0.0, LARGEST, f"0 to {LARGEST:g}, and not rise with the length"),
    "steps": (0.0, LARGEST, f"0 to {LARGEST:g}"),
    "freedom": (1.0, 1e9, "1 to 1e9"),
    "tail": (1e-9, 1.0, "above 0, and at most 1"),
    "clustering": (0.0, 1.0, "0 to 1"),
}
"""Of each array the least value, the largest one, and the rule in words."""

_COUNTS_RULE = "the counts of its time profile must be at most those of all rows"


def check_time_profiles(header: Header, tensors: Tensors) -> None:
    """Check the time profiles in ``tensors``, which have the expected shapes and have passed `validity.check`.

    Raises
    ------
    BaselineError
        When a rule does not hold; the error names the first feature that breaks it.
    """
    if header.own_categories is None:
        return
    if header.numeric:
        _check_numeric(header, tensors)
    if header.categorical:
        _check_categorical(header, tensors)


def _check_numeric(header: Header, tensors: Tensors) -> None:
    features = header.numeric
    counts = tensors["numeric.time_counts"].astype(np.int64)
    # where a feature has fewer edges, the counts up to them fall to 0: such bins have no rows
    of_bins = np.maximum(np.diff(tensors["numeric.edge_counts"], axis=1, prepend=0), 0)
    require(features, (counts.sum(axis=1) <= of_bins).all(axis=1), _COUNTS_RULE)
    _check_rows(header, "numeric", tensors, counts.sum(axis=2), tensors["numeric.tallies"][:, 1])
    for name in _RULES:
        _require_values(features, name, [tensors[f"numeric.time_{name}"][row] for row in range(len(features))])


def _check_categorical(header: Header, tensors: Tensors) -> None:
    features, bins = header.categorical, bins_of(header)
    counts = tensors["categorical.time_counts"].astype(np.int64)
    possible, by_hour, numbers, of_categories = [], [], [], tensors["categorical.counts"]
    first = 0
    for feature, size, end in zip(features, bins, accumulate(bins)):
        whole = of_categories[first : first + len(feature.categories)]
        first += len(whole)
        numbers.append(frequent_categories(whole) == size - 1)
        limits = np.append(whole[: size - 1], whole[size - 1 :].sum())
        mine = counts[:, end - size : end]
        possible.append(len(limits) == size and bool((mine.sum(axis=0) <= limits).all()))
        by_hour.append(mine.sum(axis=1))
    require(features, np.array(numbers), "own_categories must be the number of its frequent categories")
    require(features, np.array(possible), _COUNTS_RULE)
    _check_rows(header, "categorical", tensors, np.stack(by_hour), tensors["categorical.missing"])
    ends = list(accumulate(channels_of(header)))
    for name in _RULES:
        values = tensors[f"categorical.time_{name}"]
        parts = [values[..., end - size : end] for size, end in zip(channels_of(header), ends)]
        _require_values(features, name, parts)


def _check_rows(header: Header, kind: str, tensors: Tensors, by_hour: AnyArray, missing: AnyArray) -> None:
    """``by_hour`` (features, HOURS) the rows with a value, ``missing`` (features,) those without one at any time."""
    features = header.numeric if kind == "numeric" else header.categorical
    rows = tensors[f"{kind}.time_rows"].astype(np.int64)
    require(features, np.asarray(rows[:, 0].sum(axis=1) <= missing), _COUNTS_RULE)
    require(features, np.asarray((rows[:, 1] <= by_hour).all(axis=1)), _COUNTS_RULE)
    groups = tensors[f"{kind}.time_groups"]
    require(
        features, np.asarray((groups < GROUPS).all(axis=1)), f"the groups of its time profile must be below {GROUPS}"
    )


def _require_values(features: Sequence[Feature], name: str, values: Sequence[AnyArray]) -> None:
    """``values`` has the array ``name`` of each feature."""
    low, high, rule = _RULES[name]
    # comparisons with NaN are false
    valid = [bool(((own >= low) & (own <= high)).all()) for own in values]
    if name == "correlation":
        valid = [fine and bool((own[1:] <= own[:-1]).all()) for fine, own in zip(valid, values)]
    require(features, np.array(valid), f"the {name} of its time profile must be {rule}")
