"""Columns in memory to the features of a baseline, with NumPy alone."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from torchserve_drift.baseline.profile import (
    MISSING_CODE,
    QUANTILE_LEVELS,
    CategoricalBaseline,
    FeatureBaseline,
    NumericBaseline,
)
from torchserve_drift.errors import BaselineError
from torchserve_drift.features.schema import category_key
from torchserve_drift.stats.arrays import Floats, Integers


def features_from_columns(
    columns: Mapping[str, Sequence[Any]], categorical: Collection[str], sampled: Integers
) -> Iterator[FeatureBaseline]:
    """The features of ``columns``, all with the same importance; ``sampled`` are the numbers of the rows in the sample.

    A column is numeric when all its values are numbers or missing, and ``categorical`` does not name it.
    """
    for name, column in columns.items():
        values = column.tolist() if isinstance(column, np.ndarray) else list(column)
        if name not in categorical and all(map(_is_number, values)):
            yield _numeric_feature(name, values, sampled, 1 / len(columns))
        else:
            yield _categorical_feature(name, values, sampled, 1 / len(columns))


def _is_number(value: object) -> bool:
    is_boolean = isinstance(value, (bool, np.bool_))
    return value is None or (isinstance(value, (int, float, np.integer, np.floating)) and not is_boolean)


def _numeric_feature(name: str, values: Sequence[Any], sampled: Integers, importance: float) -> NumericBaseline:
    numbers = np.array([math.nan if value is None else value for value in values], np.float64)
    finite = numbers[np.isfinite(numbers)] + 0.0  # + 0.0 makes 0.0 of -0.0
    minimum, maximum = (float(finite.min()), float(finite.max())) if len(finite) else (math.nan, math.nan)
    mean, std, quantiles = math.nan, 0.0, np.full(len(QUANTILE_LEVELS), math.nan)
    if len(finite):
        # scaled to at most 1 by a power of two, which is exact: sums and squares of the largest numbers would overflow
        exponent = math.frexp(max(abs(minimum), abs(maximum)))[1]
        scaled = np.ldexp(finite, -exponent)
        scaled_mean = math.fsum(scaled) / len(scaled)
        mean = math.ldexp(scaled_mean, exponent)
        quantiles = np.clip(np.ldexp(np.quantile(scaled, QUANTILE_LEVELS), exponent), minimum, maximum)
        if minimum < maximum:
            std = _ldexp(_deviation(scaled - scaled_mean), exponent)
    # equal quantiles are one edge; the maximum closes the last bin
    edges = np.unique(np.append(quantiles, maximum)) if len(finite) else np.empty(0)
    return NumericBaseline(
        name=name,
        count=len(finite),
        missing=int(np.isnan(numbers).sum()),
        invalid=int(np.isinf(numbers).sum()),
        mean=mean,
        std=std,
        minimum=minimum,
        maximum=maximum,
        quantiles=quantiles,
        edges=edges,
        edge_counts=np.searchsorted(np.sort(finite), edges, side="right").astype(np.int64),
        sample=np.where(np.isfinite(numbers), numbers, math.nan)[sampled],
        importance=importance,
    )


def _deviation(differences: Floats) -> float:
    """The standard deviation of values from their ``differences`` to about the mean.

    Far from zero the mean is not a double. The differences then do not sum to 0, and what they sum to is corrected for.
    """
    count, total = len(differences), math.fsum(differences)
    return math.sqrt((math.fsum(differences**2) - total**2 / count) / (count - 1))


def _ldexp(value: float, exponent: int) -> float:
    try:
        return math.ldexp(value, exponent)
    except OverflowError:  # the deviation of the largest doubles may be larger than all of them
        return float(np.finfo(float).max)


def _categorical_feature(name: str, values: Sequence[Any], sampled: Integers, importance: float) -> CategoricalBaseline:
    keys = [category_key(value) for value in values]
    for key, value in zip(keys, values):
        if not isinstance(key, str) and key is not None:
            raise BaselineError(f"column {name!r} must hold numbers, text or booleans, got {value!r}")
    counts = Counter(key for key in keys if isinstance(key, str))
    # equal counts are ordered by name, so that the order of the rows does not matter
    categories = sorted(counts, key=lambda key: (-counts[key], key))
    codes: dict[Any, int] = {category: code for code, category in enumerate(categories)}
    return CategoricalBaseline(
        name=name,
        categories=tuple(categories),
        counts=np.array([counts[category] for category in categories], np.int64),
        missing=keys.count(None),
        sample=np.array([codes.get(keys[row], MISSING_CODE) for row in sampled.tolist()], np.uint16),
        importance=importance,
    )
