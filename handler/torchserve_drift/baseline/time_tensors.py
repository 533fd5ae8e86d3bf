"""Time profiles as the tensors of a baseline's file, and back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate

import numpy as np

from torchserve_drift.baseline.channels import NUMERIC_CHANNELS
from torchserve_drift.baseline.header import Header
from torchserve_drift.baseline.profile import MOST_EDGES, CategoricalBaseline, FeatureBaseline, NumericBaseline
from torchserve_drift.baseline.time_profile import GROUPS, HOURS, LENGTHS, TESTED_LENGTHS, TimeProfile
from torchserve_drift.stats.arrays import AnyArray, AnyIntegers

MOST_ROWS = 2**32 - 1
"""The largest count of rows in an hour of the week and a bin; a larger one is written as this."""

_OF_CHANNELS = {
    "correlation": (len(TESTED_LENGTHS), GROUPS),
    "steps": (len(LENGTHS),),
    "freedom": (len(LENGTHS),),
    "tail": (len(TESTED_LENGTHS),),
    "clustering": (),
}
"""The arrays whose last axis has the channels, and their other axes."""


def bins_of(header: Header) -> list[int]:
    """The number of columns of ``counts`` of each categorical feature: its own categories and the rest."""
    return [own + 1 for own in header.own_categories or ()]


def channels_of(header: Header) -> list[int]:
    """The number of channels of each categorical feature: two more, ``unseen`` and ``missing``."""
    return [bins + 2 for bins in bins_of(header)]


def expected_time_tensors(header: Header) -> dict[str, tuple[str, tuple[int, ...]]]:
    """The tensors of time profiles that a file with this header must have: name to (dtype, shape)."""
    if header.own_categories is None:
        return {}
    numeric, categorical = len(header.numeric), len(header.categorical)
    tensors: dict[str, tuple[str, tuple[int, ...]]] = {}
    for kind, features in (("numeric", numeric), ("categorical", categorical)):
        if features:
            tensors[f"{kind}.time_rows"] = ("U32", (features, 2, HOURS))
            tensors[f"{kind}.time_groups"] = ("U8", (features, HOURS))
    if numeric:
        tensors["numeric.time_counts"] = ("U32", (numeric, HOURS, MOST_EDGES))
        for name, shape in _OF_CHANNELS.items():
            tensors[f"numeric.time_{name}"] = ("F32", (numeric, *shape, len(NUMERIC_CHANNELS)))
    if categorical:
        tensors["categorical.time_counts"] = ("U32", (HOURS, sum(bins_of(header))))
        for name, shape in _OF_CHANNELS.items():
            tensors[f"categorical.time_{name}"] = ("F32", (*shape, sum(channels_of(header))))
    return tensors


def time_tensors_of(features: Sequence[FeatureBaseline]) -> dict[str, AnyArray]:
    """The tensors that hold the time profiles of ``features``, each of which has one; values are not checked.

    Raises
    ------
    ValueError
        When arrays have shapes that do not fit together.
    """
    tensors: dict[str, AnyArray] = {}
    for kind, of_kind in (("numeric", NumericBaseline), ("categorical", CategoricalBaseline)):
        profiles = [f.time for f in features if isinstance(f, of_kind) and f.time is not None]
        if not profiles:
            continue
        tensors[f"{kind}.time_rows"] = np.stack([_counts(np.stack([p.missing, p.unfamiliar])) for p in profiles])
        tensors[f"{kind}.time_groups"] = np.stack([p.groups for p in profiles]).astype(np.uint8)
        # numeric features have the same channels; those of categorical ones follow one another in the last axis
        joined = np.stack if kind == "numeric" else _side_by_side
        counts = [_padded(p.counts) if kind == "numeric" else p.counts for p in profiles]
        tensors[f"{kind}.time_counts"] = _counts(joined(counts))
        for name in _OF_CHANNELS:
            tensors[f"{kind}.time_{name}"] = joined([getattr(p, name) for p in profiles]).astype(np.float32)
    return tensors


def _side_by_side(arrays: Sequence[AnyArray]) -> AnyArray:
    return np.concatenate(arrays, axis=-1)


def _padded(counts: AnyIntegers) -> AnyIntegers:
    return np.pad(counts, ((0, 0), (0, max(MOST_EDGES - counts.shape[1], 0))))


def _counts(counts: AnyIntegers) -> AnyArray:
    return np.clip(counts, 0, MOST_ROWS).astype(np.uint32)


def numeric_time_profiles(tensors: Mapping[str, AnyArray], edges: Sequence[int]) -> Iterator[TimeProfile]:
    """The time profiles of the numeric features, which have so many ``edges``."""
    for row, bins in enumerate(edges):
        own = {name: tensors[f"numeric.time_{name}"][row] for name in ("counts", "rows", "groups", *_OF_CHANNELS)}
        yield _profile({**own, "counts": own["counts"][:, :bins]})


def categorical_time_profiles(header: Header, tensors: Mapping[str, AnyArray]) -> Iterator[TimeProfile]:
    """The time profiles of the categorical features."""
    bin_ends, channel_ends = accumulate(bins_of(header)), accumulate(channels_of(header))
    sizes = zip(bins_of(header), channels_of(header), bin_ends, channel_ends)
    for row, (bins, channels, bin_end, channel_end) in enumerate(sizes):
        own = {name: tensors[f"categorical.time_{name}"][row] for name in ("rows", "groups")}
        own["counts"] = tensors["categorical.time_counts"][:, bin_end - bins : bin_end]
        for name in _OF_CHANNELS:
            own[name] = tensors[f"categorical.time_{name}"][..., channel_end - channels : channel_end]
        yield _profile(own)


def _profile(tensors: Mapping[str, AnyArray]) -> TimeProfile:
    counts, groups = tensors["counts"].astype(np.int64), tensors["groups"].astype(np.int64)
    missing, unfamiliar = tensors["rows"].astype(np.int64)
    floats = {name: tensors[name].astype(np.float64) for name in _OF_CHANNELS}
    for array in (counts, groups, missing, unfamiliar, *floats.values()):
        array.flags.writeable = False  # many threads share a baseline
    return TimeProfile(counts=counts, missing=missing, unfamiliar=unfamiliar, groups=groups, **floats)
