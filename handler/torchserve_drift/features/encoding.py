"""Encodes values of any type as float64, the form in which rows are passed on.

A number stays as it is, a category becomes the index of its `category_key`, a missing value becomes NaN, and a value of
a wrong type becomes one special NaN. All values of a row have one type, so that the request path copies it at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from operator import itemgetter
from typing import Any, Callable, Optional

import numpy as np

from torchserve_drift.errors import FeatureError, RowLengthError
from torchserve_drift.features.schema import Feature, Mistyped, category_key
from torchserve_drift.stats.arrays import AnyArray, Bools, Floats

UNSEEN_INDEX = -1.0
"""Encodes a category that the baseline does not have."""

_MISTYPED_BITS = 0x7FF8_6D69_7374_7970

MISTYPED_VALUE = float(np.array([_MISTYPED_BITS], dtype=np.int64).view(np.float64)[0])
"""Encodes a value of a wrong type: a NaN whose bits no other NaN has."""

_PLAIN_NUMBERS = frozenset((int, float))
_FLOAT64, _FLOAT32 = np.dtype(np.float64), np.dtype(np.float32)


def is_mistyped(values: Floats) -> Bools:
    """Which of ``values`` (contiguous float64) are `MISTYPED_VALUE`.

    Examples
    --------
    >>> is_mistyped(np.array([1.0, np.nan, MISTYPED_VALUE])).tolist()
    [False, False, True]
    """
    mistyped: Bools = values.view(np.int64) == _MISTYPED_BITS
    return mistyped


def encode_number(value: object) -> float:
    """A value of a numeric feature as float64: NaN if it is missing, `MISTYPED_VALUE` if it is not a number.

    Examples
    --------
    >>> encode_number(3), encode_number(None), encode_number(10**400)
    (3.0, nan, inf)
    >>> is_mistyped(np.array([encode_number("3"), encode_number(True)])).tolist()
    [True, True]
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
    """Maps each category to its index; `of` takes values of any type."""

    def __init__(self, categories: Sequence[str]) -> None:
        super().__init__((category, float(i)) for i, category in enumerate(categories))

    def of(self, value: object) -> float:
        """The index of a value's category.

        It is `UNSEEN_INDEX` for an unknown category, NaN for a missing value, and `MISTYPED_VALUE` for a value that
        cannot be a category.
        """
        key = category_key(value)
        if key is None:
            return float("nan")
        return MISTYPED_VALUE if isinstance(key, Mistyped) else self.get(key, UNSEEN_INDEX)


Encoder = Optional[CategoryIndex]
"""How a feature's values are encoded: by an index of its categories, or ``None`` for numbers."""


class RowEncoder:
    """Encodes rows of one model's features, in the order of its schema. Thread-safe."""

    def __init__(self, schema: Sequence[Feature]) -> None:
        self.schema = tuple(schema)
        self.names = tuple(feature.name for feature in schema)
        self.known = frozenset(self.names)
        self.indexes: tuple[Encoder, ...] = tuple(
            CategoryIndex(feature.categories) if feature.kind == "categorical" else None for feature in schema
        )
        self._numbers = [i for i, index in enumerate(self.indexes) if index is None]
        self._categories = [(i, index) for i, index in enumerate(self.indexes) if index is not None]
        self._get_features = _tuple_getter(self.names)
        self._get_numbers = _tuple_getter(self._numbers)

    def json_object(self, row: Mapping[str, Any]) -> tuple[list[float], int]:
        """A JSON object as one row, and how many of its names are not features."""
        try:
            values = self._get_features(row)  # much faster than a look-up per feature, but fails if one is absent
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
            If there are more or fewer values than features.
        """
        if len(values) != len(self.names):
            raise RowLengthError(f"a row must be {len(self.names)} values, got {len(values)}")
        row = list(values)
        numbers = self._get_numbers(row)
        # In the common case all are plain numbers, which stay as they are; one check for all of them is much faster.
        if not (_PLAIN_NUMBERS.issuperset(map(type, numbers)) and _fit_floats(numbers)):
            for i in self._numbers:
                row[i] = encode_number(row[i])
        for i, index in self._categories:
            value = row[i]
            found = index.get(value) if type(value) is str else None
            row[i] = index.of(value) if found is None else found
        return row

    def plain_columns(self, columns: Mapping[str, Any]) -> Optional[Floats]:  # noqa: PLR0911 - refuses at the first doubt
        """Rows (m, F) like those of `columns`, but only for columns that can be joined without looking at each value.

        That is so if all features are numeric and all columns are arrays of one floating-point type and length; for
        other columns the result is ``None``. Most batches take this way: it joins buffers instead of copying each
        column by itself.
        """
        if self._categories or len(columns) != len(self.names):
            return None
        try:
            arrays = self._get_features(columns)
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
        except (TypeError, BufferError):  # a column of a matrix is not contiguous in memory
            stacked = np.array(arrays)
            return stacked.T if stacked.ndim == 2 else None
        if len(joined) != len(arrays) * count * dtype.itemsize:  # a column has more than one dimension
            return None
        rows: Floats = np.ndarray((len(arrays), count), dtype, joined).T
        return rows

    def matrix(self, rows: AnyArray) -> Floats:
        """``rows`` themselves, after a check that they are rows (m, F) of a model whose features are all numeric.

        Raises
        ------
        FeatureError
            If the array has another shape, does not hold numbers, or a feature of the model is categorical.
        """
        if self._categories or rows.ndim != 2 or rows.shape[1] != len(self.names) or rows.dtype.kind not in "fiu":
            wanted = f"numbers of shape (rows, {len(self.names)}), of a model without categories"
            raise FeatureError(f"an array of rows must be {wanted}, got {rows.dtype} of shape {rows.shape}")
        return rows

    def columns(self, columns: Mapping[str, Any]) -> Floats:
        """Columns of equal length as rows (m, F).

        The values of a feature without a column are missing. Columns that belong to no feature are ignored.

        Raises
        ------
        FeatureError
            If columns have different lengths or more than one dimension, or if no column belongs to a feature.
        """
        present = [name for name in self.names if name in columns]
        if not present:
            raise FeatureError(f"columns must hold features of the baseline, got {first_names(columns)}")
        count = _column_length(columns[present[0]], present[0])
        rows = np.full((count, len(self.names)), np.nan)
        for i, name in enumerate(self.names):
            if name in columns:
                values = columns[name]
                if _column_length(values, name) != count:
                    raise FeatureError(f"column {name!r} must have {count} values, got {len(values)}")
                rows[:, i] = encode_column(values, self.indexes[i])
        return rows


def encode_column(values: Any, index: Encoder) -> Floats:
    """One column (m,) as float64; ``index`` encodes categories, ``None`` numbers."""
    array = values if isinstance(values, np.ndarray) else _object_array(values)
    if index is None:
        if array.dtype.kind in "fiu":
            return array.astype(np.float64)
        return np.array([encode_number(value) for value in array.tolist()], dtype=np.float64)
    items: Iterable[Any] = array.tolist()
    get = index.get
    return np.array([get(v) if type(v) is str and v in index else index.of(v) for v in items], dtype=np.float64)


def _object_array(values: Any) -> AnyArray:
    # item by item: numpy would make a matrix of a list of lists
    array = np.empty(len(values), dtype=object)
    for i, value in enumerate(values):
        array[i] = value
    return array


def _column_length(values: Any, name: str) -> int:
    if getattr(values, "ndim", 1) != 1 or isinstance(values, (str, bytes)) or not hasattr(values, "__len__"):
        raise FeatureError(f"column {name!r} must be an array of one dimension, got {type(values).__name__}")
    return len(values)


def first_names(names: Iterable[object]) -> str:
    """The first three of ``names``, for an error message. Each is cut to 100 characters: a client chose them."""
    return repr([name[:100] for name in sorted(map(str, names))[:3]])


def _tuple_getter(keys: Sequence[Any]) -> Callable[[Any], tuple[Any, ...]]:
    """``itemgetter`` that returns a tuple for any number of keys, also for one and for none."""
    if len(keys) == 1:
        only = keys[0]
        return lambda row: (row[only],)
    return itemgetter(*keys) if keys else lambda _: ()


def _fit_floats(numbers: Sequence[float]) -> bool:
    """Whether all of ``numbers`` are surely within the range of float64, unlike an integer of 400 digits.

    It may be False if a number is NaN, since comparisons with NaN are.
    """
    return not numbers or -1e300 < min(numbers) <= max(numbers) < 1e300
