"""What must hold of the arrays of a baseline, whoever wrote them; every feature at once, no loop over values."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Optional

import numpy as np
import numpy.typing as npt

from torchserve_drift.baseline.header import Header
from torchserve_drift.baseline.profile import (
    CATEGORICAL_EFFECTS,
    MISSING_CODE,
    MOST_EDGES,
    NUMERIC_EFFECTS,
    QUANTILE_LEVELS,
)
from torchserve_drift.errors import BaselineError
from torchserve_drift.features.schema import Feature

Arrays = Mapping[str, npt.NDArray[Any]]


def layout(header: Header) -> dict[str, tuple[str, tuple[int, ...]]]:
    """The tensors that a file with this header must have: name to (dtype, shape)."""
    numbers, categories = len(header.numeric), len(header.categorical)
    tensors: dict[str, tuple[str, tuple[int, ...]]] = {"importance": ("F64", (len(header.features),))}
    if numbers:
        tensors["numeric.tallies"] = ("I64", (numbers, 3))
        tensors["numeric.moments"] = ("F64", (numbers, 4))
        tensors["numeric.quantiles"] = ("F64", (numbers, len(QUANTILE_LEVELS)))
        tensors["numeric.edges"] = ("F64", (numbers, MOST_EDGES))
        tensors["numeric.edge_counts"] = ("I64", (numbers, MOST_EDGES))
        tensors["numeric.sample"] = ("F64", (numbers, header.sample_rows))
    if categories:
        tensors["categorical.missing"] = ("I64", (categories,))
        tensors["categorical.counts"] = ("I64", (sum(len(f.categories) for f in header.categorical),))
        tensors["categorical.sample"] = ("U16", (categories, header.sample_rows))
    if header.spans:
        tensors["joint.variation"] = ("F64", (header.spans,))
    if header.spans and numbers:
        tensors["numeric.variation"] = ("F64", (numbers, len(NUMERIC_EFFECTS), header.spans))
    if header.spans and categories:
        tensors["categorical.variation"] = ("F64", (categories, len(CATEGORICAL_EFFECTS), header.spans))
    return tensors


def check(header: Header, arrays: Arrays) -> None:
    """Raise BaselineError, naming the feature, unless ``arrays`` (as `layout` says) can be those of a baseline."""
    importance = arrays["importance"]
    _hold(header.features, (importance >= 0) & (importance <= 1), "importance must be from 0 to 1")
    if not abs(float(importance.sum()) - 1) < 1e-6:
        raise BaselineError(f"the importance of its features must sum to 1, got {float(importance.sum())!r}")
    if header.numeric:
        _tallies(header, arrays)
        _moments(header, arrays)
        _quantiles(header, arrays)
        _edges(header, arrays)
        _numeric_sample(header, arrays)
    if header.categorical:
        _categorical(header, arrays)
    if header.spans:
        _variation(header.numeric, arrays.get("numeric.variation"), NUMERIC_EFFECTS)
        _variation(header.categorical, arrays.get("categorical.variation"), CATEGORICAL_EFFECTS)
        joint = arrays["joint.variation"]
        if not ((joint >= 0) & (joint <= 1)).all():
            raise BaselineError("its joint variation must be from 0 to 1, got other values")


def _tallies(header: Header, arrays: Arrays) -> None:
    tallies = arrays["numeric.tallies"]
    sound = (tallies >= 0) & (tallies <= header.rows)
    whole = np.where(sound, tallies, 0).sum(axis=1) == header.rows
    _hold(header.numeric, sound.all(axis=1) & whole, f"tallies must be counts that sum to its {header.rows} rows")


def _moments(header: Header, arrays: Arrays) -> None:
    counts = arrays["numeric.tallies"][:, 0]
    mean, std, low, high = arrays["numeric.moments"].T
    extremes = np.stack([mean, low, high])
    some = np.isfinite(extremes).all(axis=0) & (low <= high)
    none = np.isnan(extremes).all(axis=0)
    _hold(header.numeric, np.where(counts > 0, some, none), "mean, minimum and maximum must be finite")
    usual = np.isfinite(std) & (std >= 0) & ((counts > 1) | (std == 0))
    _hold(header.numeric, usual, "std must be 0 or more, and finite")


def _quantiles(header: Header, arrays: Arrays) -> None:
    counts, quantiles = arrays["numeric.tallies"][:, 0], arrays["numeric.quantiles"]
    low, high = arrays["numeric.moments"][:, 2], arrays["numeric.moments"][:, 3]
    rising = (quantiles[:, 1:] >= quantiles[:, :-1]).all(axis=1) & (quantiles[:, 0] >= low) & (quantiles[:, -1] <= high)
    none = np.isnan(quantiles).all(axis=1)
    _hold(header.numeric, np.where(counts > 0, rising, none), "quantiles must rise from its minimum to its maximum")


def _edges(header: Header, arrays: Arrays) -> None:
    counts = arrays["numeric.tallies"][:, 0]
    low, high = arrays["numeric.moments"][:, 2], arrays["numeric.moments"][:, 3]
    edges, below = arrays["numeric.edges"], arrays["numeric.edge_counts"]
    used = ~np.isnan(edges)
    length = used.sum(axis=1)
    first_unused = np.arange(MOST_EDGES) >= length[:, None]
    last = np.maximum(length - 1, 0)[:, None]
    both = used[:, 1:]
    packed = (used != first_unused).all(axis=1) & ((length > 0) == (counts > 0))
    rising = ((edges[:, 1:] > edges[:, :-1]) | ~both).all(axis=1)
    sound = (
        packed & rising & (((edges[:, 0] >= low) & (np.take_along_axis(edges, last, 1)[:, 0] == high)) | (counts == 0))
    )
    _hold(header.numeric, sound, "edges must rise strictly from its minimum to its maximum")
    tallied = ((below[:, 1:] >= below[:, :-1]) | ~both).all(axis=1) & (below >= 0).all(axis=1)
    tallied &= (np.take_along_axis(below, last, 1)[:, 0] == counts) & ((below == 0) | used).all(axis=1)
    _hold(header.numeric, tallied, "edge_counts must rise up to its count")


def _numeric_sample(header: Header, arrays: Arrays) -> None:
    tallies, sample = arrays["numeric.tallies"], arrays["numeric.sample"]
    low, high = arrays["numeric.moments"][:, 2], arrays["numeric.moments"][:, 3]
    absent = np.isnan(sample).sum(axis=1)
    smallest, largest = np.fmin.reduce(sample, axis=1), np.fmax.reduce(sample, axis=1)
    within = ((smallest >= low) & (largest <= high)) | (absent == header.sample_rows)
    _hold(header.numeric, within, "sample must lie between its minimum and its maximum")
    few = (absent <= tallies[:, 1] + tallies[:, 2]) & (header.sample_rows - absent <= tallies[:, 0])
    _hold(header.numeric, few, "sample must have no more values, and no more gaps, than its rows")


def _categorical(header: Header, arrays: Arrays) -> None:
    counts, missing, sample = (arrays[f"categorical.{name}"] for name in ("counts", "missing", "sample"))
    lengths = np.array([len(feature.categories) for feature in header.categorical])
    _hold(header.categorical, (missing >= 0) & (missing <= header.rows), "missing must be a count of its rows")
    sound = (counts >= 0) & (counts <= header.rows)
    totals = _sums(np.where(sound, counts, 0), lengths)
    whole = (_sums(~sound, lengths) == 0) & (totals + missing == header.rows)
    _hold(header.categorical, whole, f"counts must sum, with missing, to its {header.rows} rows")
    rises = np.append(False, counts[1:] > counts[:-1])
    rises[(np.cumsum(lengths) - lengths)[lengths > 0]] = False
    _hold(header.categorical, _sums(rises, lengths) == 0, "counts must be in falling order")
    known = (sample < lengths[:, None]) | (sample == MISSING_CODE)
    _hold(header.categorical, known.all(axis=1), "sample must hold indices of its categories")
    absent = (sample == MISSING_CODE).sum(axis=1)
    few = (absent <= missing) & (header.sample_rows - absent <= totals)
    _hold(header.categorical, few, "sample must have no more values, and no more gaps, than its rows")


def _variation(features: Sequence[Feature], effects: Optional[npt.NDArray[Any]], names: Sequence[str]) -> None:
    if effects is None:
        return
    largest = np.array([math.inf if name in ("mean", "std") else 1.0 for name in names])[:, None]
    sound = np.isfinite(effects) & (effects >= 0) & (effects <= largest)
    _hold(features, sound.all(axis=(1, 2)), "variation must be 0 or more, finite, and at most 1 where it is of shares")


def _sums(values: npt.NDArray[Any], lengths: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """The sum of each of the consecutive runs of ``lengths`` values."""
    totals = np.append(0, np.cumsum(values, dtype=np.int64))
    ends = np.cumsum(lengths)
    sums: npt.NDArray[np.int64] = totals[ends] - totals[ends - lengths]
    return sums


def _hold(features: Any, sound: npt.NDArray[Any], rule: str) -> None:
    wrong = np.flatnonzero(~np.asarray(sound, dtype=bool))
    if len(wrong):
        raise BaselineError(f"feature {features[wrong[0]].name!r}: {rule}, got other values")
