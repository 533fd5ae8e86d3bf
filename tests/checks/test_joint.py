"""The joint check: it finds changed associations of two features, and no change of one feature by itself."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import combinations
from typing import Any

import numpy as np
import pytest
from scipy import stats

from baselines import baseline, categorical, numeric
from torchserve_drift.baseline.baseline import Baseline
from torchserve_drift.baseline.profile import MISSING_CODE, NumericBaseline
from torchserve_drift.checks.evidence import Evidence
from torchserve_drift.checks.joint import PairwiseAssociations
from torchserve_drift.window.coding import codes_for

Columns = Mapping[str, np.ndarray]


def encoded(profile: Baseline, window: Columns) -> np.ndarray:
    codes = []
    for feature, code in zip(profile.features, codes_for(profile)):
        values = window[feature.name]
        if not isinstance(feature, NumericBaseline):
            index = {category: i for i, category in enumerate(feature.categories)}
            values = np.array([index.get(str(value), -1) for value in values])
        codes.append(code.encode(np.asarray(values, dtype=float)))
    return np.array(codes)


def evidence_of(before: Columns, after: Columns, design_effect: float = 1.0) -> Evidence:
    profile = baseline(before)
    found = PairwiseAssociations(profile, codes_for(profile)).compared(encoded(profile, after), design_effect)
    assert found is not None
    return found


def numbers(rng: np.random.Generator, rows: int, features: int = 20, rho: float = 0.0) -> dict[str, np.ndarray]:
    """Normal features, all correlated with all by ``rho``."""
    shared = np.sqrt(rho) * rng.normal(size=rows)
    return {f"x{i}": shared + np.sqrt(1 - rho) * rng.normal(size=rows) for i in range(features)}


@pytest.mark.parametrize(("rho", "rows"), [(0.3, 1200), (-0.5, 400), (0.9, 120)])
def test_one_new_correlation_in_190_pairs(rho: float, rows: int) -> None:
    rng = np.random.default_rng(1)
    after = numbers(rng, rows)
    after["x7"] = rho * after["x3"] + np.sqrt(1 - rho**2) * after["x7"]
    found = evidence_of(numbers(rng, 5000), after)
    assert found.pair == ("x3", "x7")
    assert found.p_value < 1e-7
    assert found.statistic == pytest.approx(6 / np.pi * np.arcsin(rho / 2), abs=0.1)
    assert found.effect == abs(found.statistic)


def test_a_correlation_lost() -> None:
    rng = np.random.default_rng(1)
    before, after = numbers(rng, 2000, 3), numbers(rng, 300, 3)
    before["x2"] = before["x0"]
    unchanged = {**after, "x2": after["x0"]}
    assert evidence_of(before, unchanged).p_value > 1e-3
    found = evidence_of(before, after)
    assert found.pair == ("x0", "x2")
    assert found.statistic == pytest.approx(-1, abs=0.15)
    assert found.p_value < 1e-50


@pytest.mark.parametrize("shape", ["curve", "spread of one", "spread of both"])
def test_dependence_that_is_no_correlation(shape: str) -> None:
    rng = np.random.default_rng(2)

    def rows(count: int) -> dict[str, np.ndarray]:
        x = numbers(rng, count, 5)
        size = np.exp(0.8 * x["x4"])
        if shape == "curve":
            x["x1"] = x["x0"] ** 2 + x["x1"]
        elif shape == "spread of one":
            x["x1"] *= np.exp(0.8 * x["x0"])
        else:
            x["x0"], x["x1"] = x["x0"] * size, x["x1"] * size
        return {name: x[name] for name in ("x0", "x1", "x2")}

    before, after = rows(5000), rows(2000)
    assert evidence_of(before, after).p_value > 1e-3
    before["x1"] = rng.permutation(before["x1"])
    found = evidence_of(before, after)
    assert found.pair == ("x0", "x1")
    assert found.p_value < 1e-7
    assert abs(stats.spearmanr(after["x0"], after["x1"])[0]) < 0.1


def test_categories_that_go_together_otherwise() -> None:
    rng = np.random.default_rng(3)

    def rows(count: int, together: float) -> Columns:
        country = rng.choice(["de", "fr", "it", "es"], count, p=[0.4, 0.3, 0.2, 0.1])
        same = rng.random(count) < together
        currency = np.where(same, country, rng.permutation(country))
        return {"country": country, "currency": currency, "age": rng.normal(size=count)}

    assert evidence_of(rows(3000, 0.5), rows(1000, 0.5)).p_value > 1e-3
    found = evidence_of(rows(3000, 0.5), rows(1000, 0.2))
    assert found.pair == ("country", "currency")
    assert found.statistic == pytest.approx(-0.3, abs=0.1)
    assert found.p_value < 1e-7


MARGINAL = {
    "nothing": lambda x, rng: x,
    "a shift": lambda x, rng: x + 1,
    "a spread": lambda x, rng: x * 2,
    "a bend": lambda x, rng: np.exp(x),
    "missing": lambda x, rng: np.where(rng.random(len(x)) < 0.2, np.nan, x),
    "constant": lambda x, rng: np.zeros(len(x)),
    "a limit": lambda x, rng: np.minimum(x, 0),
    "a low limit": lambda x, rng: np.minimum(x, -2),
    "beyond the range": lambda x, rng: x + 9,
}


@pytest.mark.parametrize("rho", [0, 0.5, 0.9])
@pytest.mark.parametrize("drift", MARGINAL)
def test_drift_of_one_feature_is_none_of_the_joint_distribution(drift: str, rho: float) -> None:
    rng = np.random.default_rng(4)
    before, after = numbers(rng, 5000, 6, rho), numbers(rng, 4096, 6, rho)
    after["x2"] = MARGINAL[drift](after["x2"], rng)
    found = evidence_of(before, after)
    assert found.p_value > 1e-3
    assert found.effect < 0.1


@pytest.mark.parametrize("share", [0.3, 0.1])
@pytest.mark.parametrize("rho", [0, 0.5, 0.9])
@pytest.mark.parametrize("kind", ["numbers", "categories"])
def test_the_share_of_a_category_is_none_of_the_joint_distribution(kind: str, rho: float, share: float) -> None:
    rng = np.random.default_rng(4)
    before, after = numbers(rng, 5000, 6, rho), numbers(rng, 4096, 6, rho)
    names = np.array(["no", "yes"]) if kind == "categories" else np.array([0, 1])
    before["x2"] = names[(before["x2"] > 0).astype(int)]
    after["x2"] = names[(after["x2"] > stats.norm.isf(share)).astype(int)]
    assert evidence_of(before, after).p_value > 1e-3


def test_without_drift_alarms_are_no_more_than_said() -> None:
    rng = np.random.default_rng(5)

    def rows(count: int) -> dict[str, np.ndarray]:
        x = numbers(rng, count, 8, 0.6)
        x["x1"] = np.round(x["x1"])
        x["x2"] = np.maximum(x["x2"], 0)
        x["x3"][x["x4"] > 1] = np.nan
        x["x5"] = np.array(["a", "b", "c", "d"])[np.digitize(x["x5"], [0, 1, 2])]
        x["x6"] = np.array(["y", "z"])[(x["x6"] > 1.5).astype(int)]
        return x

    found = []
    for _ in range(30):
        profile = baseline(rows(1000))
        check = PairwiseAssociations(profile, codes_for(profile))
        for m in (150, 150, 150, 600, 600):
            found.append(check.compared(encoded(profile, rows(m))))
    p = np.array([each.p_value for each in found if each is not None])
    assert len(p) == 150
    assert stats.binom.sf((p < 0.1).sum() - 1, 150, 0.1) > 0.01
    assert p.min() > 1e-4


def least(changes: np.ndarray) -> float:
    return float(min(changes, key=abs)) if (changes > 0).all() or (changes < 0).all() else 0.0


def definition(before: Columns, after: Columns) -> tuple[float, float, tuple[str, str]]:
    """The evidence on numeric features, pair by pair and row by row."""
    n, m = (len(next(iter(columns.values()))) for columns in (before, after))
    scores, own = {}, {}
    for name in before:
        below, at = (
            [stats.percentileofscore(before[name], v, kind) for v in after[name]] for kind in ("strict", "weak")
        )
        window = (np.array(below) + np.array(at)) / 200 - 0.5
        sample = (stats.rankdata(before[name]) - 0.5) / n - 0.5
        # of what lies between two values of the baseline's sample, no more is known
        coded = np.array(below) + np.array(at)
        mine = (stats.rankdata(coded.round(9)) - 0.5) / m - 0.5
        scores[name, False], own[name, False] = (sample, window), (sample, mine)
        scores[name, True], own[name, True] = (abs(sample), abs(window)), (abs(sample), abs(mine))
    results = []
    for one, other in combinations(scores, 2):
        if one[0] == other[0]:
            continue
        influences, r, z = [], [], []
        for pair in zip(scores[one], scores[other]):
            x, y = stats.zscore(pair[0]), stats.zscore(pair[1])
            r.append((x * y).mean())
            z.append(np.arctanh(r[-1] / 1.01))
            influences.append((x * y - r[-1] * (x**2 + y**2) / 2) / 1.01 / (1 - (r[-1] / 1.01) ** 2))
        r_own = stats.pearsonr(own[one][1], own[other][1])[0]
        spreads = [np.std(own[each][i]) for each in (one, other) for i in (0, 1)]
        slope = np.clip(r_own * spreads[0] / spreads[1] * spreads[2] / spreads[3], -1, 1)
        measures = np.array([r[1], r_own, slope])
        changes = [least(measures - r[0]), least(np.arctanh(measures / 1.01) - z[0])]
        values = np.concatenate([influences[0], influences[1] + changes[1]])
        sd = values.std() * np.sqrt(1 / n + 1 / m)
        skew = stats.moment(values, 3) * (1 / m**2 - 1 / n**2) / sd**3 * np.sign(changes[1])
        t = abs(changes[1]) / sd
        tail = max(stats.norm.sf(t), stats.pearson3.sf(t, skew) if skew > 1e-3 else 0)
        results.append((2 * tail, changes[0], (one[0], other[0])))
    p_value, change, pair = min(results)
    return min(p_value * len(results), 1), change, pair


@pytest.mark.parametrize("seed", range(6))
def test_evidence_is_that_of_the_definition(seed: int) -> None:
    rng = np.random.default_rng(seed)
    before, after = numbers(rng, 300, 4, 0.5), numbers(rng, 150, 4, 0.3)
    for columns in (before, after):
        columns["x1"] = np.round(columns["x1"])
        columns["x2"] = np.exp(columns["x2"])
    after["x3"] += 0.5
    after["x0"] += 0.3 * after["x2"]
    found = evidence_of(before, after)
    p_value, statistic, pair = definition(before, after)
    assert found.p_value == pytest.approx(p_value, rel=1e-6, abs=0)
    if p_value < 1:
        assert found.statistic == pytest.approx(statistic, abs=1e-9)
        assert sorted(found.pair) == sorted(pair)


def test_rows_that_say_the_same_count_once() -> None:
    rng = np.random.default_rng(6)
    before, after = numbers(rng, 3000, 5), numbers(rng, 400, 5)
    after["x1"] += 0.3 * after["x0"]
    once = evidence_of(before, after)
    fourfold = evidence_of(before, {name: np.repeat(values, 4) for name, values in after.items()}, design_effect=4)
    assert fourfold.p_value == pytest.approx(once.p_value, rel=1e-6, abs=0)
    assert fourfold.statistic == pytest.approx(once.statistic)
    profile = baseline(before)
    check = PairwiseAssociations(profile, codes_for(profile))
    assert check.compared(encoded(profile, after), design_effect=4.1) is None


def test_nothing_is_said_about_too_little() -> None:
    rng = np.random.default_rng(7)
    letters = rng.choice(list("abcdefghij"), 1000)
    for columns, rows in (
        (numbers(rng, 1000, 1), 1000),
        ({"letter": letters}, 1000),
        ({"letter": letters, "constant": np.ones(1000), "none": np.full(1000, np.nan)}, 1000),
        ({"rare": (np.arange(1000) < 5).astype(float), **numbers(rng, 1000, 1)}, 1000),
        ({name: (rng.permutation(1000) < 25).astype(float) for name in ("rare", "rarer")}, 1000),
        (numbers(rng, 1000, 3), 99),
        (numbers(rng, 99, 3), 99),
    ):
        profile = baseline(columns)
        window = encoded(profile, {name: values[:rows] for name, values in columns.items()})
        assert PairwiseAssociations(profile, codes_for(profile)).compared(window) is None


def test_windows_without_values_say_nothing_of_dependence() -> None:
    rng = np.random.default_rng(8)
    before = {**numbers(rng, 2000, 3, 0.8), "letter": rng.choice(["a", "b", "c"], 2000)}
    profile = baseline(before)
    check = PairwiseAssociations(profile, codes_for(profile))
    window = encoded(profile, {name: values[:500] for name, values in before.items()})
    for code in (MISSING_CODE, 0, 3):
        window[[0, 3]] = code
        found = check.compared(window)
        assert found is not None
        assert found.p_value == 1
    window[:] = MISSING_CODE
    assert check.compared(window) == Evidence(1.0, 0.0, 0.0, 0.0, pair=("x0", "x1"))


def test_features_beyond_the_limit_are_the_least_important() -> None:
    rng = np.random.default_rng(9)
    features = tuple(numeric(f"x{i}", rng.normal(size=300), importance=i / 1000) for i in range(140))
    profile = Baseline(features, 300, "2026-01-01T00:00:00+00:00", 0)
    after = {f"x{i}": rng.normal(size=300) for i in range(140)}
    after["x138"], after["x0"] = after["x139"], after["x1"]
    found = PairwiseAssociations(profile, codes_for(profile)).compared(encoded(profile, after))
    assert found is not None
    assert found.pair == ("x138", "x139")
    after["x138"] = rng.normal(size=300)
    found = PairwiseAssociations(profile, codes_for(profile)).compared(encoded(profile, after))
    assert found is not None
    assert found.p_value > 1e-3


def test_missing_values_are_in_the_middle() -> None:
    rng = np.random.default_rng(13)
    before, after = numbers(rng, 5000, 3), numbers(rng, 2000, 3)
    after["x1"] = 0.6 * after["x0"] + 0.8 * after["x1"]
    for columns in (before, after):
        columns["x1"][rng.random(len(columns["x1"])) < 0.3] = np.nan
    found = evidence_of(before, after)
    assert found.pair == ("x0", "x1")
    assert found.statistic == pytest.approx(np.sqrt(0.7) * 6 / np.pi * np.arcsin(0.3), abs=0.06)


def test_as_many_categories_as_can_be() -> None:
    rng = np.random.default_rng(10)
    values = np.concatenate([np.arange(60_000), np.repeat(60_000, 30_000)])
    feature = replace(
        categorical("id", values.astype(str), 0.5), sample=np.resize([0, 0, 1, 2, 3], 500).astype(np.uint16)
    )
    profile = Baseline((feature, numeric("x", rng.normal(size=500), 0.5)), 500, "2026-01-01T00:00:00+00:00", 0)
    codes = np.array([feature.sample, codes_for(profile)[1].encode(profile.features[1].sample)])
    found = PairwiseAssociations(profile, codes_for(profile)).compared(codes)
    assert found is not None
    assert found.p_value == 1


def test_requests_get_their_turn() -> None:
    rng = np.random.default_rng(11)
    profile = baseline(numbers(rng, 3000, 5))
    check, window = PairwiseAssociations(profile, codes_for(profile)), encoded(profile, numbers(rng, 4096, 5))
    breaks: list[int] = []

    def paced(items: Iterable[Any]) -> Iterator[Any]:
        for item in items:
            yield item
            breaks.append(1)

    check.compared(window, paced=paced)
    first = len(breaks)
    check.compared(window, paced=paced)
    assert len(breaks) - first == 10 + 2 * 4  # the columns, and the blocks of two passes
