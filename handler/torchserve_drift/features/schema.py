"""Names, kinds and categories of a model's features, in the order of the baseline."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from typing import Literal, Union

import numpy as np

Kind = Literal["numeric", "categorical"]

LONGEST_CATEGORY = 200
"""Characters; a longer category is known by its SHA-256, so that no request can make a label or a table grow."""


@dataclass(frozen=True)
class Feature:
    """One input of the model.

    ``categories`` are in the order of their index (falling frequency in the baseline, then by name); empty for numbers.
    """

    name: str
    kind: Kind
    categories: tuple[str, ...] = ()


class Mistyped:
    """The type of `MISTYPED`."""

    def __repr__(self) -> str:
        return "MISTYPED"


MISTYPED = Mistyped()
"""Returned by `category_key` for a value that can be no category (a list, an object, ...)."""


def category_key(value: object) -> Union[str, Mistyped, None]:  # noqa: PLR0911 - one return a type
    """The one spelling under which a value is a category, the same in training data and in requests.

    Returns ``None`` for a missing value (null, NaN) and `MISTYPED` for what is no scalar. Integral numbers are
    spelled as integers, booleans ``true`` and ``false``.

    Examples
    --------
    >>> category_key("DL"), category_key(3), category_key(3.0), category_key(True), category_key(2.5)
    ('DL', '3', '3', 'true', '2.5')
    >>> category_key(None), category_key(float("nan")), category_key([1])
    (None, None, MISTYPED)
    """
    if isinstance(value, str):
        return str(value) if len(value) <= LONGEST_CATEGORY else hashed(value)
    if value is None:
        return None
    if isinstance(value, (bool, np.bool_)):
        return "true" if value else "false"
    if isinstance(value, (int, np.integer)):
        return _spelled_integer(int(value))
    if isinstance(value, (float, np.floating)):
        number = float(value)
        if math.isnan(number):
            return None
        return str(int(number)) if number.is_integer() and abs(number) < 2**63 else repr(number)
    return MISTYPED


def hashed(value: str) -> str:
    """The stand-in for a category too long to keep: ``sha256:`` and 64 hexadecimal digits."""
    return "sha256:" + hashlib.sha256(value.encode("utf-8", "surrogatepass")).hexdigest()


def _spelled_integer(value: int) -> str:
    # str() of an integer beyond 4,300 digits raises in newer Pythons, and hex() is linear where str() is quadratic
    return str(value) if value.bit_length() <= 256 else hashed(hex(value))
