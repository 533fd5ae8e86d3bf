"""The features of a baseline as JSON, and checks of JSON values from files that are not trusted."""

from __future__ import annotations

import hashlib
import json
import reprlib
from typing import Any

from torchserve_drift.baseline.profile import LARGEST_CATEGORIES
from torchserve_drift.errors import BaselineError
from torchserve_drift.features.schema import LONGEST_CATEGORY, Feature


def feature_to_json(feature: Feature) -> dict[str, Any]:
    """``feature`` as it stands in the metadata."""
    content: dict[str, Any] = {"name": feature.name, "kind": feature.kind}
    return {**content, "categories": list(feature.categories)} if feature.kind == "categorical" else content


def feature_from_json(entry: object) -> Feature:
    """The feature that ``entry`` of the metadata describes.

    Raises
    ------
    BaselineError
        When ``entry`` has other keys or values than a feature has.
    """
    content = json_object(entry, "feature")
    kind, name = content.get("kind"), content.get("name")
    if kind not in ("numeric", "categorical"):
        raise BaselineError(f"a feature's kind must be numeric or categorical, got {reprlib.repr(kind)}")
    expected = {"name", "kind", "categories"} if kind == "categorical" else {"name", "kind"}
    if set(content) != expected or not isinstance(name, str) or not name:
        raise BaselineError(f"a feature must be {sorted(expected)} with a name, got {reprlib.repr(content)}")
    if kind == "numeric":
        return Feature(name, "numeric")
    return Feature(name, "categorical", _categories(content["categories"], name))


def _categories(values: object, name: str) -> tuple[str, ...]:
    what = f"the categories of {reprlib.repr(name)}"
    if not isinstance(values, list) or len(values) > LARGEST_CATEGORIES:
        raise BaselineError(f"{what} must be a list of at most {LARGEST_CATEGORIES}, got something else")
    for value in values:
        if not isinstance(value, str) or len(value) > LONGEST_CATEGORY:
            raise BaselineError(
                f"{what} must be texts of at most {LONGEST_CATEGORY} characters, got {reprlib.repr(value)}"
            )
    if len(set(values)) < len(values):
        raise BaselineError(f"{what} must differ from one another, got one of them twice")
    return tuple(values)


def features_digest(features: object) -> str:
    """The SHA-256, in hexadecimal, of the list of features in its JSON form."""
    return hashlib.sha256(compact_json(features).encode()).hexdigest()


def compact_json(content: object) -> str:
    """``content`` as JSON without spaces."""
    # ASCII only: a name may hold a lone surrogate, which UTF-8 cannot encode
    return json.dumps(content, ensure_ascii=True, separators=(",", ":"))


def parsed_json(text: bytes) -> Any:
    """What the JSON in ``text`` holds; BaselineError when ``text`` is not JSON."""
    try:
        return json.loads(text.decode("utf-8"), parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        raise BaselineError("its header must be JSON; it is damaged") from None


def _refuse_constant(constant: str) -> None:
    """NaN and Infinity are not JSON, although Python reads them."""
    raise ValueError(constant)


def json_object(value: object, what: str) -> dict[str, Any]:
    """``value``, once it is known to be a JSON object; ``what`` names it in the error."""
    if not isinstance(value, dict):
        raise BaselineError(f"its {what} must be a JSON object, got {reprlib.repr(value)}")
    return value


def json_integer(value: object, what: str, low: int, high: int) -> int:
    """``value``, once it is known to be an integer from ``low`` to ``high``; ``what`` names it in the error."""
    if type(value) is not int or not low <= value <= high:  # isinstance would let True pass for 1
        raise BaselineError(f"its {what} must be an integer from {low} to {high}, got {reprlib.repr(value)}")
    return value
