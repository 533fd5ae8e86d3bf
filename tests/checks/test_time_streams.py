"""Weeks of traffic in order of time through a real monitor: what does not raise an alarm, and what does soon."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Callable

import numpy as np
import pytest

from timed import DAY, START, Draw, Stream, learnt, with_hand_made
from torchserve_drift.baseline.baseline import Baseline
from torchserve_drift.verdicts.report import Report

Profiled = Callable[[Mapping[str, np.ndarray], np.ndarray], Baseline]


def training_times(rate: float, days: int = 28) -> np.ndarray:
    return START + np.sort(np.random.default_rng(0).uniform(0, days * DAY, int(rate * 1440 * days)))


def drifted(report: Report, name: str) -> bool:
    return any(window.drifted for window in report.feature(name).windows.values())


def wave(times: np.ndarray) -> np.ndarray:
    return np.sin(2 * np.pi * times / DAY)


def plain(known: Baseline) -> Baseline:
    return replace(known, features=tuple(replace(feature, time=None) for feature in known.features))


def daily(rng: np.random.Generator, times: np.ndarray) -> dict[str, np.ndarray]:
    """A number, a category and missing values that follow the hour of the day."""
    s, count = wave(times), len(times)
    return {
        "x": np.where(rng.random(count) < 0.1 + 0.05 * s, np.nan, rng.normal(s, 1)),
        "c": np.where(rng.random(count) < 0.3 + 0.2 * s, "a", "b"),
    }


@pytest.mark.parametrize("profile", [learnt, with_hand_made])
def test_a_pattern_of_the_day_raises_no_alarm_in_30_days(profile: Profiled) -> None:
    times = training_times(2)
    known = profile(daily(np.random.default_rng(1), times), times)
    assert Stream(known, daily, every=3600.0).alarms(30) == []
    assert len(Stream(plain(known), daily, every=3600.0).alarms(2)) > 20


def test_a_row_that_goes_with_the_last_one_raises_no_alarm() -> None:
    """AR(1) with 0.9, in the order of rows: an hour's mean is worth a twentieth of its rows."""
    last = [0.0]

    def draw(rng: np.random.Generator, times: np.ndarray) -> dict[str, np.ndarray]:
        noise, values = np.sqrt(1 - 0.9**2) * rng.normal(size=len(times)), np.empty(len(times))
        for i, each in enumerate(noise.tolist()):
            values[i] = last[0] = 0.9 * last[0] + each
        return {"x": values}

    times = training_times(2)
    known = learnt(draw(np.random.default_rng(1), times), times)
    assert Stream(known, draw, every=3600.0).alarms(20) == []
    assert len(Stream(plain(known), draw, every=3600.0).alarms(5)) > 5


def test_a_day_of_its_own_mean_is_a_single_observation() -> None:
    """Each day has a mean of its own, with a standard deviation of 0.3; today's rule alarms on half of the days."""

    def draw(rng: np.random.Generator, times: np.ndarray) -> dict[str, np.ndarray]:
        days = np.floor(times / DAY).astype(int)
        means = np.array([np.random.default_rng(day).normal(0, 0.3) for day in range(days.min(), days.max() + 1)])
        return {"x": rng.normal(means[days - days.min()], 1)}

    times = training_times(2, days=42)
    known = learnt(draw(np.random.default_rng(1), times), times)
    assert Stream(known, draw, every=3600.0).alarms(20) == []
    assert len(Stream(plain(known), draw, every=3600.0).alarms(5)) > 5


def shifted(by: float, missing: float = 0.0) -> Draw:
    def draw(rng: np.random.Generator, times: np.ndarray) -> dict[str, np.ndarray]:
        x = rng.normal(0.5 * wave(times) + by, 1)
        return {"x": np.where(rng.random(len(times)) < missing, np.nan, x), "y": rng.normal(size=len(times))}

    return draw


def test_half_a_standard_deviation_is_found_within_350_rows() -> None:
    times, rate = training_times(10), 10.0
    known = learnt(dict(shifted(0.0)(np.random.default_rng(1), times)), times)
    found = []
    for seed in range(3):
        stream = Stream(known, shifted(0.0), rate=rate, every=60.0, seed=seed)
        for _ in range(70):
            assert not stream.look().drifted
        stream.draw = shifted(0.5)
        looks = 1
        while not drifted(stream.look(), "x") and looks < 100:
            looks += 1
        found.append(looks * rate)
    assert np.median(found) <= 350


def test_effects_just_below_the_minimum_never_raise_an_alarm() -> None:
    """0.95 of the minimum effects that are in force: for means 0.1 standard deviations, for missing values 0.008."""
    times = training_times(5)
    known = learnt(dict(shifted(0.0)(np.random.default_rng(1), times)), times)
    draw = shifted(0.95 * 0.1, missing=0.95 * 0.008)
    for rate in (5.0, 40.0):
        assert Stream(known, draw, rate=rate, every=3600.0).alarms(4) == []


def test_gross_faults_are_found_in_few_rows() -> None:
    times = training_times(2)
    known = learnt(daily(np.random.default_rng(1), times), times)

    def times_ten(rng: np.random.Generator, at: np.ndarray) -> dict[str, np.ndarray]:
        columns = daily(rng, at)
        return {**columns, "x": columns["x"] * 10, "c": np.where(rng.random(len(at)) < 0.3, "new", columns["c"])}

    stream = Stream(known, daily, rate=10.0, every=60.0)
    for _ in range(60):
        assert not stream.look().drifted
    stream.draw = times_ten
    for _ in range(15):
        report = stream.look()
    assert drifted(report, "x")
    assert drifted(report, "c")
