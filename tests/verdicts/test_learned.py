"""Learned minimum effects: no alarm for the seasons of the training data, an alarm for other changes (US flights)."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from baselines import baseline
from flight_seasons.__main__ import DATA
from flight_seasons.seasons import KNOWN_YEAR, OTHER_YEAR, Drifted, drifted, halves, known, load
from torchserve_drift import Baseline
from torchserve_drift.monitoring.monitor import Monitor
from torchserve_drift.settings.settings import Alarms
from torchserve_drift.verdicts.min_effects import joint_min_effect

FLIGHTS = load(DATA)
TRAINING, OTHERS = halves(FLIGHTS)
LEARNED = Alarms(min_effect_learned=True)


@pytest.fixture(scope="module")
def of_half() -> Baseline:
    return known(TRAINING)


@pytest.fixture(scope="module")
def found(of_half: Baseline) -> list[Drifted]:
    return drifted(of_half, OTHERS)


def test_the_weather_of_a_month_drifts_by_default_and_not_under_learned_minimum_effects(found: list[Drifted]) -> None:
    months = [one for one in found if one.year == KNOWN_YEAR and one.month]
    assert len(months) == 12
    for one in months:
        assert {"temp", "dewp", "_joint"} <= {*one.default}
        assert not {"carrier", "origin", "dest", "distance", "dow", "hour"} & {*one.default}
        assert one.learned == ()


def test_the_carriers_of_a_decade_later_drift_under_both(found: list[Drifted]) -> None:
    later = [one for one in found if one.year == OTHER_YEAR]
    assert len(later) == 13
    assert all("carrier" in one.default and "carrier" in one.learned for one in later)
    assert later[-1].learned == ("carrier",)


def test_the_year_as_a_whole_is_as_it_was(found: list[Drifted]) -> None:
    (whole,) = (one for one in found if one.year == KNOWN_YEAR and not one.month)
    assert whole.default == whole.learned == ()


def test_the_document_has_the_table_of_the_script(found: list[Drifted]) -> None:
    document = (Path(__file__).parents[2] / "docs" / "seasons.md").read_text()
    lines = [line for line in document.splitlines() if line.startswith("|")][2:]
    cells = [[cell.strip() for cell in line.strip("|").split("|")][1:] for line in lines]
    expected = [[", ".join(names) or "-" for names in (one.default, one.learned)] for one in found]
    assert cells == expected, "scripts/seasons prints what docs/seasons.md is to show"


@pytest.mark.slow
@pytest.mark.parametrize("seed", [2, 5, 17])
def test_other_halves_of_the_year_are_no_news_either(seed: int) -> None:
    """Halves of which, with limits at 1.25 times the tolerance alone, months drifted by chance."""
    of_year = [flight for flight in FLIGHTS if int(flight["year"]) == KNOWN_YEAR]
    rng = random.Random(seed)
    chosen = {row for month in range(12) for row in rng.sample(range(500 * month, 500 * month + 500), 250)}
    parts = [[flight for row, flight in enumerate(of_year) if (row in chosen) is first] for first in (True, False)]
    months = drifted(known(parts[0]), parts[1])
    assert [one.learned for one in months] == [()] * 13


def test_the_minimum_effect_of_joint_is_above_the_largest_effect_in_a_span(of_half: Baseline) -> None:
    assert of_half.joint_tolerance == of_half.joint_variation.max() > 0.5
    assert joint_min_effect(of_half, Alarms()) == 0.1
    # 250 rows of the sample in each of 12 spans
    assert joint_min_effect(of_half, LEARNED) == pytest.approx(1.25 * of_half.joint_tolerance + 2 / 250**0.5)
    calm = replace(of_half, joint_variation=np.zeros(12))
    assert joint_min_effect(calm, LEARNED) == pytest.approx(2 / 250**0.5)
    assert joint_min_effect(calm, replace(LEARNED, min_effects={"joint": 0.3})) == 0.3


def test_a_learned_minimum_effect_lets_a_larger_change_of_correlation_through() -> None:
    rng = np.random.default_rng(3)

    def rows(count: int, rho: float) -> dict[str, np.ndarray]:
        x = rng.normal(size=count)
        return {"x": x, "y": rho * x + np.sqrt(1 - rho**2) * rng.normal(size=count)}

    plain = baseline(rows(20_000, 0.0))
    features = tuple(replace(feature, variation={"ks": np.zeros(2)}) for feature in plain.features)
    timed = replace(plain, features=features, joint_variation=np.array([0.1, 0.3]))
    for rho, learned, expected in ((0.35, False, True), (0.35, True, False), (0.6, True, True)):
        monitor = Monitor(timed, {"windows": ["1h"], "alarms": {"min_effect": {"learned": learned}}}, seed=0)
        monitor.observe(rows(2_000, rho))
        window = monitor.evaluate().feature("_joint").windows["1h"]
        assert window.drifted is expected
        assert window.checks["joint"].min_effect == pytest.approx(0.375 + 0.02 if learned else 0.1)
