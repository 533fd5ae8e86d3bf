"""From requests to rows: every form in which TorchServe passes on the requests of clients."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from torchserve_drift.features.encoding import RowEncoder
from torchserve_drift.features.schema import Feature
from torchserve_drift.features.tabular import REASONS, Batch, Request, TabularDecoder, body_of

DECODER = TabularDecoder(
    RowEncoder([Feature("age", "numeric"), Feature("device", "categorical", ("mobile", "tablet"))])
)
NUMBERS = TabularDecoder(RowEncoder([Feature("a", "numeric"), Feature("b", "numeric")]))
ROW = {"age": 30, "device": "tablet"}
WANTED = [[30.0, 1.0]]


def rows(batch: Batch) -> list[Any]:
    return [[None if math.isnan(value) else value for value in row] for row in batch.rows.tolist()]


@pytest.mark.parametrize(
    "request_",
    [
        {"body": ROW},
        {"data": ROW},
        {"data": ROW, "body": b"not this"},
        {"body": json.dumps(ROW)},
        {"body": bytearray(json.dumps(ROW), "utf-8")},
        {"body": json.dumps(ROW).encode("utf-16")},
        {"body": b"\xef\xbb\xbf" + json.dumps(ROW).encode()},
        {"data": memoryview(json.dumps(ROW).encode())},
        json.dumps(ROW).encode(),
        json.dumps(ROW),
        ROW,
        [30, "tablet"],
        {"body": [30.0, "tablet"]},
        {"data": bytearray(b'[30, "tablet"]')},
    ],
    ids=range(14),
)
def test_one_row_however_it_is_sent(request_: Any) -> None:
    batch = DECODER.decode([request_])
    assert rows(batch) == WANTED
    assert batch.requests == (Request("row", 1),)
    assert batch.rows.dtype == np.float64


@pytest.mark.parametrize(
    ("body", "form", "wanted"),
    [
        ([ROW, [5, "mobile"]], "rows", [*WANTED, [5.0, 0.0]]),
        ([[5, "mobile"], {"age": None}], "rows", [[5.0, 0.0], [None, None]]),
        ({"instances": [ROW, ROW]}, "v1", WANTED * 2),
        ({"instances": [[5, None]], "signature_name": "x"}, "v1", [[5.0, None]]),
        ({"instances": []}, "v1", []),
        (
            {"inputs": [{"name": "age", "data": [1, 2]}, {"name": "device", "data": ["tablet", "?"]}]},
            "v2",
            [[1, 1], [2, -1]],
        ),
        ({"inputs": [{"name": "device", "data": [["tablet"], ["x"]]}]}, "v2", [[None, 1], [None, -1]]),
        (
            {"inputs": [{"name": "input-0", "shape": [2, 2], "data": [1, "mobile", 2, "tablet"]}]},
            "v2",
            [[1, 0], [2, 1]],
        ),
        ({"inputs": [{"data": [[1, "mobile"], [2, "tablet"]]}]}, "v2", [[1, 0], [2, 1]]),
        ({"inputs": [{"name": "age", "data": [3]}, {"name": "other", "data": [1, 2, 3]}]}, "v2", [[3, None]]),
    ],
    ids=range(10),
)
def test_several_rows_in_one_request(body: Any, form: str, wanted: list[Any]) -> None:
    for request_ in ({"body": body}, {"data": json.dumps(body).encode()}):
        batch = DECODER.decode([request_])
        assert rows(batch) == wanted
        assert batch.requests == (Request(form, len(wanted)),)


@pytest.mark.parametrize(
    ("request_", "reason", "message"),
    [
        ({"body": None}, "not_features", "a row must be an object or a list of features, got NoneType"),
        ({"body": 0}, "not_features", "a row must be an object or a list of features, got int"),
        ({"body": False}, "not_features", "a row must be an object or a list of features, got bool"),
        ({"body": '"text"'}, "not_features", "a row must be an object or a list of features, got str"),
        ({"body": []}, "wrong_length", "a row must be 2 values, got 0"),
        ({"body": [1, 2, 3]}, "wrong_length", "a row must be 2 values, got 3"),
        ({"body": [ROW, [1]]}, "wrong_length", "a row must be 2 values, got 1"),
        ({"body": [ROW, 5]}, "not_features", "a row must be an object or a list of features, got int"),
        ({"body": {"instances": [5]}}, "not_features", "a row must be an object or a list of features, got int"),
        ({"x": bytearray(b"1")}, "not_features", "an object must hold features of the baseline, got ['x']"),
        ({"body": {"a": 1, "b": 2}}, "not_features", "an object must hold features of the baseline, got ['a', 'b']"),
        (
            {"body": {"inputs": [5]}},
            "not_features",
            "each of inputs must be an object with a list of data, as KServe v2 has it",
        ),
        ({"body": {"inputs": []}}, "not_features", "columns must hold features of the baseline, got []"),
        (
            {"body": {"inputs": [{"name": "age", "data": [1]}, {"name": "device", "data": ["a", "b"]}]}},
            "not_features",
            "column 'device' must have 1 values, got 2",
        ),
        (
            {"body": {"inputs": [{"name": "x", "data": [1, 2, 3]}]}},
            "wrong_length",
            "a tensor of rows must have a multiple of 2 values, got 3",
        ),
        (
            {"body": {"inputs": [{"name": ["unhashable"], "data": []}]}},
            "wrong_length",
            "a tensor of rows must have a multiple of 2 values, got 0",
        ),
        ({"body": ""}, "undecodable", "the body must be JSON: Expecting value: line 1 column 1 (char 0)"),
        ({"body": b"age=3"}, "undecodable", "the body must be JSON: Expecting value: line 1 column 1 (char 0)"),
        ({"data": bytearray()}, "undecodable", "the body must be JSON: Expecting value: line 1 column 1 (char 0)"),
    ],
    ids=range(19),
)
def test_a_request_without_rows_is_refused_with_a_reason(request_: Any, reason: str, message: str) -> None:
    batch = DECODER.decode([{"body": ROW}, request_, {"body": ROW}])
    assert rows(batch) == WANTED * 2
    assert [request.refusal is None for request in batch.requests] == [True, False, True]
    refused = batch.requests[1]
    assert refused.refusal is not None
    assert (refused.rows, refused.refusal.reason, refused.refusal.message) == (0, reason, message)
    assert batch.rejected() == {reason: 1}
    assert batch.unknown == 0


@pytest.mark.parametrize("body", [b"\xff\xfe\xff", b"[" * 100_000, b"9" * 5000, "\x00", b'{"age": '], ids=range(5))
def test_bodies_that_no_parser_likes_are_undecodable(body: Any) -> None:
    batch = DECODER.decode([{"body": body}])
    refusal = batch.requests[0].refusal
    if refusal is None:  # a number of 5,000 digits, where this Python reads it
        pytest.fail(f"{body[:10]!r} was read as {rows(batch)}")
    assert refusal.reason in ("undecodable", "not_features")
    assert len(refusal.message) < 300


def test_decoded_values_beyond_reason() -> None:
    nested: Any = []
    for _ in range(100_000):
        nested = [nested]
    batch = NUMBERS.decode(
        [{"body": {"a": 10**5000, "b": nested}}, {"body": nested}, {"body": b'{"a": 1e999, "b": NaN}'}]
    )
    assert rows(batch) == [[math.inf, None], [math.inf, None]]
    assert [request.refusal and request.refusal.reason for request in batch.requests] == [None, "wrong_length", None]


def test_an_empty_row_is_no_request_and_an_empty_body_is_a_row_without_values() -> None:
    """TorchServe sends `{}` again and again while a response streams, and for curl's default form type."""
    batch = DECODER.decode([{}, {"body": {}}, {}])
    assert batch.requests == (Request("none", 0), Request("row", 1), Request("none", 0))
    assert rows(batch) == [[None, None]]
    assert not batch.rejected()


def test_values_under_other_names_are_counted_but_not_of_refused_requests() -> None:
    batch = DECODER.decode([{"body": {"age": 1, "x": 2, "y": 3}}, {"body": [{"age": 1, "x": 1}, 5]}])
    assert batch.unknown == 2


def test_features_may_be_called_like_words_of_a_protocol() -> None:
    decoder = TabularDecoder(RowEncoder([Feature("instances", "numeric"), Feature("inputs", "numeric")]))
    assert rows(decoder.decode([{"body": {"instances": 3, "inputs": [1]}}])) == [[3.0, None]]


def test_nothing_asked_nothing_decoded() -> None:
    batch = DECODER.decode([])
    assert batch.rows.shape == (0, 2)
    assert batch.requests == ()


@pytest.mark.parametrize(
    ("requests", "width"),
    [
        ([{"body": [1, 2, 3]}], 3),
        ([{"body": [[1, 2], [3, 4]]}], 2),
        ([{"body": b"?"}, {"body": {"age": 1}}, {"data": b'{"instances": [[1, 2, 3, 4]]}'}], 4),
        ([{"body": {"age": 1}}, {}, {"body": []}], 1),
        ([], 1),
    ],
)
def test_without_names_rows_are_lists_as_long_as_the_first(requests: list[Any], width: int) -> None:
    assert TabularDecoder.of_numbers(requests).decode(requests).rows.shape[1] == width


JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5), st.just(10**400)),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["age", "device", "a", "b", "instances", "inputs", "name", "data", "x"]), inner, max_size=4
        )
    ),
    max_leaves=15,
)
TENSORS = st.lists(st.fixed_dictionaries({"name": JSON, "data": JSON | st.lists(JSON, max_size=4)}), max_size=3)
BODIES = st.one_of(
    JSON,
    JSON.map(json.dumps),
    JSON.map(lambda value: bytearray(json.dumps(value), "utf-8")),
    st.binary(max_size=10),
    st.fixed_dictionaries({"inputs": TENSORS}),
    st.fixed_dictionaries({"instances": st.lists(JSON, max_size=3)}),
)
REQUESTS = st.one_of(BODIES, *(st.fixed_dictionaries({key: BODIES}) for key in ("body", "data", "other")), st.just({}))


@given(st.lists(REQUESTS, max_size=5), st.sampled_from([DECODER, NUMBERS, TabularDecoder.of_numbers([])]))
def test_whatever_is_sent_nothing_is_raised_and_the_counts_add_up(requests: list[Any], decoder: TabularDecoder) -> None:
    batch = decoder.decode(requests)
    assert batch.rows.shape == (sum(request.rows for request in batch.requests), len(decoder.encoder.names))
    assert len(batch.requests) == len(requests)
    assert sum(batch.rejected().values()) == sum(request.refusal is not None for request in batch.requests)
    assert set(batch.rejected()) <= set(REASONS)
    alone = [decoder.decode([request]) for request in requests]
    np.testing.assert_array_equal(
        batch.rows, np.concatenate([np.empty((0, batch.rows.shape[1])), *(b.rows for b in alone)])
    )
    assert batch.requests == tuple(b.requests[0] for b in alone)
    assert batch.unknown == sum(b.unknown for b in alone)
    assert TabularDecoder.of_numbers(requests).decode(requests).rows.shape[1] >= 1


def test_the_body_of_a_request_is_what_was_sent_falsy_or_not() -> None:
    assert [body_of({key: value}) for key in ("body", "data") for value in (0, [], {}, None)] == [0, [], {}, None] * 2
