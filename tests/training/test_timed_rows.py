"""Time profiles of training data in files: the same as those of columns in memory, and when there are none."""

from __future__ import annotations

from datetime import datetime, timezone

import numpy as np
import pandas as pd
import pytest

from torchserve_drift.baseline import artifact
from torchserve_drift.baseline.baseline import Baseline
from torchserve_drift.training import timed_rows
from torchserve_drift.training.build import build
from torchserve_drift.training.time_learning import with_time_profiles

WHEN = "2024-01-01T00:00:00Z"
ROWS = 4_000
START = 1_700_000_000


def data(days=21.0):
    random = np.random.default_rng(0)
    # whole microseconds, in no order, some rows of the same time
    times = START + np.round(random.random(ROWS) * days * 86400, 3)
    times[::5] = times[1::5]
    x = np.round(random.normal(size=ROWS), 1)
    x[::9] = np.nan
    return pd.DataFrame({"t": times, "x": x, "c": random.choice(["a", "b", "7", None], ROWS), "k": np.arange(ROWS) % 3})


def built(path, frame, remarks=None, **options):
    frame.to_parquet(path) if path.suffix == ".parquet" else frame.to_csv(path, index=False)

    def progress(step, done, total):
        if remarks is not None and not total:
            remarks.append(step)

    return build(path, created=WHEN, time=["t"], progress=progress, **options)


def assert_same_profiles(one, other):
    for a, b in zip(one.features, other.features):
        for name, found in vars(a.time).items():
            np.testing.assert_array_equal(found, getattr(b.time, name), err_msg=name)


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
@pytest.mark.parametrize("spelling", ["seconds", "milliseconds", "text", "timestamp"])
def test_profiles_are_those_of_columns_in_memory(tmp_path, suffix, spelling):
    frame = data()
    columns = {name: frame[name].tolist() for name in ("x", "c", "k")}
    columns["c"] = [value if isinstance(value, str) else None for value in columns["c"]]
    made = built(tmp_path / f"d{suffix}", _spelled(frame, spelling), categorical=["k"])
    # the same edges: quantiles of DuckDB may differ in their last digit
    expected = with_time_profiles(made, columns, frame["t"].to_numpy())
    assert_same_profiles(made, expected)
    assert made.has_time_profiles
    loaded = artifact.from_bytes(artifact.to_bytes(made), "b")
    assert_same_profiles(loaded, made)


def _spelled(frame, spelling):
    if spelling == "milliseconds":
        return frame.assign(t=np.round(frame["t"] * 1000).astype(np.int64))
    if spelling == "text":
        return frame.assign(t=[datetime.fromtimestamp(t, timezone.utc).isoformat() for t in frame["t"]])
    if spelling == "timestamp":
        return frame.assign(t=pd.to_datetime(np.round(frame["t"] * 1000).astype(np.int64), unit="ms"))
    return frame


def test_rows_without_a_time_are_in_no_profile(tmp_path):
    frame = data()
    frame.loc[:99, "t"] = np.nan
    made = built(tmp_path / "d.parquet", frame)
    x = made.features[0]
    assert x.time.counts.sum() == np.isfinite(frame["x"][100:]).sum() < x.count
    assert x.time.missing.sum() == frame["x"][100:].isna().sum()


def test_the_number_of_rows_is_bounded(tmp_path, monkeypatch):
    whole = built(tmp_path / "d.parquet", data())
    monkeypatch.setattr(timed_rows, "MOST_ROWS", 1_500)
    part = built(tmp_path / "d.parquet", data())
    assert 0.9 * ROWS / 3 < part.features[1].time.counts.sum() + part.features[1].time.missing.sum() < 1.1 * ROWS / 3
    assert (part.features[0].time.counts <= whole.features[0].time.counts).all()


ORDER_ONLY = "--time has numbers that order the rows, and no dates, times or seconds since 1970"


@pytest.mark.parametrize(
    ("times", "reason"),
    [
        (data(days=9.0)["t"], "training rows must span 14 days or more, got 9.0"),
        (np.arange(ROWS), ORDER_ONLY),
        (2024013100 + np.arange(ROWS), ORDER_ONLY),
        (
            pd.Timestamp(2024, 1, 1) + pd.to_timedelta(np.arange(ROWS), "D"),
            "times must tell hours apart, got days only",
        ),
    ],
)
def test_without_real_times_there_are_spans_and_no_profiles(tmp_path, times, reason):
    remarks = []
    made = built(tmp_path / "d.parquet", data().assign(t=times), remarks)
    assert made.spans == 12
    assert not made.has_time_profiles
    assert remarks == [f"no time profiles: {reason}"]


def test_without_time_columns_there_is_no_remark(tmp_path):
    data().drop(columns="t").to_csv(tmp_path / "d.csv", index=False)
    remarks = []
    made = build(tmp_path / "d.csv", created=WHEN, progress=lambda *step: step[2] or remarks.append(step))
    assert not made.has_time_profiles
    assert remarks == []


def test_the_same_data_give_the_same_file(tmp_path):
    one, other = (artifact.to_bytes(built(tmp_path / "d.csv", data())) for _ in range(2))
    assert one == other


def test_all_of_a_profile_is_shown():
    frame = data()
    columns = {"x": frame["x"].tolist(), "c": [str(value) for value in frame["c"]]}
    made = with_time_profiles(Baseline.from_columns(columns), columns, frame["t"].to_numpy())
    x, c = made.to_dict()["features"]
    assert x["time"]["channels"] == ["location", "scale", "outside", "missing", "ks"]
    assert c["time"]["summary"]["channel"] == c["time"]["channels"][0] == f"={c['categories'][0]['category']}"
    for facts, feature in zip((x, c), made.features):
        for name, values in vars(feature.time).items():
            np.testing.assert_array_equal(facts["time"][name], values)
    share = np.mean([value == c["categories"][0]["category"] for value in columns["c"]])
    assert np.mean(c["time"]["summary"]["hours_of_day"]) == pytest.approx(share, abs=0.02)
    assert len(x["time"]["summary"]["hours_of_day"]) == 24
    assert list(x["time"]["summary"]["correlation"]) == ["10m", "1h", "24h"]
