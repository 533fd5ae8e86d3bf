"""Spans of training time: each effect against its definition, written in plain numpy and pandas."""

from __future__ import annotations

import tracemalloc
from datetime import datetime, timedelta, timezone
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
from torchserve_drift.baseline.profile import CATEGORICAL_EFFECTS, NUMERIC_EFFECTS
from torchserve_drift.checks.catalogue import checks_of
from torchserve_drift.errors import BaselineError
from torchserve_drift.training import variation
from torchserve_drift.training.build import build

FLIGHTS = Path(__file__).parents[1] / "data" / "flights.csv.gz"
WHEN = "2024-01-01T00:00:00Z"


def built(source, **options):
    return build(source, created=WHEN, **options)


def parquet_file(tmp_path, columns, name="data.parquet"):
    path = tmp_path / name
    parquet.write_table(pa.table(columns), path, row_group_size=5_000)
    return path


def spans_of(times, most):
    """Each row's span, from 0 without gaps: the one in which the middle of all rows at its time lies. -1: no time."""
    known = sorted(time for time in times if None not in time)
    first = {time: place for place, time in reversed(list(enumerate(known)))}
    last = {time: place for place, time in enumerate(known)}
    numbers = {t: int(Fraction(first[t] + last[t] + 1, 2) * most / len(known)) for t in first}
    dense = {number: place for place, number in enumerate(sorted(set(numbers.values())))}
    return np.array([dense[numbers[time]] if None not in time else -1 for time in times])


def numeric_effects(values, spans, edges):
    finite = np.isfinite(values)
    whole = values[finite]
    missing = np.isnan(values).sum() / max((np.isnan(values) | finite).sum(), 1)
    effects = {check: [] for check in NUMERIC_EFFECTS}
    for span in range(spans.max() + 1):
        here = values[spans == span]
        own = here[np.isfinite(here)]
        others = values[(spans >= 0) & (spans != span) & finite]
        rows = len(own) + np.isnan(here).sum()
        gaps = [abs((own <= edge).mean() - (whole <= edge).mean()) for edge in edges] if len(own) else []
        effects["ks"].append(max(gaps, default=0))
        spread = whole.std(ddof=1) if len(whole) > 1 else 0
        effects["mean"].append(abs(own.mean() - whole.mean()) / spread if len(own) and spread else 0)
        effects["std"].append(abs(own.std(ddof=1) / spread - 1) if len(own) > 1 and spread else 0)
        beyond = (own < others.min()) | (own > others.max()) if len(own) and len(others) else np.zeros(1)
        effects["range"].append(beyond.mean())
        effects["missing"].append(abs(np.isnan(here).sum() / rows - missing) if rows else 0)
    return effects


def categorical_effects(values, spans):
    categories = sorted({value for value in values if value is not None})
    whole = np.array([sum(value == category for value in values) for category in categories])
    missing = sum(value is None for value in values) / len(values)
    effects = {check: [] for check in CATEGORICAL_EFFECTS}
    for span in range(spans.max() + 1):
        here = [value for value, at in zip(values, spans) if at == span]
        elsewhere = {value for value, at in zip(values, spans) if at not in (span, -1)}
        own = np.array([here.count(category) for category in categories])
        known = max(own.sum(), 1)
        p, q = whole / max(whole.sum(), 1), own / known
        apart = [(a - b) ** 2 / (a + b) for a, b in zip(p, q)]
        effects["chi2"].append(np.sqrt(sum(apart) / 2) if own.sum() else 0)
        effects["frequency"].append(np.abs(p - q).max() if own.sum() else 0)
        effects["new_category"].append(sum(v is not None and v not in elsewhere for v in here) / known)
        effects["missing"].append(abs(here.count(None) / len(here) - missing))
    return effects


def assert_variation(feature, expected):
    assert list(feature.variation) == list(expected)
    for check, effects in expected.items():
        # squares about one mean less those of another: exact to the root of a double's last place
        least = 1e-7 if check == "std" else 1e-14
        np.testing.assert_allclose(feature.variation[check], effects, rtol=1e-11, atol=least, err_msg=check)
        assert feature.tolerance(check) == feature.variation[check].max()


def random_columns(seed, rows):
    rng = np.random.default_rng(seed)
    drifting = rng.normal(size=rows) + np.linspace(0, 3, rows)
    odd = rng.standard_cauchy(rows)
    odd[rng.random(rows) < 0.05] = np.inf
    odd[rng.random(rows) < 0.05] = -np.inf
    odd[rng.random(rows) < np.linspace(0, 0.6, rows)] = np.nan
    late = np.full(rows, np.nan)
    late[-rows // 5 :] = rng.normal(size=rows // 5)
    cities = rng.choice(["a", "b", "c", "new"], rows, p=[0.6, 0.3, 0.09, 0.01]).astype(object)
    cities[rng.random(rows) < 0.1] = None
    cities[: rows // 7] = "old"
    return {
        "drifting": drifting,
        "ties": rng.poisson(np.linspace(1, 4, rows)).astype(float),
        "odd": odd,
        "late": late,
        "constant": np.full(rows, 7.0),
        "empty": np.full(rows, np.nan),
        "city": cities,
        "level": rng.integers(0, 3, rows),
        "id": np.array([f"n{i}" for i in range(rows)]),
        "nothing": np.full(rows, None),
    }


@pytest.mark.parametrize(("seed", "most", "distinct"), [(0, 12, 90), (1, 2, 2), (2, 7, 10_000), (3, 100, 130)])
@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_every_effect_is_that_of_its_definition(tmp_path, seed, most, distinct, suffix):
    rows = 600
    frame = pd.DataFrame(random_columns(seed, rows)).astype({"nothing": "string"})
    rng = np.random.default_rng(seed)
    when = np.sort(rng.integers(0, distinct, rows)).astype(float)
    when[rng.random(rows) < 0.05] = np.nan
    frame.insert(0, "when", when)
    frame = frame.sample(frac=1, random_state=seed)
    if suffix == "csv":
        frame.to_csv(tmp_path / "d.csv", index=False)
    else:
        # NaNs as they are, where pandas would write nulls
        arrays = {name: pa.array(v.to_numpy(), from_pandas=v.dtype != float) for name, v in frame.items()}
        parquet_file(tmp_path, {**arrays, "nothing": pa.nulls(rows)}, "d.parquet")
    baseline = built(tmp_path / f"d.{suffix}", time="when", spans=most, categorical=["level", "nothing"], rows=50)
    spans = spans_of([(None if np.isnan(time) else time,) for time in frame["when"]], most)
    assert baseline.spans == spans.max() + 1 == min(most, len(set(spans) - {-1}))
    assert "when" not in {feature.name for feature in baseline.features}
    for feature in baseline.features:
        column = frame[feature.name]
        if feature.kind == "numeric":
            assert_variation(feature, numeric_effects(column.to_numpy(), spans, feature.edges))
        else:
            values = [None if pd.isna(value) else str(value) for value in column]
            assert_variation(feature, categorical_effects(values, spans))


@pytest.mark.parametrize("offset", [0.0, 1e9, -1e15])
@pytest.mark.parametrize("scale", [1e-300, 1.0, 1e290])
def test_moments_of_spans_are_sane_far_from_zero(tmp_path, offset, scale):
    values = (np.random.default_rng(2).normal(size=900) * np.repeat([0.1, 1, 5], 300) + offset) * scale
    (feature,) = built(parquet_file(tmp_path, {"x": values, "t": range(900)}), time=["t"], spans=3).features
    exact = [Fraction(float(x)) for x in values]

    def moments(some):
        mean = sum(some) / len(some)
        return mean, sum((x - mean) ** 2 for x in some) / (len(some) - 1)

    mean, variance = moments(exact)
    parts = [moments(exact[start : start + 300]) for start in (0, 300, 600)]
    # in units of the data's scale: squares of the numbers themselves would be no doubles
    unit = Fraction(scale)
    std = float(variance / unit**2) ** 0.5
    shifts = [abs(float((part - mean) / unit)) / std for part, _ in parts]
    ratios = [abs(float(part / variance) ** 0.5 - 1) for _, part in parts]
    np.testing.assert_allclose(feature.variation["mean"], shifts, rtol=1e-9)
    np.testing.assert_allclose(feature.variation["std"], ratios, rtol=1e-9)


def test_the_largest_floats(tmp_path):
    largest = np.finfo(float).max
    source = parquet_file(tmp_path, {"x": [largest, -largest, 0.0, 1.0], "t": [1, 2, 3, 4]})
    (feature,) = built(source, time="t", spans=2).features
    assert all(np.isfinite(effects).all() for effects in feature.variation.values())
    assert feature.variation["std"][1] == 1
    artifact.from_bytes(artifact.to_bytes(built(source, time="t", spans=2)), "b")


def test_spans_are_of_equal_numbers_of_rows(tmp_path):
    when = np.random.default_rng(5).permutation(1_003)
    span = spans_of([(int(time),) for time in when], 10)
    sizes = np.bincount(span)
    assert set(sizes.tolist()) == {100, 101}
    only = np.where(when == 0, "first", np.where(when == 1_002, "last", "usual"))
    baseline = built(parquet_file(tmp_path, {"only": only, "span": span, "when": when}), time="when", spans=10)
    for feature in baseline.features:
        if feature.name == "only":
            shares = feature.variation["new_category"].tolist()
            assert shares == [1 / sizes[0], 0, 0, 0, 0, 0, 0, 0, 0, 1 / sizes[-1]]
        else:
            assert feature.variation["range"].tolist() == [1, 0, 0, 0, 0, 0, 0, 0, 0, 1]


def test_it_is_the_same_bytes_for_any_number_of_threads(tmp_path, monkeypatch):
    rng = np.random.default_rng(1)
    rows = 260_000
    columns = {
        "x": rng.lognormal(np.linspace(0, 1, rows), 3),
        "y": rng.integers(0, 9, rows),
        "c": rng.choice(["a", "b", "c"], rows),
        "t": rng.integers(0, 5_000, rows),
        "u": rng.random(rows),
    }
    path = tmp_path / "data.parquet"
    parquet.write_table(pa.table(columns), path, row_group_size=20_000)
    contents = set()
    for threads in (1, 3):
        monkeypatch.setattr("torchserve_drift.training.session.THREADS", threads)
        baseline = built(path, rows=3_000, time=["t", "u"])
        assert baseline.joint_tolerance > 0
        contents.add(artifact.to_bytes(baseline))
    assert len(contents) == 1
    assert artifact.to_bytes(built(path, rows=3_000, time=["t", "u"], spans=11)) not in contents


def associated(rng, rows, rho):
    """Two columns, each of the numbers below ``rows`` once, whose ranks go together about as much as ``rho`` says."""
    x = rng.normal(size=rows)
    return stats.rankdata(x) - 1, stats.rankdata(rho * x + np.sqrt(1 - rho**2) * rng.normal(size=rows)) - 1


def test_joint_variation_is_the_change_of_a_rank_correlation(tmp_path):
    rng = np.random.default_rng(9)
    # each span has the same values of each column: so all ways to measure their association are one, Spearman's
    parts = [associated(rng, 200, rho) for rho in (0.9, -0.2, 0.55, -0.6, 0.0)]
    x, y = (np.concatenate(column) for column in zip(*parts))
    when = np.append(np.arange(800.0), np.full(200, np.nan))
    frame = pd.DataFrame({"x": x, "y": y, "t": when}).sample(frac=1, random_state=2)
    frame.to_csv(tmp_path / "d.csv", index=False)
    baseline = built(tmp_path / "d.csv", time="t", spans=4)
    whole = stats.spearmanr(x, y)[0]
    expected = [abs(stats.spearmanr(*part)[0] - whole) for part in parts[:4]]
    np.testing.assert_allclose(baseline.joint_variation, expected, atol=2e-6)
    assert baseline.joint_tolerance == baseline.joint_variation[3] > 0.7


def test_joint_variation_is_of_the_sampled_rows_of_each_span(tmp_path):
    rng = np.random.default_rng(10)
    x, y = (np.concatenate(column) for column in zip(*(associated(rng, 1_500, rho) for rho in (0.8, 0.3, -0.5))))
    when = np.arange(4_500)
    late = np.where(when % 5 == 0, np.nan, when)
    order = rng.permutation(4_500)
    source = parquet_file(tmp_path, {"x": x[order], "y": y[order], "when": when[order], "late": late[order]})
    baseline = built(source, time="late", spans=3, rows=900)
    sampled = baseline.features[2].sample
    spans = np.where(sampled % 5 == 0, -1, sampled // 1_500).astype(int)
    assert baseline.joint_variation.tolist() == variation.joint_effects(baseline, spans, 3).tolist()
    assert len(set(baseline.joint_variation.tolist())) == 3
    assert built(source, time="late", spans=3, rows=900, exclude=["y", "when"]).joint_variation.tolist() == [0, 0, 0]


def test_spans_of_few_sampled_rows_show_nothing_jointly(tmp_path):
    x, y = associated(np.random.default_rng(11), 500, 0.5)
    y[:250] = -y[:250]
    source = parquet_file(tmp_path, {"x": x, "y": y, "t": range(500)})
    assert built(source, time="t", spans=2).joint_variation.min() > 0.2
    assert built(source, time="t", spans=6).joint_variation.tolist() == [0] * 6


def test_the_order_of_the_rows_does_not_matter(tmp_path):
    frame = pd.DataFrame(random_columns(4, 500)).drop(columns=["id", "nothing"]).assign(t=np.arange(500) // 3)
    found = []
    for name, rows in (("a", frame), ("b", frame.sample(frac=1, random_state=1))):
        rows.to_parquet(tmp_path / f"{name}.parquet", index=False)
        baseline = built(tmp_path / f"{name}.parquet", time="t")
        found.append([{check: v.tolist() for check, v in f.variation.items()} for f in baseline.features])
    assert found[0] == found[1]


START = datetime(2023, 11, 4, 23, 0, tzinfo=timezone.utc)
HOURS = [START + timedelta(hours=hour) for hour in range(40)]
"""Across the night in which New York's clocks show the hour from 1 to 2 twice."""

NEW_YORK = pa.timestamp("us", "America/New_York")
KINDS = {
    "naive": pa.array([hour.replace(tzinfo=None) for hour in HOURS]),
    "nanoseconds": pa.array([hour.replace(tzinfo=None) for hour in HOURS], pa.timestamp("ns")),
    "zoned": pa.array(HOURS, NEW_YORK),
    "text": [hour.strftime("%Y-%m-%d %H:%M:%S") for hour in HOURS],
    "offsets": [hour.astimezone(timezone(timedelta(hours=-4 - i % 2))).isoformat() for i, hour in enumerate(HOURS)],
    "dates": pa.array([(START + timedelta(days=i)).date() for i in range(40)]),
    "integers": pa.array(range(-20, 20), pa.int8()),
    "huge": pa.array([1_700_000_000_000_000_000 + i * 10**9 for i in range(40)]),
    "money": pa.array([Decimal(i) / 8 for i in range(40)]),
    "numbers": [f"{i / 4}e1" for i in range(40)],
    "infinite": [-np.inf, *range(38), np.inf],
}


@pytest.mark.parametrize("kind", KINDS)
def test_numbers_and_times_of_any_type_give_the_order(tmp_path, kind):
    values = np.random.default_rng(6).normal(size=40) + np.arange(40) / 9
    shuffled = np.random.default_rng(7).permutation(40)
    table = pa.table({"x": values, "t": KINDS[kind], "order": range(40)}).take(shuffled)
    parquet.write_table(table, tmp_path / "d.parquet")
    (expected,) = built(tmp_path / "d.parquet", time="order", spans=8, exclude=["t"]).features
    (found,) = built(tmp_path / "d.parquet", time="t", spans=8, exclude=["order"]).features
    for check, effects in expected.variation.items():
        assert found.variation[check].tolist() == effects.tolist()
    assert found.tolerance("mean") > 1


def test_later_columns_order_what_is_alike_in_earlier_ones(tmp_path):
    values = np.random.default_rng(8).normal(size=120)
    when = np.arange(120)
    frame = pd.DataFrame({"x": values, "when": when, "month": when // 40, "day": when % 40 // 4, "hour": when % 4})
    frame.sample(frac=1, random_state=3).to_csv(tmp_path / "d.csv", index=False)
    (one,) = built(tmp_path / "d.csv", time="when", exclude=["month", "day", "hour"]).features
    (three,) = built(tmp_path / "d.csv", time=["month", "day", "hour"], exclude=["when"]).features
    (wrong,) = built(tmp_path / "d.csv", time=["hour", "month", "day"], exclude=["when"]).features
    assert one.variation["mean"].tolist() == three.variation["mean"].tolist() != wrong.variation["mean"].tolist()


def test_files_without_times_take_no_part(tmp_path):
    for name, times in (
        ("1", pa.nulls(3)),
        ("2", pa.array(HOURS[:3], NEW_YORK)),
        ("3", pa.array(HOURS[3:6], NEW_YORK)),
    ):
        parquet_file(tmp_path, {"x": [float(name)] * 3, "t": times}, f"{name}.parquet")
    baseline = built(tmp_path, time="t", spans=2)
    (feature,) = baseline.features
    assert (baseline.rows, baseline.spans) == (9, 2)
    assert feature.variation["ks"].tolist() == pytest.approx([1 / 3, 2 / 3])


def test_zeros_of_both_signs_are_one_time(tmp_path):
    source = parquet_file(tmp_path, {"x": [1.0, 2.0, 3.0, 4.0], "t": [0.0, -0.0, 0.0, 1.0]})
    (feature,) = built(source, time="t", spans=4).features
    assert feature.variation["range"].tolist() == [1, 1]


def test_without_times_there_is_no_variation(tmp_path):
    baseline = built(parquet_file(tmp_path, {"x": [1.0, 2.0], "c": ["a", "b"]}))
    assert baseline.spans == baseline.joint_tolerance == len(baseline.joint_variation) == 0
    for feature in baseline.features:
        assert feature.variation == {}
        assert feature.tolerance("missing") == 0


def test_variation_is_of_the_checks_effects():
    for kind, effects in (("numeric", NUMERIC_EFFECTS), ("categorical", CATEGORICAL_EFFECTS)):
        assert effects == tuple(check.name for check in checks_of(kind) if check.learning is not None)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"time": "z"}, "--time must name a column of the data, got 'z'"),
        ({"time": ["day", "x", "y", "t", "word", "same", "none"]}, "the data must have at least one column besides "
         "label, times and excluded ones, got none"),
        ({"time": "word"}, "--time must name columns of numbers or times, got 'monday' in 'word'"),
        ({"time": "same"}, "--time must tell at least two times apart, got rows at one time only in 'same'"),
        ({"time": "none"}, "--time must tell at least two times apart, got no row with a time in 'none'"),
        ({"time": ["t", "none"]}, "--time must tell at least two times apart, got no row with a time in 't', 'none'"),
        ({"time": "t", "spans": 1}, "spans must be an integer from 2 to 100, got 1"),
        ({"time": "t", "spans": 101}, "spans must be an integer from 2 to 100, got 101"),
        ({"time": "t", "spans": 2.0}, "spans must be an integer from 2 to 100, got 2.0"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_bad_options(tmp_path, options, message, suffix):
    frame = pd.DataFrame({"x": [1.0, 2], "y": [3.0, 4], "t": [1, 2], "same": [5, 5], "none": [np.nan, np.nan]})
    frame = frame.assign(word=["monday", "tuesday"], day=["2024-01-01", "2024-01-02"])
    path = tmp_path / f"d.{suffix}"
    frame.to_csv(path, index=False) if suffix == "csv" else frame.to_parquet(path, index=False)
    with pytest.raises(BaselineError) as caught:
        built(path, exclude=["day"] if suffix == "csv" else [], **options)
    assert str(caught.value) == message


@pytest.mark.parametrize(("column", "shown"), [(pa.array([[1], [2]]), r"\[1\]"), (pa.array([True, False]), "false")])
def test_columns_that_have_no_order_are_refused(tmp_path, column, shown):
    source = parquet_file(tmp_path, {"x": [1.0, 2.0], "t": column})
    with pytest.raises(BaselineError, match=rf"^--time must name columns of numbers or times, got '{shown}' in 't'$"):
        built(source, time="t")


def test_rows_are_not_brought_into_python(tmp_path):
    rng = np.random.default_rng(4)
    rows = 400_000
    source = parquet_file(tmp_path, {**{f"x{i}": rng.normal(size=rows) for i in range(3)}, "t": rng.random(rows)})
    built(parquet_file(tmp_path, {"x": [1.0, 2.0], "t": [1, 2]}, "warm.parquet"), time="t")
    tracemalloc.start()
    try:
        built(source, rows=1_000, time="t")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < rows * 8


def test_seasons_of_flights(tmp_path):
    frame = pd.read_csv(FLIGHTS)
    frame[frame["year"] == 2013].to_csv(tmp_path / "2013.csv", index=False)
    baseline = built(tmp_path / "2013.csv", label="arr_delay", exclude=["year"], time=["month", "day", "hour"])
    assert baseline.spans == 12
    features = {feature.name: feature for feature in baseline.features}
    weather = [features[name] for name in ("temp", "dewp", "pressure")]
    assert min(feature.tolerance("ks") for feature in weather) > 0.3
    assert features["temp"].tolerance("ks") > 0.6
    assert features["temp"].tolerance("mean") > 1.2
    assert features["carrier"].tolerance("frequency") < 0.08
    assert features["carrier"].tolerance("new_category") == 0
    assert features["sched_dep_min"].tolerance("ks") < 0.08
    # the seasons of a year: coldest and warmest half a year apart
    coldest = features["temp"].variation["mean"].argsort()[-2:]
    assert sorted(coldest.tolist()) in ([0, 6], [1, 6], [0, 7], [1, 7], [0, 1])
