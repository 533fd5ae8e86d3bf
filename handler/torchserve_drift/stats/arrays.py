"""The types of arrays. Only this module defines them. The docstring of a function gives the shape of an array."""

from __future__ import annotations

from typing import Any, Union

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

Bools = npt.NDArray[np.bool_]

Integers = npt.NDArray[np.int64]

Indices = npt.NDArray[np.intp]
"""Positions in another array."""

AnyIntegers = npt.NDArray[np.integer]
"""Counts or codes, of any integer type."""

Codes = npt.NDArray[np.uint16]
"""Values of one feature as codes against its baseline."""

Priorities = npt.NDArray[np.uint32]
"""Random numbers that decide which rows are in a sample."""

Flags = npt.NDArray[np.uint8]
"""0 or another number, in one byte each, as shared memory holds them."""

AnyArray = npt.NDArray[Any]

FloatsLike = Union[float, npt.NDArray[np.floating], npt.NDArray[np.integer]]
"""One number or an array of numbers, for functions that compute many values at once."""
