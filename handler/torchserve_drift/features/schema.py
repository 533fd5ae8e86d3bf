"""Names, kinds and categories of a model's features, in the order of the baseline."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from typing import Literal, Union

import numpy as np

Kind = Literal["numeric", "categorical"]

LONGEST_CATEGORY = 200
"""The most characters of a category. A longer one is replaced by its SHA-256, so that no request can make a label or a
table grow."""


@dataclass(frozen=True)
class Feature:
    """One input of the model.

    ``categories`` of a categorical feature are in the order of their index: by falling frequency in the baseline, then
    by name. A numeric feature has none.
    """

    name: str
    kind: Kind
    categories: tuple[str, ...] = ()


class Mistyped:
    """The type of `MISTYPED`."""

    def __repr__(self) -> str:
        return "MISTYPED"


MISTYPED = Mistyped()
"""Returned by `category_key` for a value that cannot be a category, such as a list or an object."""


def category_key(value: object) -> Union[str, Mistyped, None]:  # noqa: PLR0911 - one return a type
    """The text that stands for a value as a category; it is the same in training data and in requests.

    Returns ``None`` for a missing value (null, NaN) and `MISTYPED` for a value that is not a scalar. Integers, and
    floats that are whole numbers, are written as integers; booleans are ``true`` and ``false``.

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
        return _integer_text(int(value))
    if isinstance(value, (float, np.floating)):
        number = float(value)
        if math.isnan(number):
            return None
        return str(int(number)) if number.is_integer() and abs(number) < 2**63 else repr(number)
    return MISTYPED


def hashed(value: str) -> str:
    """What replaces a category that is too long to keep: ``sha256:`` and 64 hexadecimal digits."""
    return "sha256:" + hashlib.sha256(value.encode("utf-8", "surrogatepass")).hexdigest()


def _integer_text(value: int) -> str:
    # For a huge integer str() takes quadratic time, and raises beyond 4,300 digits in newer Pythons; hex() is linear.
    return str(value) if value.bit_length() <= 256 else hashed(hex(value))
