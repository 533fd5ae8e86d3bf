"""Baselines of columns in memory: the same as those that DuckDB builds from a file of the same rows."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

from baselines import baseline as by_definition
from torchserve_drift import Baseline, check
from torchserve_drift.baseline import artifact
from torchserve_drift.errors import BaselineError
from torchserve_drift.features.schema import hashed
from torchserve_drift.training.build import build

WHEN = "2024-01-01T00:00:00Z"
ROUNDED = ("mean", "std", "quantiles", "edges")
"""What NumPy and DuckDB may round differently."""


def random_columns(rows):
    rng = np.random.default_rng(rows)
    odd = rng.standard_cauchy(rows)
    odd[::7], odd[1::9], odd[2::11] = np.nan, np.inf, -np.inf
    cities = rng.choice(["Ulm", "Köln", "x" * 201, ""], rows).astype(object)
    cities[::5] = None
    return {
        "x": rng.normal(size=rows),
        "odd": odd,
        "large": rng.normal(size=rows) * 1e307,
        "far": rng.normal(size=rows) + 1e6,
        "integer": rng.integers(-9, 9, rows),
        "constant": np.full(rows, 0.1),
        "empty": np.full(rows, np.nan),
        "city": cities,
        "level": rng.integers(0, 3, rows),
        "share": np.round(rng.random(rows), 1),
        "flag": rng.random(rows) < 0.3,
    }


def assert_same(one, other):
    assert (one.rows, one.created, one.seed, one.schema) == (other.rows, other.created, other.seed, other.schema)
    for a, b in zip(one.features, other.features):
        for field, value in vars(a).items():
            if field in ROUNDED:
                np.testing.assert_allclose(getattr(b, field), value, rtol=1e-12, err_msg=f"{a.name} {field}")
            else:
                np.testing.assert_array_equal(getattr(b, field), value, err_msg=f"{a.name} {field}")


@pytest.mark.parametrize(("rows", "sampled"), [(1, 10), (2, 10), (700, 700), (2_000, 150)])
def test_it_is_the_baseline_of_a_file_of_these_rows(tmp_path, rows, sampled):
    columns = random_columns(rows)
    # NaNs as they are, where pandas would write nulls
    arrays = {name: pa.array(values, from_pandas=values.dtype != float) for name, values in columns.items()}
    parquet.write_table(pa.table(arrays), tmp_path / "d.parquet")
    options = {"categorical": ["level", "share"], "rows": sampled, "seed": 3, "created": WHEN}
    found = Baseline.from_columns(columns, **options)
    assert_same(build(tmp_path / "d.parquet", **options), found)
    assert_same(found, artifact.from_bytes(artifact.to_bytes(found), "b"))


@pytest.mark.parametrize("offset", [0.0, 1e9, -1e15])
@pytest.mark.parametrize("scale", [1e-300, 1.0, 1e290])
def test_mean_and_deviation_are_sane_far_from_zero(offset, scale):
    values = (np.random.default_rng(2).normal(size=2_000) + offset) * scale
    (feature,) = Baseline.from_columns({"x": values}).features
    exact = [Fraction(float(x)) / Fraction(scale) for x in values]
    mean = sum(exact) / len(exact)
    assert feature.mean == pytest.approx(float(mean) * scale, rel=1e-14)
    squares = sum((x - mean) ** 2 for x in exact)
    assert feature.std == pytest.approx(math.sqrt(squares / (len(exact) - 1)) * scale, rel=1e-12)


def test_the_largest_floats():
    largest = np.finfo(float).max
    (feature,) = Baseline.from_columns({"x": [largest, -largest, 0.0]}).features
    assert (feature.mean, feature.std, feature.quantiles[13]) == (0.0, largest, 0.0)
    (tiny,) = Baseline.from_columns({"x": [5e-324, 1e-323, 0.0]}).features
    assert (tiny.mean, tiny.minimum, tiny.maximum) == (5e-324, 0.0, 1e-323)
    (pair,) = Baseline.from_columns({"x": [largest, -largest]}).features
    assert pair.std == largest


def test_ties_are_counted_with_their_edges():
    found = Baseline.from_columns({"x": [0.1] * 50 + [0.3] * 50, "c": list("ab" * 50)})
    expected = by_definition({"x": [0.1] * 50 + [0.3] * 50, "c": list("ab" * 50)})
    assert found.features[0].edges.tolist() == expected.features[0].edges.tolist()
    assert found.features[0].edge_counts.tolist() == expected.features[0].edge_counts.tolist()
    assert found.features[1].counts.tolist() == expected.features[1].counts.tolist()


@given(st.lists(st.none() | st.floats() | st.integers(-(2**60), 2**60), min_size=1, max_size=30))
def test_any_numbers_give_a_baseline_that_can_be_saved(values):
    made = Baseline.from_columns({"x": values}, created=WHEN)
    assert_same(made, artifact.from_bytes(artifact.to_bytes(made), "b"))


def test_lists_hold_what_arrays_hold():
    lists = {"age": [3, None, 2.5], "city": ["Ulm", None, "y" * 300], "flag": [True, False, None]}
    age, city, flag = Baseline.from_columns(lists).features
    assert (age.count, age.missing, age.sample[[0, 2]].tolist()) == (2, 1, [3, 2.5])
    assert city.categories == tuple(sorted(["Ulm", hashed("y" * 300)]))
    assert (flag.categories, flag.missing) == (("false", "true"), 1)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({}, "columns must be one or more, all of the same length above 0, got lengths {}"),
        ({"x": []}, "columns must be one or more, all of the same length above 0, got lengths {'x': 0}"),
        (
            {"x": [1], "y": [1, 2]},
            "columns must be one or more, all of the same length above 0, got lengths {'x': 1, 'y': 2}",
        ),
        ({"x": [1, [2]]}, "column 'x' must hold numbers, text or booleans, got [2]"),
        ({"x": list(map(str, range(65_001)))}, "column 'x' must have at most 65000 categories, got more"),
    ],
)
def test_data_that_cannot_be_a_baseline_gives_an_error_with_the_reason(columns, message):
    with pytest.raises(BaselineError) as caught:
        Baseline.from_columns(columns)
    assert str(caught.value) == message


@pytest.mark.parametrize("rows", [0, 32_001])
def test_samples_have_a_largest_size(rows):
    with pytest.raises(BaselineError, match=rf"^rows must be an integer from 1 to 32000, got {rows}$"):
        Baseline.from_columns({"x": [1]}, rows=rows)


def test_rows_are_checked_against_it():
    columns = random_columns(700)
    assert not check(Baseline.from_columns(columns), columns).drifted
