"""Building a baseline: statistics against pandas and numpy on the same files, and which data is refused."""

from __future__ import annotations

import gzip
import math
import re
import shutil
import tracemalloc
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pyarrow import parquet
from scipy import stats

from torchserve_drift.baseline import artifact
from torchserve_drift.baseline.profile import MISSING_CODE, QUANTILE_LEVELS
from torchserve_drift.baseline.sampling import sample_rows
from torchserve_drift.errors import BaselineError
from torchserve_drift.features.schema import hashed
from torchserve_drift.training import numeric
from torchserve_drift.training.build import build

FLIGHTS = Path(__file__).parents[1] / "data" / "flights.csv.gz"
WHEN = "2024-01-01T00:00:00Z"
ODD = "a \"b\"; 'c',\nd\t[ü] --"


def built(source, **options):
    return build(source, created=WHEN, **options)


def one(source, **options):
    (feature,) = built(source, **options).features
    return feature


def csv_file(tmp_path, text, name="data.csv"):
    path = tmp_path / name
    path.write_bytes(text.encode())
    return path


def parquet_file(tmp_path, columns, name="data.parquet"):
    path = tmp_path / name
    parquet.write_table(pa.table(columns), path)
    return path


def sampled(feature):
    """The categories of a sample, ``None`` where missing."""
    return [None if code == MISSING_CODE else feature.categories[code] for code in feature.sample]


def assert_agrees(baseline, frame):
    """Every statistic of ``baseline`` with what pandas and numpy say of ``frame``."""
    assert [feature.name for feature in baseline.features] == list(frame.columns)
    assert baseline.rows == len(frame)
    for feature in baseline.features:
        column = frame[feature.name]
        assert feature.missing == int(column.isna().sum())
        if feature.kind == "categorical":
            expected = column.astype(object).dropna().astype(str).value_counts()
            assert dict(zip(feature.categories, feature.counts.tolist())) == expected.to_dict()
            continue
        values = column.astype("float64").dropna()
        values = values[np.isfinite(values)]
        assert feature.count == len(values)
        assert feature.invalid == len(column) - feature.missing - feature.count
        assert (feature.minimum, feature.maximum) == (values.min(), values.max())
        np.testing.assert_allclose([feature.mean, feature.std], [values.mean(), values.std()], rtol=1e-12)
        np.testing.assert_allclose(feature.quantiles, np.quantile(values, QUANTILE_LEVELS), rtol=1e-12)
        expected_edges = np.unique([*feature.quantiles, values.max()])
        np.testing.assert_array_equal(feature.edges, expected_edges)
        assert feature.edge_counts.tolist() == [int((values <= edge).sum()) for edge in feature.edges]


@pytest.fixture(scope="module")
def flights():
    return pd.read_csv(FLIGHTS)


@pytest.fixture(scope="module")
def baseline():
    return built(FLIGHTS, categorical=["month"])


def test_statistics_are_those_of_pandas(baseline, flights):
    assert_agrees(baseline, flights.astype({"month": str}))


def test_the_sample_is_whole_rows_of_the_data(baseline, flights):
    assert baseline.sample_rows == 10_000
    chosen = sample_rows(12_000, 10_000, 0)
    assert len(set(chosen.tolist())) == 10_000
    for feature in baseline.features:
        expected = flights[feature.name].to_numpy()[chosen]
        if feature.kind == "numeric":
            np.testing.assert_array_equal(feature.sample, expected.astype(float))
        else:
            assert sampled(feature) == [str(value) for value in expected]


def test_every_form_of_the_same_rows_gives_the_same_baseline(tmp_path, flights):
    flights = flights[["distance", "temp", "carrier", "pressure"]]
    parts = [flights[:3000], flights[3000:3100], flights[3100:]]
    folder = tmp_path / "parts" / "more"
    folder.mkdir(parents=True)
    for i, part in enumerate(parts):
        part.to_csv(folder / f"{i}.csv", index=False)
        part.to_parquet(tmp_path / f"{i}.parquet")
    (folder / "_SUCCESS").write_text("")
    (folder / ".0.csv.crc").write_text("")
    (folder / "notes.txt").write_text("not data")
    flights.to_csv(tmp_path / "all.csv.gz", index=False)
    flights.to_csv(tmp_path / "all.csv", index=False)
    sources = [tmp_path / "parts", tmp_path / "*.parquet", tmp_path / "all.csv", f"{tmp_path}/parts/**/*.csv"]
    expected = artifact.to_bytes(built(tmp_path / "all.csv.gz", rows=500, seed=3))
    for source in sources:
        assert artifact.to_bytes(built(source, rows=500, seed=3)) == expected


def test_it_is_the_same_bytes_for_any_number_of_threads(tmp_path, monkeypatch):
    rng = np.random.default_rng(1)
    values = rng.lognormal(0, 3, 600_000)
    path = tmp_path / "data.parquet"
    parquet.write_table(pa.table({"x": values, "c": rng.choice(["a", "b"], len(values))}), path, row_group_size=20_000)
    contents = set()
    for threads in (1, 2, 7):
        monkeypatch.setattr("torchserve_drift.training.session.THREADS", threads)
        contents.add(artifact.to_bytes(built(path, rows=300)))
    assert len(contents) == 1
    assert artifact.to_bytes(built(path, rows=300, seed=1)) not in contents


def test_samples_are_uniform():
    total, rows, seeds = 20, 5, 4_000
    counts = np.zeros(total)
    pairs = np.zeros((total, total))
    for seed in range(seeds):
        chosen = sample_rows(total, rows, seed)
        assert len(chosen) == rows
        assert (np.diff(chosen) > 0).all()
        counts[chosen] += 1
        pairs[np.ix_(chosen, chosen)] += 1
    assert stats.chisquare(counts).pvalue > 1e-4
    assert stats.chisquare(pairs[np.triu_indices(total, 1)]).pvalue > 1e-4


@pytest.mark.parametrize("offset", [0.0, 1e9, -1e15])
@pytest.mark.parametrize("scale", [1e-300, 1.0, 1e290])
def test_mean_and_deviation_are_sane_far_from_zero(tmp_path, offset, scale):
    values = (np.random.default_rng(2).normal(size=2_000) + offset) * scale
    feature = one(parquet_file(tmp_path, {"x": values}))
    exact = [Fraction(float(x)) / Fraction(scale) for x in values]
    mean = sum(exact) / len(exact)
    assert feature.mean == pytest.approx(float(mean) * scale, rel=1e-14)
    squares = sum((x - mean) ** 2 for x in exact)
    assert feature.std == pytest.approx(math.sqrt(squares / (len(exact) - 1)) * scale, rel=1e-12)


def test_the_largest_floats(tmp_path):
    largest = np.finfo(float).max
    feature = one(parquet_file(tmp_path, {"x": [largest, -largest, 0.0]}))
    assert (feature.mean, feature.std, feature.quantiles[13]) == (0.0, largest, 0.0)
    assert feature.quantiles[0] == pytest.approx(-0.998 * largest)
    one(parquet_file(tmp_path, {"x": [largest, largest / 2, largest]}))
    tiny = one(parquet_file(tmp_path, {"x": [5e-324, 1e-323, 0.0]}))
    assert (tiny.mean, tiny.minimum, tiny.maximum) == (5e-324, 0.0, 1e-323)


def test_missing_and_infinite_numbers(tmp_path):
    values = pa.array([1.0, None, np.nan, np.inf, -np.inf, 3.0, -0.0])
    feature = one(parquet_file(tmp_path, {"x": values}))
    assert (feature.count, feature.missing, feature.invalid) == (3, 2, 2)
    np.testing.assert_array_equal(feature.sample, [1, np.nan, np.nan, np.nan, np.nan, 3, 0])
    text = csv_file(tmp_path, "x,y\n1,1\n,1\nNaN,1\ninf,1\n-Infinity,1\n3.0,1\n-0,1\n")
    again = built(text).features[0]
    assert (again.count, again.missing, again.invalid, again.mean) == (3, 2, 2, feature.mean)


@pytest.mark.parametrize("value", [0.1, 0.0, -7.0, 1e300])
def test_a_constant_has_no_deviation(tmp_path, value):
    feature = one(parquet_file(tmp_path, {"x": [value] * 7}))
    assert (feature.mean, feature.std, feature.edges.tolist()) == (value, 0.0, [value])
    assert feature.edge_counts.tolist() == [7]


def test_a_single_row(tmp_path):
    feature, city = built(csv_file(tmp_path, "x,city\n5,Ulm")).features
    assert (feature.count, feature.std, feature.sample.tolist()) == (1, 0.0, [5.0])
    assert city.categories == ("Ulm",)


def test_columns_without_a_value(tmp_path):
    for source in (
        csv_file(tmp_path, "x,y,z\n,1,\n,2,NA\n"),
        parquet_file(tmp_path, {"x": pa.nulls(2), "y": [1, 2], "z": pa.array([None, None], pa.float32())}),
    ):
        baseline = built(source, categorical=["x"])
        empty, _, number = baseline.features
        assert (empty.categories, empty.missing, sampled(empty)) == ((), 2, [None, None])
        assert (number.kind, number.count, number.missing, len(number.edges)) == ("numeric", 0, 2, 0)
        assert np.isnan([number.mean, number.minimum, number.maximum, *number.quantiles]).all()
        artifact.from_bytes(artifact.to_bytes(baseline), "b")


def test_kinds_of_parquet_columns(tmp_path):
    source = parquet_file(
        tmp_path,
        {
            "integer": [1, 2],
            "unsigned": pa.array([2**64 - 1, 0], pa.uint64()),
            "small": pa.array([1.5, None], pa.float16()),
            "money": pa.array([Decimal("1.00"), Decimal("2.00")]),
            "text": ["x", ""],
            "large": pa.array(["x", None], pa.large_string()),
            "truth": [True, None],
            "words": pa.array(["x", "y"]).dictionary_encode(),
            "levels": pa.array([3, 4]).dictionary_encode(),
        },
    )
    baseline = built(source)
    kinds = {feature.name: feature.kind for feature in baseline.features}
    assert [name for name, kind in kinds.items() if kind == "numeric"] == ["integer", "unsigned", "small", "money"]
    spelled = {f.name: sampled(f) for f in baseline.features if f.kind == "categorical"}
    assert spelled == {
        "text": ["x", ""],
        "large": ["x", None],
        "truth": ["true", None],
        "words": ["x", "y"],
        "levels": ["3", "4"],
    }
    chosen = built(source, categorical=["integer", "unsigned", "small", "money"]).features[:4]
    assert [sampled(f) for f in chosen] == [["1", "2"], [str(2**64 - 1), "0"], ["1.5", None], ["1", "2"]]


def test_floats_as_categories_are_spelled_as_requests_spell_them(tmp_path):
    feature = one(parquet_file(tmp_path, {"x": [1.0, 2.5, np.nan, None, 1.0, np.nan]}), categorical=["x"])
    assert (sampled(feature), feature.missing) == (["1", "2.5", None, None, "1", None], 3)


@pytest.mark.parametrize(
    ("cells", "options", "expected"),
    [
        (["True", "False", ""], {}, ["true", "false", None]),
        (["3", "3.0", "NA", "4e0"], {"categorical": ["x"]}, ["3", "3", None, "4"]),
        (["007", "7"], {"categorical": ["x"]}, ["007", "7"]),
        (["NA", "DE", "null"], {}, ["NA", "DE", "null"]),
        (["1", "2", "late"], {}, ["1", "2", "late"]),
        (["ü" * 200, "ü" * 201], {}, ["ü" * 200, hashed("ü" * 201)]),
        (["2024-01-01", "2024-02-01"], {"categorical": ["x"]}, ["2024-01-01", "2024-02-01"]),
        (["12:30", "12:31"], {}, ["12:30", "12:31"]),
        ([" a", "a"], {}, [" a", "a"]),
    ],
)
def test_spelling_of_csv_categories(tmp_path, cells, options, expected):
    feature = built(csv_file(tmp_path, "x,y\n" + "".join(f"{cell},1\n" for cell in cells)), **options).features[0]
    assert sampled(feature) == expected


def test_spellings_that_collide_are_counted_together(tmp_path):
    feature = one(csv_file(tmp_path, "x\n1\n1.0\n2\n+1e0\n"), categorical=["x"])
    assert dict(zip(feature.categories, feature.counts.tolist())) == {"1": 3, "2": 1}


def test_equally_frequent_categories_are_in_order_of_their_names(tmp_path):
    names = [f"n{i * 37 % 101}" for i in range(100)]
    feature = one(csv_file(tmp_path, "\n".join(["x", *names, "z", "z"])))
    assert feature.categories == ("z", *sorted(names))


def test_a_text_after_many_numbers_makes_categories(tmp_path):
    text = "x\n" + "".join(f"{i % 50}\n" for i in range(60_000)) + "oops\n"
    feature = one(csv_file(tmp_path, text))
    assert (feature.kind, len(feature.categories), feature.count) == ("categorical", 51, 60_001)


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_forms_of_csv(tmp_path, delimiter, newline):
    lines = [["\ufeffa", '"b ""x"""', "c"], ["1", '"two\nlines"', "3"], ["2", '"q""q"', ""]]
    source = csv_file(tmp_path, newline.join(delimiter.join(line) for line in lines))
    a, b, c = built(source).features
    assert [a.name, b.name, c.name] == ["a", 'b "x"', "c"]
    assert (a.sample.tolist(), sampled(b), c.missing) == ([1, 2], ["two\nlines", 'q"q'], 1)


def test_names_may_hold_anything(tmp_path):
    names = [ODD, "A", "a", "rows", "row", "c0", "Straße", "value", "\u202e", "x" * 3000]
    frame = pd.DataFrame({name: [float(i), 2.0] for i, name in enumerate(names)})
    frame.to_parquet(tmp_path / "d.parquet")
    frame.to_csv(tmp_path / "d.csv", index=False)
    for source in ("d.parquet", "d.csv"):
        assert_agrees(built(tmp_path / source), frame)
    left = built(tmp_path / "d.csv", label=ODD, exclude=["A", "rows"])
    assert [feature.name for feature in left.features] == names[1:][1:2] + names[4:]


def test_paths_may_hold_anything(tmp_path):
    folder = tmp_path / "[a]* 'b' \"ü\""
    folder.mkdir()
    csv_file(folder, "x\n1\n", "d1.csv")
    parquet_file(folder, {"x": [1]}, "d1.parquet")
    for source in (csv_file(folder, "x\n1\n", "[d]?.csv"), parquet_file(folder, {"x": [1]}, "[d]?.parquet")):
        assert one(source).count == 1


def test_columns_may_be_in_another_order_in_each_file(tmp_path):
    for suffix, write in (("csv", pd.DataFrame.to_csv), ("parquet", pd.DataFrame.to_parquet)):
        folder = tmp_path / suffix
        folder.mkdir()
        write(pd.DataFrame({"x": [1, 2], "y": ["a", "b"]}), folder / f"1.{suffix}", index=False)
        write(pd.DataFrame({"y": ["c"], "x": [3.5]}), folder / f"2.{suffix}", index=False)
        x, y = built(folder).features
        assert (x.sample.tolist(), sampled(y)) == ([1, 2, 3.5], ["a", "b", "c"])


def refusal(source, **options):
    with pytest.raises(BaselineError) as caught:
        built(source, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (pd.to_datetime(["2020-01-01"]), r"timestamp\[\w+\]"),
        (pa.array([[1, 2]]), "list<.*>"),
        (pa.array([{"a": 1}]), "struct<a: int64>"),
        (pa.array([b"x"]), "binary"),
        (pa.array([1], pa.date32()), r"date32\[day\]"),
        (pa.array([1], pa.time64("us")), r"time64\[us\]"),
    ],
)
def test_columns_of_other_types_are_refused_by_name(tmp_path, values, kind):
    source = parquet_file(tmp_path, {"it's": values, "x": [1]})
    assert re.fullmatch(
        rf"column \"it's\" must hold numbers, text or booleans, got {kind}; "
        r"leave it out with --exclude 'it'\"'\"'s'",
        refusal(source),
    )
    assert one(source, exclude=["it's"]).name == "x"


def test_times_in_csv_are_refused(tmp_path):
    source = csv_file(tmp_path, "day,x\n2020-01-01 05:00:00,1\n,2\n2020-01-02,3\n")
    assert refusal(source) == (
        "column 'day' must hold numbers, text or booleans, got times; leave it out with --exclude day"
    )


def test_too_many_categories(tmp_path, monkeypatch):
    monkeypatch.setattr("torchserve_drift.training.categorical.LARGEST_CATEGORIES", 3)
    source = csv_file(tmp_path, "my id\na\nb\nc\n\n")
    assert one(source).categories == ("a", "b", "c")
    assert refusal(csv_file(tmp_path, "my id\na\nb\nc\nd\n")) == (
        "column 'my id' must have at most 3 categories, got more; leave it out with --exclude 'my id'"
    )
    assert refusal(csv_file(tmp_path, "x\n1\n2\n3\n4\n5\noops\n")) == (
        "column 'x' must have at most 3 categories, got more; leave it out with --exclude x, "
        "or make it numbers: 1 of its values, such as 'oops', are not numbers"
    )


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "must begin with a line of column names"),
        ("x,y\n", "training data must have at least one row, got none in"),
        ("x,x\n1,2\n", "must have different names, got 'x' twice"),
        (",x\n0,2\n", "every column must have a name, got one without"),
        ("x,y\n1,2\n1\n", "cannot be read: Invalid Input Error: CSV Error on Line: 3"),
        ("x,y\n1,2,3\n", "CSV Error on Line: 2"),
        ('x,y\n1,"2\n', "CSV Error on Line: 2"),
    ],
)
def test_bad_csv(tmp_path, text, reason):
    assert reason in refusal(csv_file(tmp_path, text))


@pytest.mark.parametrize("name", ["bad.csv", "bad.csv.gz", "bad.parquet"])
@pytest.mark.parametrize(
    "content", [b"\xff\xfe\x00\x80", b"a\n\xff\n", gzip.compress(b"a\n1\n" * 9999, mtime=0)[:40], b"PAR1\xff"]
)
def test_bad_files(tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(content)
    assert refusal(path).startswith(f"{str(path)!r} cannot be read: ")


def test_bytes_that_are_no_text_far_into_a_file(tmp_path):
    path = tmp_path / "d.csv"
    path.write_bytes(b"a\n" + b"some text\n" * 200_000 + b"\xff\n")
    assert re.search(r"cannot be read: .*Line: 200002 .*not utf-8", refusal(path))


def test_sources_that_are_none(tmp_path):
    csv_file(tmp_path, "x\n1\n")
    shutil.copy(tmp_path / "data.csv", tmp_path / "data.txt")
    (tmp_path / "empty").mkdir()
    nothing = "SOURCE must be a csv, csv.gz or parquet file, a folder or a glob of them, got "
    for source in (tmp_path / "none.csv", tmp_path / "*.parquet", tmp_path / "empty"):
        assert refusal(source) == f"{nothing}{str(source)!r}"
    assert "must be in files named .csv, .csv.gz or .parquet, got" in refusal(tmp_path / "data.txt")
    assert "must be in files named .csv, .csv.gz or .parquet, got" in refusal(tmp_path / "data.*")
    assert "cannot be read: embedded null" in refusal("\0") or nothing in refusal("\0")
    parquet_file(tmp_path, {"x": [1]})
    assert refusal(tmp_path) == f"SOURCE must be files of one kind, csv or parquet, got both in {str(tmp_path)!r}"


def test_files_that_differ(tmp_path):
    csv_file(tmp_path, "x,y\n1,2\n", "1.csv")
    csv_file(tmp_path, "x\n1\n", "2.csv")
    assert refusal(tmp_path / "?.csv").endswith("only one of them has 'y'")
    parquet_file(tmp_path, {"x": [1], "z": pa.nulls(1)}, "1.parquet")
    parquet_file(tmp_path, {"x": ["a"], "z": [1]}, "2.parquet")
    assert "column 'x' must have one type in all files, got integer and, in" in refusal(tmp_path / "?.parquet")
    assert one(tmp_path / "?.parquet", exclude=["x"]).missing == 1


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"label": "z"}, "--label must name a column of the data, got 'z'"),
        ({"exclude": ["x", "z"]}, "--exclude must name a column of the data, got 'z'"),
        ({"categorical": ["X"]}, "--categorical must name a column of the data, got 'X'"),
        ({"label": "x", "exclude": ["y"]}, "at least one column besides label, times and excluded ones, got none"),
        ({"rows": 0}, "rows must be an integer from 1 to 32000, got 0"),
        ({"rows": 32_001}, "rows must be an integer from 1 to 32000, got 32001"),
        ({"seed": -1}, "seed must be an integer from 0 to 9223372036854775807, got -1"),
        ({"importance": {"z": 1.0}}, "importance must name features of the baseline, got 'z'"),
    ],
)
def test_bad_options(tmp_path, options, reason):
    assert reason in refusal(csv_file(tmp_path, "x,y\n1,2\n"), **options)


def test_importance_is_shared_out(tmp_path):
    source = csv_file(tmp_path, "x,y,z\n1,2,3\n")
    assert [f.importance for f in built(source).features] == [1 / 3] * 3
    assert [f.importance for f in built(source, importance={"y": 3, "z": 1}).features] == [0, 0.75, 0.25]


def test_the_time_of_creation(tmp_path, monkeypatch):
    source = csv_file(tmp_path, "x\n1\n")
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    assert build(source).created == "2023-11-14T22:13:20Z"
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "soon")
    with pytest.raises(BaselineError, match=r"^SOURCE_DATE_EPOCH must be seconds since 1970, got 'soon'$"):
        build(source)
    monkeypatch.delenv("SOURCE_DATE_EPOCH")
    assert re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ", build(source).created)


def test_huge_tables_take_their_quantiles_from_the_sample(tmp_path, monkeypatch):
    monkeypatch.setattr(numeric, "EXACT_QUANTILE_ROWS", 999)
    values = np.random.default_rng(3).normal(size=1_000)
    feature = one(parquet_file(tmp_path, {"x": values}), rows=200)
    np.testing.assert_allclose(feature.quantiles, np.quantile(feature.sample, QUANTILE_LEVELS))
    assert feature.edges[-1] == feature.maximum == values.max()
    assert feature.edge_counts.tolist() == [int((values <= edge).sum()) for edge in feature.edges]


def test_a_column_of_huge_tables_may_be_missing_in_the_sample(tmp_path, monkeypatch):
    monkeypatch.setattr(numeric, "EXACT_QUANTILE_ROWS", 0)
    feature = one(parquet_file(tmp_path, {"x": pa.array([1.0, *[None] * 999])}), rows=2)
    assert (feature.count, feature.edges.tolist()) == (1, [1.0])


def test_progress_is_reported(tmp_path):
    steps = []
    built(csv_file(tmp_path, "x,y\n1,a\n"), progress=lambda step, done, total: steps.append((step, done, total)))
    assert {step for step, _, _ in steps} == {"reading", "numbers", "categories"}
    assert steps[-1] == ("categories", 2, 2)
    assert all(0 <= done <= total for _, done, total in steps)


def test_rows_are_not_brought_into_python(tmp_path):
    rng = np.random.default_rng(4)
    source = parquet_file(tmp_path, {f"x{i}": rng.normal(size=400_000) for i in range(3)})
    built(parquet_file(tmp_path, {"x": [1.0]}, "warm.parquet"))
    tracemalloc.start()
    try:
        built(source, rows=1_000)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 400_000 * 3 * 8


def test_nothing_is_left_in_the_temporary_folder(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "t"))
    (tmp_path / "t").mkdir()
    built(csv_file(tmp_path, "x\n1\n"))
    refusal(csv_file(tmp_path, "x,y\n1\n"))
    assert list((tmp_path / "t").iterdir()) == []
