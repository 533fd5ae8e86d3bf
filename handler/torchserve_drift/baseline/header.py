"""The header of a baseline's file: JSON that names the features and the tensors. Reading it needs no safetensors."""

from __future__ import annotations

import re
import reprlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Optional

from torchserve_drift.baseline.channels import MOST_CATEGORIES
from torchserve_drift.baseline.digest import BLANK_DIGEST, header_bytes
from torchserve_drift.baseline.feature_json import (
    compact_json,
    feature_from_json,
    feature_to_json,
    features_digest,
    json_integer,
    json_object,
    parsed_json,
)
from torchserve_drift.baseline.profile import LARGEST_SAMPLE, MOST_SPANS
from torchserve_drift.errors import BaselineError
from torchserve_drift.features.schema import Feature

KEY = "torchserve_drift.baseline"
"""The one key of the metadata in a safetensors header."""

FORMAT_VERSION, TIMED_VERSION = 2, 3
"""Of a file without time profiles, and with them. The first has nothing that is new in the second."""

LARGEST_ROWS = 2**40
"""Sums of counts up to this size stay far below 2**63, so checks can add them up without overflow."""

_CREATED = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|\+00:00)", re.ASCII)
_FIELDS = frozenset(
    ("sha256", "format_version", "created", "rows", "sample_rows", "seed", "spans", "features_sha256", "features")
)
_TIMED_FIELDS = _FIELDS | {"own_categories"}


@dataclass(frozen=True)
class Header:
    """What a header says. ``tensors`` maps a name to (dtype, shape), spelled as in safetensors.

    ``own_categories`` has the number of `channels.own_categories` of each categorical feature; it is None in a file
    without time profiles.
    """

    features: tuple[Feature, ...]
    rows: int
    sample_rows: int
    created: str
    seed: int
    spans: int
    tensors: dict[str, tuple[str, tuple[int, ...]]]
    own_categories: Optional[tuple[int, ...]] = None

    @property
    def numeric(self) -> list[Feature]:
        """The numeric features, in order."""
        return [feature for feature in self.features if feature.kind == "numeric"]

    @property
    def categorical(self) -> list[Feature]:
        """The categorical features, in order."""
        return [feature for feature in self.features if feature.kind == "categorical"]


def metadata_text(header: Header) -> str:
    """The metadata of a new file, with a blank digest; ``header.tensors`` is not part of it.

    Raises
    ------
    BaselineError
        When a value of ``header`` is out of its range.
    """
    features = [feature_to_json(feature) for feature in header.features]
    content: dict[str, Any] = {
        "sha256": BLANK_DIGEST,
        "format_version": FORMAT_VERSION if header.own_categories is None else TIMED_VERSION,
        "created": header.created,
        "rows": header.rows,
        "sample_rows": header.sample_rows,
        "seed": header.seed,
        "spans": header.spans,
        "features_sha256": features_digest(features),
        "features": features,
    }
    if header.own_categories is not None:
        content["own_categories"] = list(header.own_categories)
    _checked_features(content)  # what would be refused when read is not written either
    return compact_json(content)


def read(data: bytes) -> Header:
    """The header of ``data``. Every value in it is checked; the digest is not.

    Raises
    ------
    BaselineError
        When the header is damaged, of another version, or has a value that is out of its range.
    """
    outer = json_object(parsed_json(header_bytes(data)), "header")
    metadata = json_object(outer.pop("__metadata__", None), "metadata")
    if list(metadata) != [KEY] or not isinstance(metadata[KEY], str):
        raise BaselineError(f"its metadata must have the one key {KEY!r}, got {reprlib.repr(list(metadata))}")
    content = json_object(parsed_json(metadata[KEY].encode("utf-8", "surrogatepass")), "metadata")
    # before anything else: another version may have other fields, and then its number is what the user must hear of
    _check_version(content.get("format_version"))
    features = _checked_features(content)
    tensors = {name: _dtype_and_shape(entry, name) for name, entry in outer.items()}
    known = {key: content[key] for key in ("rows", "sample_rows", "created", "seed", "spans")}
    own = tuple(content["own_categories"]) if "own_categories" in content else None
    return Header(features, **known, tensors=tensors, own_categories=own)


def _check_version(version: object) -> None:
    if type(version) is not int or version not in (FORMAT_VERSION, TIMED_VERSION):
        is_older = type(version) is int and version < FORMAT_VERSION
        remedy = "build it anew" if is_older else "update torchserve-drift"
        raise BaselineError(
            f"its format_version must be {FORMAT_VERSION} or {TIMED_VERSION}, got {reprlib.repr(version)}; {remedy}"
        )


def _checked_features(content: dict[str, Any]) -> tuple[Feature, ...]:
    """The features of the metadata, after all values of the metadata have been checked."""
    fields = _TIMED_FIELDS if content["format_version"] == TIMED_VERSION else _FIELDS
    if set(content) != fields:
        raise BaselineError(f"its metadata must have the keys {sorted(fields)}, got {reprlib.repr(sorted(content))}")
    rows = json_integer(content["rows"], "rows", 1, LARGEST_ROWS)
    json_integer(content["sample_rows"], "sample_rows", 1, min(rows, LARGEST_SAMPLE))
    json_integer(content["seed"], "seed", 0, 2**63 - 1)
    json_integer(content["spans"], "spans", 0, MOST_SPANS)
    created = content["created"]
    if not isinstance(created, str) or not _CREATED.fullmatch(created):
        raise BaselineError(f"its time of creation must be ISO 8601 in UTC, got {reprlib.repr(created)}")
    if not isinstance(content["features"], list) or not content["features"]:
        raise BaselineError("its features must be a list of at least one, got none")
    features = tuple(feature_from_json(entry) for entry in content["features"])
    if len({feature.name for feature in features}) < len(features):
        raise BaselineError("the names of its features must differ from one another, got one of them twice")
    # the digest of the whole file is not known when only the header is read: the features have their own
    if content["features_sha256"] != features_digest(content["features"]):
        raise BaselineError("the sha256 of its features must be the one written beside them; it is damaged")
    if "own_categories" in content:
        _check_own_categories(content["own_categories"], features)
    return features


def _check_own_categories(numbers: object, features: Sequence[Feature]) -> None:
    categorical = [feature for feature in features if feature.kind == "categorical"]
    if not isinstance(numbers, list) or len(numbers) != len(categorical):
        raise BaselineError(f"its own_categories must be {len(categorical)} integers, got {reprlib.repr(numbers)}")
    for number, feature in zip(numbers, categorical):
        json_integer(number, "own_categories", 0, min(len(feature.categories), MOST_CATEGORIES))


def _dtype_and_shape(entry: object, name: str) -> tuple[str, tuple[int, ...]]:
    content = json_object(entry, "tensor")
    dtype, shape = content.get("dtype"), content.get("shape")
    if not isinstance(dtype, str) or not isinstance(shape, list) or any(type(n) is not int for n in shape):
        raise BaselineError(
            f"its tensor {reprlib.repr(name)} must have a dtype and a shape, got {reprlib.repr(content)}"
        )
    return dtype, tuple(shape)
