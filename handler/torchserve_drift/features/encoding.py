"""Values of any type as float64, one row or many: the form in which rows are handed on.

Numbers are themselves, categories the index of their `category_key`, missing values NaN, values of a wrong type a NaN
of their own. A row stays a row of float64, so that the request path is one copy.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from operator import itemgetter
from typing import Any, Callable, Optional, Union

import numpy as np
import numpy.typing as npt

from torchserve_drift.errors import FeatureError, RowLengthError
from torchserve_drift.features.schema import Feature, Mistyped, category_key
from torchserve_drift.stats.arrays import Floats

UNSEEN_INDEX = -1.0
"""A category that the baseline lacks."""

_MISTYPED_BITS = 0x7FF8_6D69_7374_7970

MISTYPED_VALUE = float(np.array([_MISTYPED_BITS], dtype=np.int64).view(np.float64)[0])
"""A value of a wrong type: a NaN with a payload of its own."""

_PLAIN = frozenset((int, float))
_FLOAT64, _FLOAT32 = np.dtype(np.float64), np.dtype(np.float32)


def is_mistyped(values: Floats) -> npt.NDArray[np.bool_]:
    """Which of ``values`` (contiguous float64) are `MISTYPED_VALUE`.

    Examples
    --------
    >>> is_mistyped(np.array([1.0, np.nan, MISTYPED_VALUE])).tolist()
    [False, False, True]
    """
    mistyped: npt.NDArray[np.bool_] = values.view(np.int64) == _MISTYPED_BITS
    return mistyped


def number(value: object) -> float:
    """A value of a numeric feature as float64: NaN where missing, `MISTYPED_VALUE` where it is no number.

    Examples
    --------
    >>> number(3), number(None), number(10**400), is_mistyped(np.array([number("3"), number(True)])).tolist()
    (3.0, nan, inf, [True, True])
    """
    if isinstance(value, (float, np.floating)):
        return float(value)
    if value is None:
        return float("nan")
    if isinstance(value, (int, np.integer)) and not isinstance(value, bool):
        try:
            return float(value)
        except OverflowError:
            return float("inf") if value > 0 else float("-inf")
    return MISTYPED_VALUE


class CategoryIndex(dict[str, float]):
    """Category to index; `of` takes values of any type."""

    def __init__(self, categories: Sequence[str]) -> None:
        super().__init__((category, float(i)) for i, category in enumerate(categories))

    def of(self, value: object) -> float:
        """Index of a value's category: `UNSEEN_INDEX`, NaN where missing, `MISTYPED_VALUE` where it can be none."""
        key = category_key(value)
        if key is None:
            return float("nan")
        return MISTYPED_VALUE if isinstance(key, Mistyped) else self.get(key, UNSEEN_INDEX)


Encoder = Union[CategoryIndex, None]


class RowEncoder:
    """Rows of one model's features as float64, in the order of its schema. Thread-safe."""

    def __init__(self, schema: Sequence[Feature]) -> None:
        self.schema = tuple(schema)
        self.names = tuple(feature.name for feature in schema)
        self.known = frozenset(self.names)
        self.indexes: tuple[Encoder, ...] = tuple(
            CategoryIndex(feature.categories) if feature.kind == "categorical" else None for feature in schema
        )
        self._numbers = [i for i, index in enumerate(self.indexes) if index is None]
        self._categories = [(i, index) for i, index in enumerate(self.indexes) if index is not None]
        self._get = _getter(self.names)
        self._pick_numbers = _getter(self._numbers)

    def object(self, row: Mapping[str, Any]) -> tuple[list[float], int]:
        """A JSON object as one row, and how many of its names are no features."""
        try:
            values = self._get(row)
        except KeyError:
            values = tuple(map(row.get, self.names))
        encoded = self.values(values)
        unknown = 0 if len(row) == len(values) and self.known.issuperset(row) else sum(n not in self.known for n in row)
        return encoded, unknown

    def values(self, values: Sequence[Any]) -> list[float]:
        """A list of values, in the schema's order, as one row.

        Raises
        ------
        RowLengthError
            When there are more or fewer values than features.
        """
        if len(values) != len(self.names):
            raise RowLengthError(f"a row must be {len(self.names)} values, got {len(values)}")
        row = list(values)
        numbers = self._pick_numbers(row)
        if not (_PLAIN.issuperset(map(type, numbers)) and _fit_floats(numbers)):
            for i in self._numbers:
                row[i] = number(row[i])
        for i, index in self._categories:
            value = row[i]
            found = index.get(value) if type(value) is str else None
            row[i] = index.of(value) if found is None else found
        return row

    def plain_columns(self, columns: Mapping[str, Any]) -> Optional[Floats]:  # noqa: PLR0911 - refuses at the first doubt
        """`columns` of a model of numbers only, when every column is an array of one floating-point type; else
        ``None``.

        The request path of most batches: one join of buffers instead of a copy a column.
        """
        if self._categories or len(columns) != len(self.names):
            return None
        try:
            arrays = self._get(columns)
            dtype, count = arrays[0].dtype, len(arrays[0])
            if not (dtype is _FLOAT64 or dtype is _FLOAT32):
                return None
            if [array.dtype for array in arrays].count(dtype) != len(arrays):
                return None
            if list(map(len, arrays)).count(count) != len(arrays):
                return None
        except (KeyError, AttributeError, TypeError):
            return None
        try:
            joined = b"".join(arrays)
        except (TypeError, BufferError):  # columns of a matrix lie apart in memory
            stacked = np.array(arrays)
            return stacked.T if stacked.ndim == 2 else None
        if len(joined) != len(arrays) * count * dtype.itemsize:  # more than one dimension
            return None
        rows: Floats = np.ndarray((len(arrays), count), dtype, joined).T
        return rows

    def matrix(self, rows: npt.NDArray[Any]) -> Floats:
        """Rows (m, F) of a model of numbers only, checked.

        Raises
        ------
        FeatureError
            When they have another shape or are no numbers, or the model has categories.
        """
        if self._categories or rows.ndim != 2 or rows.shape[1] != len(self.names) or rows.dtype.kind not in "fiu":
            wanted = f"numbers of shape (rows, {len(self.names)}), of a model without categories"
            raise FeatureError(f"an array of rows must be {wanted}, got {rows.dtype} of shape {rows.shape}")
        return rows

    def columns(self, columns: Mapping[str, Any]) -> Floats:
        """Columns of equal length as rows (m, F); features without a column are missing, other names are not looked at.

        Raises
        ------
        FeatureError
            When columns have different lengths or more than one dimension, or none is a feature's.
        """
        present = [name for name in self.names if name in columns]
        if not present:
            raise FeatureError(f"columns must hold features of the baseline, got {few(columns)}")
        count = _length(columns[present[0]], present[0])
        rows = np.full((count, len(self.names)), np.nan)
        for i, name in enumerate(self.names):
            if name in columns:
                values = columns[name]
                if _length(values, name) != count:
                    raise FeatureError(f"column {name!r} must have {count} values, got {len(values)}")
                rows[:, i] = encode_column(values, self.indexes[i])
        return rows


def encode_column(values: Any, index: Encoder) -> Floats:
    """One column (m,) as float64, through ``index`` where it is of categories."""
    array = values if isinstance(values, np.ndarray) else _object_array(values)
    if index is None:
        if array.dtype.kind in "fiu":
            return array.astype(np.float64)
        return np.array([number(value) for value in array.tolist()], dtype=np.float64)
    items: Iterable[Any] = array.tolist()
    get = index.get
    return np.array([get(v) if type(v) is str and v in index else index.of(v) for v in items], dtype=np.float64)


def _object_array(values: Any) -> npt.NDArray[Any]:
    array = np.empty(len(values), dtype=object)
    for i, value in enumerate(values):
        array[i] = value
    return array


def _length(values: Any, name: str) -> int:
    if getattr(values, "ndim", 1) != 1 or isinstance(values, (str, bytes)) or not hasattr(values, "__len__"):
        raise FeatureError(f"column {name!r} must be an array of one dimension, got {type(values).__name__}")
    return len(values)


def few(names: Iterable[object]) -> str:
    """The first few of ``names`` as an error shows them: a client chose them, and how long they are."""
    return repr([name[:100] for name in sorted(map(str, names))[:3]])


def _getter(keys: Sequence[Any]) -> Callable[[Any], tuple[Any, ...]]:
    """``itemgetter`` that returns a tuple for any number of keys."""
    if len(keys) == 1:
        only = keys[0]
        return lambda row: (row[only],)
    return itemgetter(*keys) if keys else lambda _: ()


def _fit_floats(numbers: Sequence[float]) -> bool:
    """Whether no integer is too large for a float (one of 400 digits is); False also where NaNs leave it open."""
    return not numbers or -1e300 < min(numbers) <= max(numbers) < 1e300
