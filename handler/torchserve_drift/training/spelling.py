"""How values of training data are spelled as categories, so that they equal those of requests."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from typing import Any, Optional

from torchserve_drift.features.schema import Mistyped, category_key

ABSENT_NUMBERS = ("NA", "N/A", "#N/A", "<NA>", "NULL", "Null", "null", "None")
"""In CSV, these mean a missing number, as an empty cell and NaN do. In a column of text they are categories."""

_NUMBER = re.compile(r"\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*", re.ASCII)
_LEADING_ZERO = re.compile(r"\s*[+-]?0\d+\s*", re.ASCII)


def spelled(values: Sequence[Any], is_text: bool) -> Iterator[Optional[str]]:
    """Each of a column's distinct values as the category that a request would send; ``None`` for a missing one.

    With ``is_text`` the values are cells of a CSV file, which does not say whether "1" is a number or a text. It is a
    number when all cells are numbers, and a text when any has a leading zero, as codes and telephone numbers have.

    Examples
    --------
    >>> list(spelled(["3", "3.0", "NA"], is_text=True)), list(spelled(["True", "False"], is_text=True))
    (['3', '3', None], ['true', 'false'])
    >>> list(spelled(["007", "3"], is_text=True)), list(spelled(["NA", "DL"], is_text=True))
    (['007', '3'], ['NA', 'DL'])
    >>> list(spelled([2.0], is_text=False))
    ['2']
    """
    cells = [value for value in values if value is not None] if is_text else []
    if cells and all(cell.lower() in ("true", "false") for cell in cells):
        return (None if value is None else value.lower() for value in values)
    # a mark such as NA is a missing value only among numbers; among texts it may be a category, such as a country
    numbers = [cell for cell in cells if cell not in ABSENT_NUMBERS]
    if numbers and all(_NUMBER.fullmatch(cell) and not _LEADING_ZERO.fullmatch(cell) for cell in numbers):
        return (None if value is None or value in ABSENT_NUMBERS else _category(_parsed(value)) for value in values)
    return (_category(value) for value in values)


def hashable(value: Any) -> Any:
    """``value`` as a key of mappings. NaN becomes ``None``: it is not equal to itself, so each would be a new key."""
    return None if isinstance(value, float) and math.isnan(value) else value


def _parsed(cell: str) -> object:
    try:
        return int(cell)
    except ValueError:
        return float(cell)


def _category(value: object) -> Optional[str]:
    category = category_key(value)
    assert not isinstance(category, Mistyped)  # the types of columns are checked before their values are read
    return category
