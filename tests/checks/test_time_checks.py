"""Features with time profiles: p-values by the definition, what is left as it was, and which rows are enough."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy import stats

from timed import DAY, START, with_hand_made
from torchserve_drift import Monitor
from torchserve_drift.baseline.baseline import Baseline
from torchserve_drift.baseline.profile import NumericBaseline
from torchserve_drift.baseline.time_profile import TESTED_LENGTHS, TimeProfile
from torchserve_drift.checks.evidence import CheckedModel, Evidence, WindowEvidence
from torchserve_drift.checks.span_weights import span_weights
from torchserve_drift.checks.time_significance import LOCATION_PART
from torchserve_drift.checks.window_checks import WindowChecks
from torchserve_drift.settings.settings import Settings, Window
from torchserve_drift.stats.bin_scores import bin_scores
from torchserve_drift.verdicts.min_effects import min_effects_of
from torchserve_drift.verdicts.report import Report
from torchserve_drift.window.merge import WindowRows
from torchserve_drift.window.store import Store

RNG = np.random.default_rng(0)
TRAINING = START + np.sort(RNG.uniform(0, 28 * DAY, 60_000))


def wave(times: np.ndarray) -> np.ndarray:
    return np.sin(2 * np.pi * times / DAY)


def columns_at(times: np.ndarray, rng: np.random.Generator) -> dict[str, np.ndarray]:
    count, s = len(times), wave(times)
    return {
        "x": np.where(rng.random(count) < 0.05 + 0.04 * s, np.nan, rng.normal(s, 1)),
        "c": np.where(rng.random(count) < 0.3 + 0.2 * s, "a", np.where(rng.random(count) < 0.1, "b", "z")),
    }


COLUMNS = columns_at(TRAINING, RNG)
KNOWN = with_hand_made(COLUMNS, TRAINING, rho=0.002, freedom=60.0)
NOW = START + 40 * DAY + 9.7 * 3600


def changed(known: Baseline, **arrays: Any) -> Baseline:
    """``known`` with other arrays in all of its time profiles."""
    features = tuple(replace(f, time=replace(f.time, **arrays)) for f in known.features)  # type: ignore[type-var]
    return replace(known, features=features)


def found_in(
    known: Baseline, columns: dict[str, Any], times: np.ndarray, window: Window, now: float = NOW
) -> tuple[WindowRows, WindowEvidence]:
    """A window's rows and evidence, of single rows at ``times``."""
    monitor = Monitor(known, {"windows": ["1h"]}, clock=lambda: now, seed=0)
    rows = monitor.encoder.columns(columns)
    store = Store(known, [window], 4096, seed=0)
    for begin in range(0, len(rows), 20):
        store.append(rows[begin : begin + 20], float(times[begin]))
    store.writer.fold()
    (found,) = store.windows(now)
    checks = WindowChecks(CheckedModel(known, min_effects_of(known, Settings()), store.layout, store.codes))
    evidence = checks.evidence(found)
    assert evidence is not None
    return found, evidence


def evidence_of(evidence: WindowEvidence, feature: int) -> dict[str, Evidence]:
    found = evidence.features[feature]
    assert found is not None
    return dict(found)


HOUR = Window("1h", seconds=3600.0)


def window_of(shift: float = 0.0, count: int = 900) -> tuple[dict[str, np.ndarray], np.ndarray]:
    rng = np.random.default_rng(5)
    times = NOW - 3500.0 + np.linspace(0, 3490, count)
    columns = columns_at(times, rng)
    columns["x"] = columns["x"] + shift
    return columns, times


def mixture(found: WindowRows, time: TimeProfile, s: int) -> tuple[np.ndarray, np.ndarray]:
    """The expected share of each bin among a span's values, and the weights of hours."""
    counts = time.counts.astype(float)
    n, missing = counts.sum(1), time.missing
    presence = 1 - (missing + 50 * missing.sum() / (missing.sum() + n.sum())) / (missing + n + 50)
    weights = found.in_time.hours[s] * presence
    weights = weights / weights.sum()
    shares = (counts + 50 * counts.sum(0) / n.sum()) / (n + 50)[:, None]
    return weights @ shares, weights


def location_by_definition(
    found: WindowRows, feature: NumericBaseline, values: np.ndarray, s: int
) -> tuple[float, float]:
    """The deviation of a span's mean score, and its p-value, row by row."""
    time = feature.time
    assert time is not None
    bins = np.diff(feature.edge_counts, prepend=0, append=feature.count)[None].astype(float)
    z = bin_scores(bins).location[0]
    _, weights = mixture(found, time, s)
    counts = time.counts.astype(float)
    n = counts.sum(1)
    overall, square = counts.sum(0) @ z[:-1] / n.sum(), counts.sum(0) @ z[:-1] ** 2 / n.sum()
    mean = (counts @ z[:-1] + 50 * overall) / (n + 50)
    variance = (counts @ z[:-1] ** 2 + 50 * square) / (n + 50) - mean**2
    score = z[np.searchsorted(feature.edges, values)]
    deviation = float(score.mean() - weights @ mean)
    rho = max(0.002, float((weights**2 / (n + 50)).sum()))
    inverse = 1 / len(values) + rho
    freedom = inverse**2 / (0.002**2 / 60)
    t = (abs(deviation) - 0.1) / np.sqrt(weights @ variance * inverse)
    return deviation, 2 * float(stats.t.sf(t, freedom))


def test_mean_is_the_deviation_from_the_hours_of_the_rows_by_students_tail() -> None:
    columns, times = window_of(shift=0.6)
    found, evidence = found_in(KNOWN, columns, times, HOUR)
    feature = KNOWN.features[0]
    assert isinstance(feature, NumericBaseline)
    x = columns["x"]
    deviation, p = location_by_definition(found, feature, x[np.isfinite(x)], -1)
    mean = evidence_of(evidence, 0)["mean"]
    assert 1e-30 < p < 1e-4
    assert mean.effect == pytest.approx(abs(deviation), rel=0.02)
    assert mean.min_effect == pytest.approx(0.4 * 0.25)
    assert np.log(mean.p_value) == pytest.approx(np.log(p), rel=0.05)  # the gamma tail is a little larger


def test_cusum_is_the_smallest_p_value_of_all_spans_by_the_definition() -> None:
    columns, times = window_of()
    columns["x"][-200:] += 0.7
    found, evidence = found_in(KNOWN, columns, times, HOUR)
    feature = KNOWN.features[0]
    assert isinstance(feature, NumericBaseline)
    valid = np.array([int(span[3]) for span in found.spans])
    weights = span_weights(valid[:, None].astype(float))[:, 0]
    x = columns["x"][np.isfinite(columns["x"])]
    spans = [s for s in range(len(valid)) if weights[s] > 0]
    adjusted = [
        location_by_definition(found, feature, x[-valid[s] :], s)[1] / (weights[s] * LOCATION_PART) for s in spans
    ]
    cusum = evidence_of(evidence, 0)["cusum"]
    assert np.log(cusum.p_value) == pytest.approx(np.log(min(adjusted)), rel=0.05)
    assert cusum.min_effect == pytest.approx(0.4 * 0.25)  # of a location
    assert cusum.effect > 0.5


def test_the_tail_exponent_is_the_power_of_every_p_value() -> None:
    columns, times = window_of(shift=0.6)
    channels = [len(f.time.clustering) for f in KNOWN.features if f.time]
    half = tuple(
        replace(f, time=replace(f.time, tail=np.full((len(TESTED_LENGTHS), k), 0.5)))  # type: ignore[type-var]
        for f, k in zip(KNOWN.features, channels)
    )
    one, other = (
        evidence_of(found_in(known, columns, times, HOUR)[1], 0) for known in (KNOWN, replace(KNOWN, features=half))
    )
    assert other["mean"].p_value == pytest.approx(one["mean"].p_value ** 0.5)
    assert (other["ks"].bound or 0) == pytest.approx((one["ks"].bound or 0) ** 0.5)
    assert other["cusum"].p_value > 100 * one["cusum"].p_value


def test_doubt_about_the_correlation_makes_every_p_value_larger() -> None:
    columns, times = window_of(shift=0.6)
    columns["c"][::4] = "new"
    known = with_hand_made(COLUMNS, TRAINING, rho=0.01, freedom=1e9)
    doubtful = with_hand_made(COLUMNS, TRAINING, rho=0.01, freedom=8.0)
    for feature, checks in ((0, ("mean", "cusum")), (1, ("frequency", "new_category", "cusum"))):
        sure, unsure = (evidence_of(found_in(each, columns, times, HOUR)[1], feature) for each in (known, doubtful))
        for check in checks:
            assert unsure[check].p_value > 10 * sure[check].p_value, check


def test_shares_are_compared_with_those_of_their_hours() -> None:
    columns, times = window_of()
    found, evidence = found_in(KNOWN, columns, times, HOUR)
    time = KNOWN.features[1].time
    assert time is not None
    expected, _ = mixture(found, time, -1)
    names = KNOWN.features[1].categories  # type: ignore[union-attr]
    shares = np.array([(columns["c"] == name).mean() for name in names])
    checks = evidence_of(evidence, 1)
    assert checks["frequency"].effect == pytest.approx(np.abs(shares - expected[: len(names)]).max(), abs=1e-6)
    assert abs(shares[0] - (COLUMNS["c"] == names[0]).mean()) > 0.05  # the hour is unlike the day
    assert checks["chi2"].effect < 0.05
    assert checks["missing"].p_value == checks["frequency"].p_value == 1


def test_the_distance_is_that_from_the_mixture_of_hours() -> None:
    columns, times = window_of()
    found, evidence = found_in(KNOWN, columns, times, HOUR)
    feature = KNOWN.features[0]
    assert isinstance(feature, NumericBaseline)
    assert feature.time is not None
    expected, _ = mixture(found, feature.time, -1)
    x = columns["x"][np.isfinite(columns["x"])]
    gaps = np.abs([(x <= edge).mean() for edge in feature.edges] - np.cumsum(expected))
    ks = evidence_of(evidence, 0)["ks"]
    assert ks.effect == pytest.approx(gaps.max(), abs=0.005)
    assert ks.statistic > 0.2  # the hour is unlike the day


def reports(known: Baseline, section: dict[str, Any], days: float = 0.5) -> list[Report]:
    now = [NOW]
    monitor = Monitor(known, section, clock=lambda: now[0], seed=0)
    rng, found = np.random.default_rng(6), []
    for i in range(int(days * 48)):
        now[0] += 1800.0
        monitor.observe(columns_at(np.full(60, now[0]), rng))
        if i % 6 == 5:
            found.append(monitor.evaluate())
    return found


def without_profiles(known: Baseline, names: Sequence[str]) -> Baseline:
    return replace(known, features=tuple(replace(f, time=None) if f.name in names else f for f in known.features))


@pytest.mark.parametrize("timed", ["x", "c"])
def test_features_without_a_time_profile_are_judged_as_before(timed: str) -> None:
    other = "c" if timed == "x" else "x"
    section = {"min_rows": 50, "windows": ["1h", "24h", "500 rows"]}
    mixed, plain = reports(without_profiles(KNOWN, [other]), section), reports(without_profiles(KNOWN, "xc"), section)
    for one, before in zip(mixed, plain):
        assert one.feature(other).windows == before.feature(other).windows
        assert one.feature(timed).windows["500 rows"] == before.feature(timed).windows["500 rows"]
    assert mixed[-1].feature(timed).windows["24h"] != plain[-1].feature(timed).windows["24h"]


def test_the_classic_policy_knows_no_time_profile() -> None:
    section = {"min_rows": 50, "windows": ["24h"], "alarms": {"policy": "classic"}}
    for one, before in zip(reports(KNOWN, section), reports(without_profiles(KNOWN, "xc"), section)):
        assert [(f.name, f.windows) for f in one.features] == [(f.name, f.windows) for f in before.features]


def test_a_day_is_judged_from_half_a_day_of_rows_on() -> None:
    section = {"windows": ["24h"], "min_rows": 100}
    some = reports(KNOWN, section, days=1.0)
    states = [report.windows["24h"].state for report in some]
    assert states[:3] == ["too_few_rows"] * 3
    assert states[-2:] == ["ok", "ok"]
    mixed = reports(without_profiles(KNOWN, ["c"]), section, days=1.0)
    assert mixed[1].feature("x").windows["24h"].checks == {}
    assert mixed[1].feature("c").windows["24h"].checks != {}


def test_infinite_and_huge_values_stay_visible() -> None:
    columns, times = window_of()
    columns["x"][::2] = np.inf
    columns["x"][1::4] = 1e300
    _, evidence = found_in(KNOWN, columns, times, HOUR)
    checks = evidence_of(evidence, 0)
    for check in checks.values():
        assert np.isfinite([check.p_value, check.effect, check.min_effect]).all()
        assert check.bound is None or 0 < check.bound <= 1
    assert checks["range"].p_value < 1e-8
    assert checks["mean"].p_value < 1e-8
    assert checks["range"].effect > 0.7


def test_nothing_is_surer_than_of_independent_rows() -> None:
    """Of an hour that training hardly knows, and of categories that it lacks."""
    few = TRAINING[:400]
    small = with_hand_made({name: values[:400] for name, values in COLUMNS.items()}, few)
    columns, times = window_of()
    columns["c"][:] = "b"
    _, evidence = found_in(small, columns, times, HOUR)
    known = (COLUMNS["c"][:400] == "b").sum()
    exact = stats.fisher_exact([[known, 400 - known], [900, 0]]).pvalue
    assert evidence_of(evidence, 1)["frequency"].p_value > exact


def test_the_joint_distribution_has_the_rows_of_correlated_traffic() -> None:
    columns, times = window_of()
    _, plain = found_in(without_profiles(KNOWN, "xc"), columns, times, HOUR)
    _, timed = found_in(KNOWN, columns, times, HOUR)
    assert plain.design_effects[-1] == 1.0
    assert timed.design_effects[-1] == pytest.approx(1 + 900 * 0.002)
    assert timed.design_effects[0] == pytest.approx(1 + 900 * 0.002)
