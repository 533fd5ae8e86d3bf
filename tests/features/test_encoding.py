"""Values of any type as float64."""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from torchserve_drift.errors import FeatureError, RowLengthError
from torchserve_drift.features.encoding import (
    MISTYPED_VALUE,
    UNSEEN_INDEX,
    CategoryIndex,
    RowEncoder,
    encode_column,
    encode_number,
    is_mistyped,
)
from torchserve_drift.features.schema import Feature

SCHEMA = (
    Feature("age", "numeric"),
    Feature("device", "categorical", ("mobile", "true", "3")),
    Feature("height", "numeric"),
)
NUMBERS = (Feature("a", "numeric"), Feature("b", "numeric"))
MISTYPED, MISSING = "mistyped", "missing"


def spelled(values: Any) -> list[Any]:
    """Numbers as they are, the two kinds of NaN by name."""
    array = np.array(values, dtype=np.float64).ravel()
    return [
        MISTYPED if wrong else MISSING if math.isnan(value) else value
        for value, wrong in zip(array.tolist(), is_mistyped(array))
    ]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (3, 3.0),
        (-0.5, -0.5),
        (0, 0.0),
        (None, MISSING),
        (math.nan, MISSING),
        (math.inf, math.inf),
        (10**400, math.inf),
        (-(10**5000), -math.inf),
        (np.int8(5), 5.0),
        (np.float32(0.5), 0.5),
        (True, MISTYPED),
        (np.True_, MISTYPED),
        ("3", MISTYPED),
        ("", MISTYPED),
        ([1], MISTYPED),
        ({}, MISTYPED),
        (b"1", MISTYPED),
        (1j, MISTYPED),
    ],
    ids=range(18),
)
def test_a_number_is_a_number_missing_or_mistyped(value: object, expected: object) -> None:
    assert spelled([encode_number(value)]) == [expected]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("mobile", 0.0),
        ("true", 1.0),
        (True, 1.0),
        (3, 2.0),
        (3.0, 2.0),
        ("3", 2.0),
        ("3.0", UNSEEN_INDEX),
        ("Mobile", UNSEEN_INDEX),
        ("", UNSEEN_INDEX),
        (False, UNSEEN_INDEX),
        (10**5000, UNSEEN_INDEX),
        ("x" * 10_000, UNSEEN_INDEX),
        ("\ud800", UNSEEN_INDEX),
        (math.inf, UNSEEN_INDEX),
        (None, MISSING),
        (math.nan, MISSING),
        ([], MISTYPED),
        ({"mobile": 1}, MISTYPED),
        (b"mobile", MISTYPED),
    ],
    ids=range(19),
)
def test_a_category_is_its_index_unseen_missing_or_mistyped(value: object, expected: object) -> None:
    assert spelled([CategoryIndex(SCHEMA[1].categories).of(value)]) == [expected]


ANY = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=4), st.just([]), st.just(10**400)
)


@given(st.lists(ANY, min_size=3, max_size=3))
def test_a_row_is_its_values_one_by_one_however_it_comes(row: list[Any]) -> None:
    """The fast ways (a plain row, a whole column) agree with the definition, value by value."""
    encoder = RowEncoder(SCHEMA)
    index = CategoryIndex(SCHEMA[1].categories)
    expected = spelled([encode_number(row[0]), index.of(row[1]), encode_number(row[2])])
    named = dict(zip(encoder.names, row))
    assert spelled(encoder.values(row)) == expected
    assert spelled(encoder.values(tuple(row))) == expected
    assert spelled(encoder.json_object(named)[0]) == expected
    assert spelled(encoder.json_object(dict(reversed(named.items())))[0]) == expected
    assert spelled(encoder.columns({name: [value] for name, value in named.items()})) == expected
    assert spelled(encoder.columns({name: [value, value] for name, value in named.items()})) == expected * 2


@pytest.mark.parametrize(
    ("row", "expected", "unknown"),
    [
        ({}, [MISSING] * 3, 0),
        ({"age": 4}, [4.0, MISSING, MISSING], 0),
        ({"age": 4, "Age": 5, "x": None}, [4.0, MISSING, MISSING], 2),
        ({"age": 4, "device": "mobile", "height": 2, "x": 1}, [4.0, 0.0, 2.0], 1),
        ({"age": 4, "device": "mobile", "depth": 2}, [4.0, 0.0, MISSING], 1),
        ({"x": 1, "y": 2, "z": 3}, [MISSING] * 3, 3),
    ],
)
def test_an_object_may_lack_features_and_have_others(row: dict[str, Any], expected: list[Any], unknown: int) -> None:
    values, found = RowEncoder(SCHEMA).json_object(row)
    assert (spelled(values), found) == (expected, unknown)


def test_a_model_of_one_feature_and_one_of_categories_only() -> None:
    assert RowEncoder(SCHEMA[:1]).values([7]) == [7.0]
    assert RowEncoder(SCHEMA[:1]).json_object({"age": 7}) == ([7.0], 0)
    assert RowEncoder(SCHEMA[1:2]).values(["true"]) == [1.0]


def test_a_row_of_another_length_is_an_error() -> None:
    with pytest.raises(RowLengthError, match=r"^a row must be 3 values, got 2$"):
        RowEncoder(SCHEMA).values([1, 2])


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"x": [1]}, "columns must hold features of the baseline, got ['x']"),
        ({}, "columns must hold features of the baseline, got []"),
        ({"age": [1, 2], "height": [1]}, "column 'height' must have 2 values, got 1"),
        ({"age": 5}, "column 'age' must be an array of one dimension, got int"),
        ({"age": "12"}, "column 'age' must be an array of one dimension, got str"),
        ({"age": np.zeros((2, 2))}, "column 'age' must be an array of one dimension, got ndarray"),
        ({"age": np.float64(3)}, "column 'age' must be an array of one dimension, got float64"),
    ],
)
def test_columns_that_are_no_rows_are_errors(columns: dict[str, Any], message: str) -> None:
    with pytest.raises(FeatureError, match=f"^{re.escape(message)}$"):
        RowEncoder(SCHEMA).columns(columns)


def test_columns_are_missing_where_there_are_none() -> None:
    rows = RowEncoder(SCHEMA).columns({"age": np.array([1, 2], np.uint8), "x": [9]})
    assert spelled(rows) == [1.0, MISSING, MISSING, 2.0, MISSING, MISSING]
    assert RowEncoder(SCHEMA).columns({"age": []}).shape == (0, 3)


@pytest.mark.parametrize(
    "values",
    [
        np.array([1.5, np.nan]),
        np.array([1.5, np.nan], np.float32),
        np.array([1.5, np.nan], ">f8"),
        np.array([1.5, None], object),
        [1.5, None],
    ],
    ids=str,
)
def test_a_column_of_any_type_of_array(values: Any) -> None:
    assert spelled(encode_column(values, None)) == [1.5, MISSING]
    assert spelled(encode_column(np.array(["mobile", "?"]), CategoryIndex(["mobile"]))) == [0.0, UNSEEN_INDEX]
    assert spelled(encode_column(np.array([True, False]), CategoryIndex(["true"]))) == [0.0, UNSEEN_INDEX]
    assert spelled(encode_column(np.array([True, False]), None)) == [MISTYPED, MISTYPED]
    assert spelled(encode_column(np.array(["1"]), None)) == [MISTYPED]


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_plain_columns_are_the_columns(dtype: str) -> None:
    encoder = RowEncoder(NUMBERS)
    columns = {"b": np.array([1, 2, np.nan], dtype), "a": np.array([4, 5, np.inf], dtype)}
    plain = encoder.plain_columns(columns)
    assert plain is not None
    np.testing.assert_array_equal(plain, encoder.columns(columns))
    assert plain.shape == (3, 2)


@pytest.mark.parametrize(
    "columns",
    [
        {"a": np.zeros(2)},
        {"a": np.zeros(2), "x": np.zeros(2)},
        {"a": np.zeros(2), "b": np.zeros(2), "x": np.zeros(2)},
        {"a": np.zeros(2), "b": np.zeros(3)},
        {"a": np.zeros(2), "b": np.zeros(2, np.float32)},
        {"a": np.zeros(2, int), "b": np.zeros(2, int)},
        {"a": np.zeros(2, ">f8"), "b": np.zeros(2, ">f8")},
        {"a": np.zeros((2, 2)), "b": np.zeros((2, 2))},
        {"a": np.zeros(2, np.float16), "b": np.zeros(2, np.float16)},
        {"a": [0.0], "b": [0.0]},
        {"a": np.zeros(2), "b": None},
    ],
    ids=range(11),
)
def test_other_columns_are_not_plain(columns: dict[str, Any]) -> None:
    assert RowEncoder(NUMBERS).plain_columns(columns) is None


def test_columns_of_a_matrix_are_plain_though_they_lie_apart() -> None:
    matrix = np.arange(8.0).reshape(4, 2)
    rows = RowEncoder(NUMBERS).plain_columns({"a": matrix[:, 0], "b": matrix[:, 1]})
    assert rows is not None
    assert sorted(rows[1].tolist()) == [2.0, 3.0]


def test_categories_are_never_plain() -> None:
    assert RowEncoder(SCHEMA[1:2]).plain_columns({"device": np.zeros(2)}) is None


def test_a_mistyped_value_is_a_nan_that_no_request_can_send() -> None:
    assert math.isnan(MISTYPED_VALUE)
    assert is_mistyped(np.array([MISTYPED_VALUE, np.nan, -np.nan, 0.0, np.inf])).tolist() == [True] + [False] * 4
    assert is_mistyped(np.array([[MISTYPED_VALUE, 1.0]]).copy()).tolist() == [[True, False]]
