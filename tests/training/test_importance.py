"""Importance of features: which weights are read, which are refused, and that shares sum to 1."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from torchserve_drift.errors import BaselineError
from torchserve_drift.training.importance import normalised, read_importance


def test_weights_are_read_by_name(tmp_path):
    path = tmp_path / "weights.json"
    path.write_text(json.dumps({"age": 3, "größe\n": 0.5, "zero": 0}), encoding="utf-8")
    assert read_importance(path) == {"age": 3.0, "größe\n": 0.5, "zero": 0.0}


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("[1, 2]", "must be an object of name to weight, got list"),
        ('{"a": 1, "a": 2}', "must be JSON: an object has a name twice"),
        ('{"a": "1"}', "the weight of 'a' must be a finite number of 0 or more, got '1'"),
        ('{"a": true}', "the weight of 'a' must be a finite number of 0 or more, got True"),
        ('{"a": -0.5}', "the weight of 'a' must be a finite number of 0 or more, got -0.5"),
        ('{"a": NaN}', "the weight of 'a' must be a finite number of 0 or more, got nan"),
        ('{"a": 1e999}', "the weight of 'a' must be a finite number of 0 or more, got inf"),
        ('{"a": null}', "the weight of 'a' must be a finite number of 0 or more, got None"),
        ('{"a": 1', "must be JSON: "),
        ("[" * 100_000, "must be JSON: "),
    ],
)
def test_a_bad_file_is_one_line(tmp_path, content, reason):
    path = tmp_path / "weights.json"
    path.write_text(content)
    with pytest.raises(BaselineError) as caught:
        read_importance(path)
    assert str(caught.value).startswith(f"importance file {str(path)!r}")
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(BaselineError, match="cannot be read: No such file or directory"):
        read_importance(tmp_path / "none.json")


def test_integer_too_large_for_a_float():
    with pytest.raises(BaselineError, match="the importance of 'a' must be a finite number"):
        normalised({"a": 10**400}, ["a"])


def test_all_zero_is_refused():
    with pytest.raises(BaselineError, match=r"^importance must be above 0 for at least one feature, got none$"):
        normalised({"a": 0.0}, ["a", "b"])


@given(st.dictionaries(st.text(min_size=1), st.floats(0, 1.7e308), min_size=1), st.lists(st.text(min_size=1)))
def test_shares_are_in_proportion_and_sum_to_one(weights, others):
    names = [*weights, *(name for name in dict.fromkeys(others) if name not in weights)]
    if not any(weights.values()):
        weights[names[0]] = 1.0
    shares = normalised(weights, names)
    assert list(shares) == names
    assert math.isclose(math.fsum(shares.values()), 1, rel_tol=1e-12)
    largest = max(weights, key=lambda name: weights[name])
    for name in names:
        assert math.isclose(shares[name], weights.get(name, 0) / weights[largest] * shares[largest], abs_tol=1e-300)
