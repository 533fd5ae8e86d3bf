"""The header of a baseline's file: its digest, and the JSON that names the features. Reads without safetensors."""

from __future__ import annotations

import hashlib
import json
import re
import reprlib
from dataclasses import dataclass
from typing import Any

from torchserve_drift.baseline.profile import LARGEST_CATEGORIES, LARGEST_SAMPLE, MOST_SPANS
from torchserve_drift.errors import BaselineError
from torchserve_drift.features.schema import LONGEST_CATEGORY, Feature

KEY = "torchserve_drift.baseline"
FORMAT_VERSION = 2
PREFIX = b'{"__metadata__":{"torchserve_drift.baseline":"{\\"sha256\\":\\"'
"""How every header begins; the digest's 64 digits follow, at the same place in every file."""

DIGEST = slice(8 + len(PREFIX), 8 + len(PREFIX) + 64)
LARGEST_HEADER = 100_000_000
"""Bytes; safetensors' own limit."""

LARGEST_ROWS = 2**40
NOT_A_BASELINE = "it must begin as a baseline does; it is some other file, or damaged"
_CREATED = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|\+00:00)", re.ASCII)
_FIELDS = frozenset(
    ("sha256", "format_version", "created", "rows", "sample_rows", "seed", "spans", "features_sha256", "features")
)


@dataclass(frozen=True)
class Header:
    """``tensors`` maps a name to (dtype, shape) as safetensors spells them."""

    features: tuple[Feature, ...]
    rows: int
    sample_rows: int
    created: str
    seed: int
    spans: int
    tensors: dict[str, tuple[str, tuple[int, ...]]]

    @property
    def numeric(self) -> list[Feature]:
        return [feature for feature in self.features if feature.kind == "numeric"]

    @property
    def categorical(self) -> list[Feature]:
        return [feature for feature in self.features if feature.kind == "categorical"]


def write(header: Header) -> str:
    """The metadata of a new file, its digest still zeros."""
    plain = [_plain(feature) for feature in header.features]
    content = {
        "sha256": "0" * 64,
        "format_version": FORMAT_VERSION,
        "created": header.created,
        "rows": header.rows,
        "sample_rows": header.sample_rows,
        "seed": header.seed,
        "spans": header.spans,
        "features_sha256": _features_digest(plain),
        "features": plain,
    }
    parse_metadata(content)
    return _compact(content)


def digest(data: bytes) -> str:
    """The SHA-256 of ``data`` with the digest's own digits replaced by zeros."""
    view = memoryview(data)
    total = hashlib.sha256(view[: DIGEST.start])
    total.update(b"0" * 64)
    total.update(view[DIGEST.stop :])
    return total.hexdigest()


def verify_digest(data: bytes) -> str:
    """The digest written in ``data``, once it has been found to be that of ``data``."""
    header_bytes(data)
    written, actual = data[DIGEST], digest(data)
    if written != actual.encode():
        raise BaselineError(f"its sha256 must be {actual}, got {written.decode('ascii', 'backslashreplace')!r}")
    return actual


def header_bytes(data: bytes) -> bytes:
    """The JSON at the start of ``data``, its declared length and its first bytes checked."""
    length = int.from_bytes(data[:8], "little")
    if len(data) < 8 or not length <= min(len(data) - 8, LARGEST_HEADER):
        raise BaselineError(f"its header must end within its {len(data)} bytes, got {length} bytes of header")
    if not data.startswith(PREFIX, 8) or len(data) < DIGEST.stop:
        raise BaselineError(NOT_A_BASELINE)
    return data[8 : 8 + length]


def read(data: bytes) -> Header:
    """The header of ``data``, every value of it checked; the digest is not."""
    outer = _object(_json(header_bytes(data)), "header")
    inner = _object(outer.pop("__metadata__", None), "metadata")
    if list(inner) != [KEY] or not isinstance(inner[KEY], str):
        raise BaselineError(f"its metadata must have the one key {KEY!r}, got {reprlib.repr(list(inner))}")
    content = _object(_json(inner[KEY].encode("utf-8", "surrogatepass")), "metadata")
    version = content.get("format_version")
    if type(version) is not int or version != FORMAT_VERSION:
        remedy = "build it anew" if type(version) is int and version < FORMAT_VERSION else "update torchserve-drift"
        raise BaselineError(f"its format_version must be {FORMAT_VERSION}, got {reprlib.repr(version)}; {remedy}")
    features = parse_metadata(content)
    tensors = {name: _tensor(entry, name) for name, entry in outer.items()}
    known = {key: content[key] for key in ("rows", "sample_rows", "created", "seed", "spans")}
    return Header(features, **known, tensors=tensors)


def parse_metadata(content: dict[str, Any]) -> tuple[Feature, ...]:
    """The features of the metadata, once all of its values have been checked."""
    if set(content) != _FIELDS:
        raise BaselineError(f"its metadata must have the keys {sorted(_FIELDS)}, got {reprlib.repr(sorted(content))}")
    rows = _integer(content["rows"], "rows", 1, LARGEST_ROWS)
    _integer(content["sample_rows"], "sample_rows", 1, min(rows, LARGEST_SAMPLE))
    _integer(content["seed"], "seed", 0, 2**63 - 1)
    _integer(content["spans"], "spans", 0, MOST_SPANS)
    created = content["created"]
    if not isinstance(created, str) or not _CREATED.fullmatch(created):
        raise BaselineError(f"its time of creation must be ISO 8601 in UTC, got {reprlib.repr(created)}")
    if not isinstance(content["features"], list) or not content["features"]:
        raise BaselineError("its features must be a list of at least one, got none")
    features = tuple(_feature(entry) for entry in content["features"])
    if len({feature.name for feature in features}) < len(features):
        raise BaselineError("the names of its features must differ from one another, got one of them twice")
    if content["features_sha256"] != _features_digest(content["features"]):
        raise BaselineError("the sha256 of its features must be the one written beside them; it is damaged")
    return features


def _feature(entry: object) -> Feature:
    plain = _object(entry, "feature")
    kind, name = plain.get("kind"), plain.get("name")
    if kind not in ("numeric", "categorical"):
        raise BaselineError(f"a feature's kind must be numeric or categorical, got {reprlib.repr(kind)}")
    expected = {"name", "kind", "categories"} if kind == "categorical" else {"name", "kind"}
    if set(plain) != expected or not isinstance(name, str) or not name:
        raise BaselineError(f"a feature must be {sorted(expected)} with a name, got {reprlib.repr(plain)}")
    if kind == "numeric":
        return Feature(name, "numeric")
    return Feature(name, "categorical", _categories(plain["categories"], name))


def _categories(values: object, name: str) -> tuple[str, ...]:
    what = f"the categories of {reprlib.repr(name)}"
    if not isinstance(values, list) or len(values) > LARGEST_CATEGORIES:
        raise BaselineError(f"{what} must be a list of at most {LARGEST_CATEGORIES}, got another")
    for value in values:
        if not isinstance(value, str) or len(value) > LONGEST_CATEGORY:
            raise BaselineError(
                f"{what} must be texts of at most {LONGEST_CATEGORY} characters, got {reprlib.repr(value)}"
            )
    if len(set(values)) < len(values):
        raise BaselineError(f"{what} must differ from one another, got one of them twice")
    return tuple(values)


def _tensor(entry: object, name: str) -> tuple[str, tuple[int, ...]]:
    plain = _object(entry, "tensor")
    dtype, shape = plain.get("dtype"), plain.get("shape")
    if not isinstance(dtype, str) or not isinstance(shape, list) or any(type(n) is not int for n in shape):
        raise BaselineError(f"its tensor {reprlib.repr(name)} must have a dtype and a shape, got {reprlib.repr(plain)}")
    return dtype, tuple(shape)


def _plain(feature: Feature) -> dict[str, Any]:
    plain: dict[str, Any] = {"name": feature.name, "kind": feature.kind}
    return {**plain, "categories": list(feature.categories)} if feature.kind == "categorical" else plain


def _features_digest(plain: object) -> str:
    return hashlib.sha256(_compact(plain).encode()).hexdigest()


def _compact(content: object) -> str:
    # ASCII only, so that names with lone surrogates, which no UTF-8 can hold, survive
    return json.dumps(content, ensure_ascii=True, separators=(",", ":"))


def _json(text: bytes) -> Any:
    try:
        return json.loads(text.decode("utf-8"), parse_constant=_refuse)
    except (ValueError, RecursionError):
        raise BaselineError("its header must be JSON; it is damaged") from None


def _refuse(constant: str) -> None:
    raise ValueError(constant)


def _object(value: object, what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise BaselineError(f"its {what} must be a JSON object, got {reprlib.repr(value)}")
    return value


def _integer(value: object, what: str, low: int, high: int) -> int:
    if type(value) is not int or not low <= value <= high:
        raise BaselineError(f"its {what} must be an integer from {low} to {high}, got {reprlib.repr(value)}")
    return value
