"""The features of a profile as the tensors of its file, and back: one row per feature of a kind."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Optional

import numpy as np

from torchserve_drift.baseline.header import Header
from torchserve_drift.baseline.profile import (
    CATEGORICAL_EFFECTS,
    MOST_EDGES,
    NUMERIC_EFFECTS,
    QUANTILE_LEVELS,
    CategoricalBaseline,
    FeatureBaseline,
    NumericBaseline,
    Profile,
    Variation,
)
from torchserve_drift.baseline.time_tensors import (
    categorical_time_profiles,
    expected_time_tensors,
    numeric_time_profiles,
    time_tensors_of,
)
from torchserve_drift.errors import BaselineError
from torchserve_drift.stats.arrays import AnyArray, Floats

Tensors = Mapping[str, AnyArray]


def expected_tensors(header: Header) -> dict[str, tuple[str, tuple[int, ...]]]:
    """The tensors that a file with this header must have: name to (dtype, shape)."""
    numeric, categorical = len(header.numeric), len(header.categorical)
    tensors: dict[str, tuple[str, tuple[int, ...]]] = {"importance": ("F64", (len(header.features),))}
    if numeric:
        tensors["numeric.tallies"] = ("I64", (numeric, 3))
        tensors["numeric.moments"] = ("F64", (numeric, 4))
        tensors["numeric.quantiles"] = ("F64", (numeric, len(QUANTILE_LEVELS)))
        tensors["numeric.edges"] = ("F64", (numeric, MOST_EDGES))
        tensors["numeric.edge_counts"] = ("I64", (numeric, MOST_EDGES))
        tensors["numeric.sample"] = ("F64", (numeric, header.sample_rows))
    if categorical:
        tensors["categorical.missing"] = ("I64", (categorical,))
        tensors["categorical.counts"] = ("I64", (sum(len(f.categories) for f in header.categorical),))
        tensors["categorical.sample"] = ("U16", (categorical, header.sample_rows))
    if header.spans:
        tensors["joint.variation"] = ("F64", (header.spans,))
    if header.spans and numeric:
        tensors["numeric.variation"] = ("F64", (numeric, len(NUMERIC_EFFECTS), header.spans))
    if header.spans and categorical:
        tensors["categorical.variation"] = ("F64", (categorical, len(CATEGORICAL_EFFECTS), header.spans))
    return {**tensors, **expected_time_tensors(header)}


def tensors_of(profile: Profile) -> dict[str, AnyArray]:
    """The tensors that hold ``profile``; their values are not checked.

    Raises
    ------
    BaselineError
        When features have arrays of different lengths, or ``variation`` of different checks.
    """
    numeric = [feature for feature in profile.features if isinstance(feature, NumericBaseline)]
    categorical = [feature for feature in profile.features if isinstance(feature, CategoricalBaseline)]
    tensors: dict[str, AnyArray] = {}
    try:
        tensors["importance"] = np.array([feature.importance for feature in profile.features], np.float64)
        if numeric:
            tensors.update(_numeric_tensors(numeric))
        if categorical:
            tensors.update(_categorical_tensors(categorical))
        if profile.spans:
            tensors["joint.variation"] = np.asarray(profile.joint_variation, np.float64)
        if profile.spans and numeric:
            tensors["numeric.variation"] = _variation_tensor(numeric, NUMERIC_EFFECTS)
        if profile.spans and categorical:
            tensors["categorical.variation"] = _variation_tensor(categorical, CATEGORICAL_EFFECTS)
        if profile.has_time_profiles:
            tensors.update(time_tensors_of(profile.features))
    except (ValueError, OverflowError, TypeError) as error:
        raise BaselineError(f"the features of a baseline must have arrays of the same shapes, got: {error}") from None
    return tensors


def _numeric_tensors(features: Sequence[NumericBaseline]) -> dict[str, AnyArray]:
    return {
        "numeric.tallies": np.array([[f.count, f.missing, f.invalid] for f in features], np.int64),
        "numeric.moments": np.array([[f.mean, f.std, f.minimum, f.maximum] for f in features], np.float64),
        "numeric.quantiles": np.stack([f.quantiles for f in features]).astype(np.float64),
        "numeric.edges": np.stack([_padded(f.edges, np.nan) for f in features]).astype(np.float64),
        "numeric.edge_counts": np.stack([_padded(f.edge_counts, 0) for f in features]).astype(np.int64),
        "numeric.sample": np.stack([f.sample for f in features]).astype(np.float64),
    }


def _categorical_tensors(features: Sequence[CategoricalBaseline]) -> dict[str, AnyArray]:
    return {
        "categorical.missing": np.array([f.missing for f in features], np.int64),
        # features have different numbers of categories, so their counts follow one another in one row
        "categorical.counts": np.concatenate([f.counts for f in features]).astype(np.int64),
        "categorical.sample": np.stack([f.sample for f in features]).astype(np.uint16),
    }


def _variation_tensor(features: Sequence[FeatureBaseline], checks: Sequence[str]) -> Floats:
    for feature in features:
        if set(feature.variation) != set(checks):
            raise ValueError(f"variation of {sorted(feature.variation)} in place of {sorted(checks)}")
    return np.stack([np.stack([f.variation[check] for check in checks]).astype(np.float64) for f in features])


def _padded(values: AnyArray, filler: float) -> AnyArray:
    """``values`` filled up to `MOST_EDGES`: equal quantiles are one edge, so a feature may have fewer."""
    return np.pad(values, (0, max(MOST_EDGES - len(values), 0)), constant_values=filler)


def features_from(header: Header, tensors: Tensors) -> Iterator[FeatureBaseline]:
    """The features that ``tensors`` hold, in order; their arrays are views of ``tensors``."""
    numeric_row = categorical_row = first_count = 0
    edges = [_edges_of(tensors, row) for row in range(len(header.numeric))]
    is_timed = header.own_categories is not None
    numeric_times = numeric_time_profiles(tensors, edges) if is_timed else iter(())
    categorical_times = categorical_time_profiles(header, tensors) if is_timed else iter(())
    # features of both kinds alternate in the header, while each kind has rows of its own in the tensors
    for place, feature in enumerate(header.features):
        importance = float(tensors["importance"][place])
        if feature.kind == "numeric":
            found = _numeric_feature(feature.name, tensors, numeric_row, importance)
            yield replace(found, time=next(numeric_times, None))
            numeric_row += 1
        else:
            end = first_count + len(feature.categories)
            yield CategoricalBaseline(
                name=feature.name,
                categories=feature.categories,
                counts=tensors["categorical.counts"][first_count:end],
                missing=int(tensors["categorical.missing"][categorical_row]),
                sample=tensors["categorical.sample"][categorical_row],
                importance=importance,
                variation=_variation(tensors.get("categorical.variation"), categorical_row, CATEGORICAL_EFFECTS),
                time=next(categorical_times, None),
            )
            categorical_row, first_count = categorical_row + 1, end


def _numeric_feature(name: str, tensors: Tensors, row: int, importance: float) -> NumericBaseline:
    count, missing, invalid = tensors["numeric.tallies"][row].tolist()
    mean, std, minimum, maximum = tensors["numeric.moments"][row].tolist()
    edges = _edges_of(tensors, row)
    return NumericBaseline(
        name=name,
        count=count,
        missing=missing,
        invalid=invalid,
        mean=mean,
        std=std,
        minimum=minimum,
        maximum=maximum,
        quantiles=tensors["numeric.quantiles"][row],
        edges=tensors["numeric.edges"][row, :edges],
        edge_counts=tensors["numeric.edge_counts"][row, :edges],
        sample=tensors["numeric.sample"][row],
        importance=importance,
        variation=_variation(tensors.get("numeric.variation"), row, NUMERIC_EFFECTS),
    )


def _edges_of(tensors: Tensors, row: int) -> int:
    """The number of edges; the rest of the row is padding."""
    return int((~np.isnan(tensors["numeric.edges"][row])).sum())


def _variation(effects: Optional[AnyArray], row: int, checks: Sequence[str]) -> Variation:
    return {} if effects is None else dict(zip(checks, effects[row]))
