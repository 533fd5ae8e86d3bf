"""A small part of scripts/detection traffic: replays of seconds, and the study's own rules."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from torchserve_drift.verdicts.report import CheckResult, FeatureReport, FeatureWindow, Report, WindowReport
from traffic_study import document, peers, power, steps
from traffic_study.baselines import baseline_of
from traffic_study.data_sets import DATA_SETS
from traffic_study.outages import KNOWN, Known, known_and_other
from traffic_study.packages import NYCFLIGHTS, contents
from traffic_study.replay import Event, Replay, Watch, replay
from traffic_study.strips import Strips
from traffic_study.synthetic import BEGIN, STREAMS, WEEK, correlated, service, small_effects
from traffic_study.traffic import DAY, Traffic

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "scripts" / "traffic_study" / "results.json"


def numbers(n: int, per_day: float, seed: int, *, begin: float = BEGIN) -> Traffic:
    rng = np.random.default_rng(seed)
    columns = {"x": rng.normal(size=n), "c": rng.choice(np.array(["a", "b", None], object), n)}
    return Traffic.sorted(begin + np.arange(n) * DAY / per_day, columns)


# a small part of the study


def test_independent_rows_have_no_new_feature() -> None:
    training, production = correlated("independent", 7, 1, 10), correlated("independent", 2, 2, 10)
    found = replay(baseline_of(training, with_times=False), production, every=3600)
    assert (found.events, found.drifted) == ([], [])
    assert found.looks == 47
    assert found.judged["1h"] > 40


def test_a_service_without_any_change_is_called_drifted_if_nothing_is_known_of_its_hours() -> None:
    training, production = service(1, 1), service(1, 2)
    found = replay(baseline_of(training, with_times=False), production.between(BEGIN, BEGIN + DAY), every=1800)
    assert len(found.drifted) > 0.5 * found.looks
    summary = found.summary()
    assert summary["new_features"] > 30
    assert set(summary["by_window"]) <= {"10m", "1h", "24h"}


def test_what_training_shows_of_its_hours_is_no_drift_and_a_fault_still_is() -> None:
    training, production = service(3, 1, 4), service(1, 2, 4)
    baseline = baseline_of(training, with_times=True)
    day = production.between(BEGIN, BEGIN + 1.5 * DAY)
    found = replay(baseline, day, every=1800)
    assert (found.events, found.drifted) == ([], [])
    wrong = day.with_columns({"score": day.columns["score"] + 2, "region": np.full(len(day), "A", object)})
    assert {event.feature for event in replay(baseline, wrong, every=1800).events} >= {"score", "region"}


def test_faults_are_found_soon_in_independent_rows() -> None:
    training, production = correlated("independent", 7, 1, 10), correlated("independent", 5, 2, 10)
    found = power.measure(baseline_of(training, with_times=False), training, production, trials=1)
    assert set(found) == set(power.FAULTS)
    assert set(found["+0.5 σ"]) == {"n0", "n1", "n2"}
    assert set(found["30 % missing"]) == {"n0", "n1", "n2", "c"}
    assert all(one["rows"] < 1_000 and one["found"] == 1 for by in found.values() for one in by.values())


def test_looks_whose_outcome_is_certain_are_passed_over() -> None:
    training, production = numbers(5_000, 1_000, 1), numbers(100, 10, 2)  # never 200 rows within two days
    baseline = baseline_of(training, with_times=False)
    looks = list(Watch(baseline, production, every=3600).looks())
    assert len(looks) == 1
    found = replay(baseline, production, every=3600)
    assert found.looks == 237  # 9.9 days: they count
    assert found.events == []


def test_rows_of_one_time_are_one_request_where_they_come_together() -> None:
    rows = numbers(4_000, 40_000, 1)
    together = Traffic(
        np.repeat(rows.times[::50], 50), {n: np.repeat(c[::50], 50) for n, c in rows.columns.items()}, True
    )
    watch = Watch(baseline_of(rows, with_times=False), together, every=3600)
    *_, (_, seen, report) = watch.looks()
    assert seen == 4_000
    assert report.feature("x").windows["24h"].design_effect > 20


# what is counted


def report(*drifted: tuple[str, str]) -> Report:
    check = CheckResult(1e-9, 1.0, 1.0, 1e-6, 0.1, True)
    features = [
        FeatureReport(
            name,
            "numeric",
            0.5,
            {w: FeatureWindow((name, w) in drifted, None, {"ks": check}) for w in ("10m", "1h")},
        )
        for name in ("x", "y")
    ]
    states = {"10m": WindowReport(9, 9, "too_few_rows", 0.0), "1h": WindowReport(900, 900, "ok", 0.0)}
    return Report("m", "1", 0.0, "0" * 64, states, tuple(features))


def test_a_feature_is_new_once_and_each_of_its_windows_is_counted() -> None:
    found = Replay(days=30, rows=1)
    looks = [(), (("x", "1h"),), (("x", "1h"), ("x", "10m")), (("y", "1h"), ("y", "10m")), ()]
    for time, drifted in enumerate(looks):
        found.add(float(time), report(*drifted))
    summary = found.summary()
    assert (summary["new_features"], summary["new_in_windows"]) == (2, 4)
    assert summary["by_feature"] == {"x": 1, "y": 1}
    assert summary["by_window"] == {"1h": 2, "10m": 2}
    assert summary["by_check"] == {"ks": 4}
    assert summary["time_in_drift"] == 0.6
    assert summary["judged"] == {"1h": 1.0}


def test_strips_hold_the_tenths_of_each_hour() -> None:
    strips = Strips("1970-01-01", hours=3)
    for minute in range(5, 181, 5):
        drifted = (("x", "1h"),) if 60 < minute <= 65 or minute > 120 else ()
        strips(60.0 * minute, report(*drifted))
    assert strips.plain() == {"1h": "019", "x": "019"}
    assert strips.rows(numbers(10, 48, 1, begin=0.0)) == [2, 2, 2]


def test_what_is_known_to_have_happened_explains_drift_until_a_day_later() -> None:
    known = Known("an outage", "2013-08-19", "2013-08-19", ("temp",))
    day = float(np.datetime64("2013-08-19", "s").astype(float))

    def event(time: float, feature: str = "temp") -> Event:
        return Event(time, feature, "24h", ("missing",), True)

    assert known.explains(event(day))
    assert known.explains(event(day + 2 * DAY - 1))
    assert not known.explains(event(day + 2 * DAY))
    assert not known.explains(event(day, "carrier"))
    production = Traffic(np.array([day - 10 * DAY, day + 50 * DAY]), {})
    found = known_and_other("nyc_weather", [event(day), event(day, "carrier")], production)
    assert found["known"]["no weather on August 19"] == ["temp"]
    assert set(found["known"]) == {"no weather on August 19", "no weather on August 22"}  # the others are later
    assert found["other_new_features"] == 0.5
    assert known_and_other("bikes", [event(day)], production) == {}
    assert set(KNOWN) <= set(DATA_SETS)


# traffic


@pytest.mark.parametrize(("days", "training"), [(30, 28), (70, 42), (365, 217), (100, 56)])
def test_training_is_whole_weeks_of_the_first_three_fifths(days: int, training: int) -> None:
    rows = numbers(24 * days, 24, 1, begin=BEGIN + 3600 * 0.5)
    before, after = rows.cut()
    assert before.days == training
    assert after.times[0] // DAY == BEGIN // DAY + training
    assert len(before) + len(after) == len(rows)


def test_thinning_keeps_whole_requests() -> None:
    rows = numbers(60, 24, 1)
    assert len(rows.thinned(4)) == 15
    together = Traffic(rows.times // DAY, rows.columns, together=True)  # 24, 24 and 12 rows
    np.testing.assert_array_equal(together.thinned(2).times, [BEGIN // DAY] * 24 + [BEGIN // DAY + 2] * 12)


def test_a_package_that_is_not_the_pinned_one_is_refused(tmp_path: Path) -> None:
    (tmp_path / NYCFLIGHTS.file).write_bytes(b"other")
    with pytest.raises(ValueError, match=r"sha256 of .* must be d9ef2f5c"):
        contents(NYCFLIGHTS, "x", tmp_path)


@pytest.mark.parametrize("kind", ["ar 0.5", "ar 0.9", "blocks", "interleaved", "independent"])
def test_values_of_every_stream_have_the_same_distribution_whatever_their_dependence(kind: str) -> None:
    values = correlated(kind, 28, 3).columns["n0"]
    assert np.mean(values) == pytest.approx(0, abs=0.03)
    assert np.std(values) == pytest.approx(1, abs=0.02)
    neighbours = np.corrcoef(values[:-1], values[1:])[0, 1]
    expected = {"ar 0.5": 0.5, "ar 0.9": 0.9, "blocks": 0.49, "interleaved": 0.05, "independent": 0}[kind]
    assert neighbours == pytest.approx(expected, abs=0.02)


def test_effects_are_the_given_part_of_the_minimum_effects() -> None:
    without, half = (small_effects(part, 28, 3).columns for part in (0.0, 0.5))
    assert half["mean"].mean() - without["mean"].mean() == pytest.approx(0.125, abs=0.01)
    assert half["std"].std() / without["std"].std() == pytest.approx(1.05, abs=0.01)
    assert np.isnan(half["missing"]).mean() - np.isnan(without["missing"]).mean() == pytest.approx(0.01, abs=0.002)
    assert (half["share"] == "a").mean() - (without["share"] == "a").mean() == pytest.approx(0.025, abs=0.004)


def test_production_of_a_stream_follows_training_at_the_same_hour_of_the_week() -> None:
    training, production = STREAMS["ar 0.5"].cut()
    assert training.times[-1] < production.times[0]
    assert production.times[0] % WEEK == training.times[0] % WEEK


@pytest.mark.parametrize("fault", power.FAULTS)
def test_a_fault_changes_columns_of_its_kinds_only(fault: str) -> None:
    rng = np.random.default_rng(0)
    rows = numbers(2_000, 24, 1).columns
    for name, faults in (("x", power.NUMERIC_FAULTS), ("c", power.CATEGORICAL_FAULTS)):
        wrong = power.broken(rows[name], fault, rows[name], rng)
        assert (wrong is not None) == (fault in faults)
        assert wrong is None or (len(wrong) == 2_000 and wrong.dtype == rows[name].dtype)


# other tools' rules


def test_scores_of_batches_are_those_of_scipy_with_ties_too() -> None:
    rng = np.random.default_rng(4)
    for column, batch in (
        (rng.normal(size=2_000), rng.normal(0.3, 1, 100)),
        (rng.poisson(2, 2_000).astype(float), rng.poisson(3, 100).astype(float)),
    ):
        found = peers.Numeric(column).scores(np.append(batch, np.nan))
        assert found.evidently == pytest.approx(stats.wasserstein_distance(column, batch) / column.std(), rel=1e-6)
        expected = stats.ks_2samp(column, batch, method="asymp")
        assert found.p_value == pytest.approx(expected.pvalue, rel=0.02)


def test_a_new_category_alarms_every_tool() -> None:
    column, batch = np.array(["a", "b", None] * 500, object), np.array(["a", "new"] * 50, object)
    found = peers.Categorical(column).scores(batch)
    assert found.p_value < 1e-9
    assert 0.1 < found.evidently < found.nannyml
    training = Traffic(np.arange(1500) * 60.0, {"c": column})
    alarms = peers.measure(training, Traffic(1e6 + np.arange(100) * 60.0, {"c": batch}))
    assert all(alarms["hour"][tool] == 1 for tool in peers.TOOLS)


# the page


def test_the_page_is_what_the_results_say() -> None:
    results = json.loads(RESULTS.read_text())
    assert (ROOT / "docs" / "traffic.md").read_text() == document.page(results)
    assert RESULTS.read_text() == steps.readable(results)


def test_the_page_can_be_written_before_anything_is_measured() -> None:
    assert "Not measured yet." in document.page({})


def test_the_results_are_small_and_of_known_sets() -> None:
    assert RESULTS.stat().st_size < 200_000
    results = json.loads(RESULTS.read_text())
    assert set(results) <= set(steps.STEPS)
    assert {name for by_set in results.values() for name in by_set} <= {*DATA_SETS, *STREAMS}
