"""The importance of each feature to the model: weights by name, scaled to the sum 1."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from os import PathLike
from typing import Any, Union

from torchserve_drift.errors import BaselineError


def read_importance(path: Union[str, PathLike[str]]) -> dict[str, float]:
    """The weights in a JSON file that holds one object of name to weight, such as ``{"age": 3, "city": 0.5}``.

    Raises
    ------
    BaselineError
        When the file cannot be read, holds something else, or names a feature twice; when a weight is negative or not a
        finite number.
    """
    what = f"importance file {os.fspath(path)!r}"
    try:
        with open(path, encoding="utf-8-sig") as file:
            content = json.load(file, object_pairs_hook=_object_without_repeated_names)
    except OSError as error:
        raise BaselineError(f"{what} cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise BaselineError(f"{what} must be JSON: {error}") from None
    if not isinstance(content, dict):
        raise BaselineError(f"{what} must be an object of name to weight, got {type(content).__name__}")
    return {name: _checked_weight(value, f"{what}: the weight of {name!r}") for name, value in content.items()}


def normalised(weights: Mapping[str, float], names: Sequence[str]) -> dict[str, float]:
    """The share of each of ``names``, in [0, 1]; all shares sum to 1. A name without a weight has the share 0.

    Raises
    ------
    BaselineError
        When a weight is of none of ``names``, is negative or infinite, or all weights are 0.

    Examples
    --------
    >>> normalised({"age": 3, "city": 1}, ["age", "city", "day"])
    {'age': 0.75, 'city': 0.25, 'day': 0.0}
    >>> normalised({"agee": 1}, ["age"])
    Traceback (most recent call last):
    torchserve_drift.errors.BaselineError: importance must name features of the baseline, got 'agee'
    """
    known = set(names)
    for name in weights:
        if name not in known:
            raise BaselineError(f"importance must name features of the baseline, got {name!r}")
    checked = {name: _checked_weight(value, f"the importance of {name!r}") for name, value in weights.items()}
    largest = max(checked.values(), default=0.0)
    if largest == 0:
        raise BaselineError("importance must be above 0 for at least one feature, got none")
    # divided by the largest first: the sum of huge weights could be infinite
    relative = {name: value / largest for name, value in checked.items()}
    total = math.fsum(relative.values())
    return {name: relative.get(name, 0.0) / total for name in names}


def _checked_weight(value: object, what: str) -> float:
    try:
        number = math.nan if isinstance(value, (bool, str)) else float(value)  # type: ignore[arg-type] # its failure is the check
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not 0 <= number < math.inf:
        raise BaselineError(f"{what} must be a finite number of 0 or more, got {value!r}")
    return number


def _object_without_repeated_names(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        raise ValueError("an object has a name twice")
    return content
