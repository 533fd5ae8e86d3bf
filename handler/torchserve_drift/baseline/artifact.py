"""The file that holds a baseline: safetensors with one entry of JSON metadata (docs/artifact-format.md).

A file is trusted only after its size, its digest, its version and every value in it have been checked, in this order.
Nothing in it is ever executed.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from os import PathLike
from typing import Any, Optional, Union

import numpy as np
import numpy.typing as npt

from torchserve_drift.baseline import header, validity
from torchserve_drift.baseline.profile import (
    CATEGORICAL_EFFECTS,
    MOST_EDGES,
    NUMERIC_EFFECTS,
    CategoricalBaseline,
    FeatureBaseline,
    NumericBaseline,
    Profile,
    Variation,
)
from torchserve_drift.errors import BaselineError
from torchserve_drift.features.schema import Feature


def load(path: Union[str, PathLike[str]]) -> Profile:
    """The baseline in the file ``path``; BaselineError where it cannot be read or trusted."""
    return from_bytes(read_file(path), os.fspath(path))


def read_file(path: Union[str, PathLike[str]]) -> bytes:
    """The content of the file ``path``, if it begins as a baseline does.

    Raises
    ------
    BaselineError
        When it cannot be read, is a device or a pipe, or begins otherwise: then no more than its beginning is read.
    """
    try:
        with open(path, "rb", opener=_without_waiting) as file:
            facts = os.fstat(file.fileno())
            if not stat.S_ISREG(facts.st_mode):
                raise OSError(errno.EINVAL, "Not a regular file")
            start = file.read(header.DIGEST.stop)
            if len(start) == header.DIGEST.stop and not start.startswith(header.PREFIX, 8):
                raise BaselineError(f"baseline {os.fspath(path)!r} cannot be used: {header.NOT_A_BASELINE}")
            file.seek(0)
            return file.read(facts.st_size)
    except (OSError, ValueError) as error:
        raise BaselineError(f"baseline {os.fspath(path)!r} cannot be read: {_reason(error)}") from None


def save(baseline: Profile, path: Union[str, PathLike[str]]) -> Profile:
    """Write ``baseline`` to ``path`` by way of a temporary file beside it, and return it with its ``sha256``."""
    data = to_bytes(baseline)
    temporary = f"{os.fspath(path)}.{os.getpid()}.tmp"
    try:
        try:
            with open(temporary, "xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except BaseException:  # whatever ends this, an interrupt included, leaves no file behind
            with suppress(OSError, ValueError):
                os.unlink(temporary)
            raise
    except (OSError, ValueError) as error:
        raise BaselineError(f"baseline {os.fspath(path)!r} cannot be written: {_reason(error)}") from None
    return replace(baseline, sha256=data[header.DIGEST].decode())


def from_bytes(data: bytes, name: str) -> Profile:
    """The baseline in the bytes of a file; ``name`` is how errors call it.

    Raises
    ------
    BaselineError
        On any bytes but those of a whole, unaltered and consistent baseline.

    Notes
    -----
    Memory: the tensors once more beside ``data``. The arrays are read-only, and features share them.
    """
    try:
        sha256 = header.verify_digest(data)
        head = header.read(data)
        arrays = _tensors(data, head)
        validity.check(head, arrays)
    except BaselineError as error:
        raise BaselineError(f"baseline {name!r} cannot be used: {error}") from None
    features = tuple(_features(head, arrays))
    variation = arrays.get("joint.variation", np.zeros(0))
    return Profile(features, head.rows, head.created, head.seed, sha256, variation)


def to_bytes(baseline: Profile) -> bytes:
    """The file's content, the same bytes for the same baseline.

    Raises
    ------
    BaselineError
        When the baseline contradicts itself (docs/artifact-format.md lists the rules).
    """
    from safetensors.numpy import save as serialise

    if not baseline.features:
        raise BaselineError("a baseline must have at least one feature, got none")
    head = header.Header(
        baseline.schema, baseline.rows, baseline.sample_rows, baseline.created, baseline.seed, baseline.spans, {}
    )
    text = header.write(head)
    arrays = _stacked(baseline)
    for name, (_, shape) in validity.layout(head).items():
        if arrays[name].shape != shape:
            raise BaselineError(f"a baseline's {name} must have the shape {shape}, got {arrays[name].shape}")
    validity.check(head, arrays)
    blank: bytes = serialise(arrays, {header.KEY: text})
    header.header_bytes(blank)
    return b"".join((blank[: header.DIGEST.start], header.digest(blank).encode(), blank[header.DIGEST.stop :]))


def read_schema(data: bytes) -> tuple[Feature, ...]:
    """The features alone, from the header; works without safetensors, and when the tensors are damaged or cut off.

    The features have a digest of their own, so what is returned is what was written.

    Raises
    ------
    BaselineError
        When the header itself is damaged.
    """
    return header.read(data).features


def _tensors(data: bytes, head: header.Header) -> dict[str, npt.NDArray[Any]]:
    expected = validity.layout(head)
    if head.tensors != expected:
        wrong = sorted(name for name in {*expected, *head.tensors} if expected.get(name) != head.tensors.get(name))
        raise BaselineError(f"its tensors must be those of its features, got others at {wrong[0][:100]!r}")
    try:
        from safetensors import SafetensorError
        from safetensors.numpy import load as deserialise
    except ImportError:
        raise BaselineError("safetensors is not installed here: pip install safetensors") from None
    try:
        arrays: dict[str, npt.NDArray[Any]] = deserialise(data)
    except (SafetensorError, ValueError) as error:
        raise BaselineError(f"its tensors must be those of its header, got: {error}") from None
    for array in arrays.values():
        array.flags.writeable = False
    return arrays


def _stacked(baseline: Profile) -> dict[str, npt.NDArray[Any]]:
    numbers = [feature for feature in baseline.features if isinstance(feature, NumericBaseline)]
    categories = [feature for feature in baseline.features if isinstance(feature, CategoricalBaseline)]
    try:
        arrays: dict[str, npt.NDArray[Any]] = {
            "importance": np.array([feature.importance for feature in baseline.features], np.float64)
        }
        if numbers:
            arrays.update(_stacked_numbers(numbers))
        if categories:
            arrays["categorical.missing"] = np.array([f.missing for f in categories], np.int64)
            arrays["categorical.counts"] = np.concatenate([f.counts for f in categories]).astype(np.int64)
            arrays["categorical.sample"] = np.stack([f.sample for f in categories]).astype(np.uint16)
        for name, features, effects in (
            ("numeric.variation", numbers, NUMERIC_EFFECTS),
            ("categorical.variation", categories, CATEGORICAL_EFFECTS),
        ):
            if features and baseline.spans:
                arrays[name] = np.stack([_effects(f.variation, effects) for f in features])
        if baseline.spans:
            arrays["joint.variation"] = np.asarray(baseline.joint_variation, np.float64)
    except (ValueError, OverflowError, TypeError) as error:
        raise BaselineError(f"the features of a baseline must have arrays of the same shapes, got: {error}") from None
    return arrays


def _stacked_numbers(numbers: list[NumericBaseline]) -> dict[str, npt.NDArray[Any]]:
    return {
        "numeric.tallies": np.array([[f.count, f.missing, f.invalid] for f in numbers], np.int64),
        "numeric.moments": np.array([[f.mean, f.std, f.minimum, f.maximum] for f in numbers], np.float64),
        "numeric.quantiles": np.stack([f.quantiles for f in numbers]).astype(np.float64),
        "numeric.edges": np.stack([_padded(f.edges, np.nan) for f in numbers]).astype(np.float64),
        "numeric.edge_counts": np.stack([_padded(f.edge_counts, 0) for f in numbers]).astype(np.int64),
        "numeric.sample": np.stack([f.sample for f in numbers]).astype(np.float64),
    }


def _effects(variation: Variation, names: Sequence[str]) -> npt.NDArray[np.float64]:
    if set(variation) != set(names):
        raise ValueError(f"variation of {sorted(variation)} in place of {sorted(names)}")
    return np.stack([variation[name] for name in names]).astype(np.float64)


def _padded(values: npt.NDArray[Any], filler: float) -> npt.NDArray[Any]:
    return np.pad(values, (0, max(MOST_EDGES - len(values), 0)), constant_values=filler)


def _features(head: header.Header, arrays: validity.Arrays) -> Iterator[FeatureBaseline]:
    number = category = start = 0
    for place, feature in enumerate(head.features):
        importance = float(arrays["importance"][place])
        if feature.kind == "numeric":
            yield _number(feature.name, arrays, number, importance)
            number += 1
        else:
            end = start + len(feature.categories)
            yield CategoricalBaseline(
                name=feature.name,
                categories=feature.categories,
                counts=arrays["categorical.counts"][start:end],
                missing=int(arrays["categorical.missing"][category]),
                sample=arrays["categorical.sample"][category],
                importance=importance,
                variation=_variation(arrays.get("categorical.variation"), category, CATEGORICAL_EFFECTS),
            )
            category, start = category + 1, end


def _number(name: str, arrays: validity.Arrays, row: int, importance: float) -> NumericBaseline:
    count, missing, invalid = arrays["numeric.tallies"][row].tolist()
    mean, std, minimum, maximum = arrays["numeric.moments"][row].tolist()
    bins = int((~np.isnan(arrays["numeric.edges"][row])).sum())
    return NumericBaseline(
        name=name,
        count=count,
        missing=missing,
        invalid=invalid,
        mean=mean,
        std=std,
        minimum=minimum,
        maximum=maximum,
        quantiles=arrays["numeric.quantiles"][row],
        edges=arrays["numeric.edges"][row, :bins],
        edge_counts=arrays["numeric.edge_counts"][row, :bins],
        sample=arrays["numeric.sample"][row],
        importance=importance,
        variation=_variation(arrays.get("numeric.variation"), row, NUMERIC_EFFECTS),
    )


def _variation(effects: Optional[npt.NDArray[Any]], row: int, names: Sequence[str]) -> Variation:
    return {} if effects is None else dict(zip(names, effects[row]))


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)  # of a pipe into which nobody writes


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)
