"""The sequential check: against its definition, and changes within a window that checks of the whole window miss."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import stats as scipy_stats

from baselines import baseline
from torchserve_drift import Monitor
from torchserve_drift.checks.changepoint_categorical import KNOWN_PART
from torchserve_drift.checks.changepoint_numeric import LOCATION_PART, SCALE_PART
from torchserve_drift.checks.span_weights import FEWEST_ROWS, span_weights
from torchserve_drift.verdicts.report import CheckResult
from torchserve_drift.window.merge import SPAN_PANES


class Clock:
    """One row is 10 ms: 100 rows a second."""

    def __init__(self) -> None:
        self.now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


OPEN = {"mean_shift": 0, "std_shift": 0, "frequency_shift": 0, "new_category_ratio": 0}


def monitor_of(known: dict[str, Any], **more: Any) -> tuple[Monitor, Clock]:
    clock = Clock()
    settings = {"windows": ["64s"], "evaluate_every": "2s", "min_rows": 50, **more}
    return Monitor(baseline(known), settings, clock=clock, seed=0), clock


def feed(monitor: Monitor, clock: Clock, columns: dict[str, Any], every: int = 200) -> None:
    """Rows in batches of ``every``, which take 2 seconds each: a pane of the window."""
    count = len(next(iter(columns.values())))
    for begin in range(0, count, every):
        monitor.observe({name: values[begin : begin + every] for name, values in columns.items()})
        clock.now += 2.0
    clock.now -= 1.0  # within the last pane that has rows


def cusum(monitor: Monitor, name: str = "x") -> CheckResult:
    return monitor.evaluate().feature(name).windows["64s"].checks["cusum"]


def test_it_is_the_smallest_p_value_of_all_spans_by_the_definition() -> None:
    rng = np.random.default_rng(0)
    known = rng.normal(size=20_000)
    monitor, clock = monitor_of({"x": known}, features={"x": OPEN})
    rows = np.concatenate([rng.normal(size=5200), rng.normal(0.4, 1, 600)])
    feed(monitor, clock, {"x": rows})
    feature = monitor.baseline.features[0]
    counts = np.diff(feature.edge_counts, prepend=0, append=feature.count)
    shares = counts / counts.sum()
    ends = np.concatenate([[0], np.cumsum(shares)]).clip(0, 1)
    norm = scipy_stats.norm
    with np.errstate(invalid="ignore", divide="ignore"):
        z = np.diff(-norm.pdf(norm.ppf(ends))) / shares
    z[-1] = z[-2]  # no row of the baseline lies above its maximum
    scores = z[np.searchsorted(feature.edges, rows)]
    base = z[np.searchsorted(feature.edges, known)]
    lengths = [min(panes * 200, len(rows)) for panes in SPAN_PANES]
    weights = np.sqrt(lengths) / np.sqrt(list(dict.fromkeys(lengths))).sum()
    adjusted = []
    for length, weight in zip(lengths, weights):
        m, n, span = length, len(known), scores[-length:]
        pooled = np.concatenate([span, base]).var()
        difference = abs(span.mean() - base.mean()) - np.diff(np.unique(z)).max() / 2 / m
        adjusted.append(2 * norm.sf(difference / np.sqrt(pooled * (1 / m + 1 / n))) / (weight * LOCATION_PART))
    found = cusum(monitor)
    best = int(np.argmin(adjusted))
    assert lengths[best] == 600
    assert np.log(found.p_value) == pytest.approx(np.log(adjusted[best]), rel=0.02)  # the gamma tail is a little larger
    assert found.statistic == pytest.approx((rows[-600:].mean() - known.mean()) / known.std(ddof=1), rel=1e-6)


def test_of_categories_it_is_the_clearest_of_all_spans_by_the_definition() -> None:
    """Several features, some with too few rows: their tails are computed together."""
    rng = np.random.default_rng(7)
    sizes = {"some": 5, "few": 2, "rare": 40, "more": 12}
    known = {name: rng.integers(0, size, 20_000).astype(str) for name, size in sizes.items()}
    monitor, clock = monitor_of(known, features=dict.fromkeys(known, OPEN))
    rows = {name: rng.integers(0, size, 5800).astype(str).astype(object) for name, size in sizes.items()}
    rows["some"][-600:] = rng.choice(5, 600, p=[0.28, *[0.18] * 4]).astype(str)
    rows["rare"][:] = None
    rows["rare"][-FEWEST_ROWS + 1 :] = "0"
    feed(monitor, clock, rows)
    report = monitor.evaluate()
    assert "cusum" not in report.feature("rare").windows["64s"].checks
    for feature in monitor.baseline.features:
        if feature.name == "rare":
            continue
        lengths = [min(panes * 200, 5800) for panes in SPAN_PANES]
        weights = np.sqrt(lengths) / np.sqrt(list(dict.fromkeys(lengths))).sum() * KNOWN_PART
        adjusted, changes = [], []
        for length, weight in zip(lengths, weights):
            counts = np.array([(rows[feature.name][-length:] == category).sum() for category in feature.categories])
            both = counts + feature.counts
            dealt = scipy_stats.hypergeom(20_000 + length, both, length)
            p_values = 2 * np.minimum(dealt.sf(counts - 1), dealt.cdf(counts)) * len(counts)
            adjusted.append(p_values.min() / weight)
            changes.append((counts / length - feature.counts / 20_000)[p_values.argmin()])
        found = report.feature(feature.name).windows["64s"].checks["cusum"]
        best = int(np.argmin(adjusted))
        assert found.p_value >= min(1, min(adjusted) * (1 - 1e-9)), feature.name
        if feature.name == "some":
            assert (lengths[best], adjusted[best] < 1e-3) == (600, True)
            assert found.p_value == pytest.approx(adjusted[best], rel=0.5)  # bounds of the tails, near where small
            assert found.statistic == pytest.approx(changes[best])


def test_every_worker_and_every_row_counts_whatever_the_window_has_forgotten() -> None:
    """A change of 200 rows is drowned in a window of 6,400, but not in its newest span."""
    rng = np.random.default_rng(1)
    monitor, clock = monitor_of({"x": rng.normal(size=30_000)}, alarms={"min_effect": {"ks": 0}}, features={"x": OPEN})
    feed(monitor, clock, {"x": np.concatenate([rng.normal(size=6000), rng.normal(0.6, 1, 200)])})
    checks = monitor.evaluate().feature("x").windows["64s"].checks
    assert checks["cusum"].failed
    assert not checks["ks"].failed
    assert not checks["mean"].failed


@pytest.mark.parametrize(
    ("kind", "fresh", "limit"),
    [
        ("spread", lambda rng: {"x": rng.normal(0, 1.4, 1000), "c": rng.choice(5, 1000).astype(str)}, 0.1),
        ("shift", lambda rng: {"x": rng.normal(0.4, 1, 1000), "c": rng.choice(5, 1000).astype(str)}, 0.25),
        (
            "share",
            lambda rng: {"x": rng.normal(size=1000), "c": rng.choice(5, 1000, p=[0.35, 0.2, 0.15, 0.15, 0.15])},
            0.05,
        ),
        ("unseen", lambda rng: {"x": rng.normal(size=1000), "c": rng.choice(6, 1000, p=[*[0.196] * 5, 0.02])}, 0.0),
    ],
)
def test_each_part_has_the_minimum_effect_of_the_check_that_it_is_like(kind: str, fresh: Any, limit: float) -> None:
    rng = np.random.default_rng(2)
    known = {"x": rng.normal(size=30_000), "c": rng.choice(5, 30_000).astype(str)}
    monitor, clock = monitor_of(known)
    feed(monitor, clock, {name: np.asarray(values) for name, values in fresh(rng).items()})
    found = cusum(monitor, "c" if kind in ("share", "unseen") else "x")
    assert found.failed, kind
    assert found.min_effect == pytest.approx(limit, abs=0.01)
    assert found.effect > found.min_effect


def test_a_significant_part_too_small_to_matter_does_not_hide_one_that_does() -> None:
    rng = np.random.default_rng(3)
    known = {"x": rng.normal(size=30_000)}
    monitor, clock = monitor_of(known, features={"x": {"mean_shift": 5, "std_shift": 0.1}})
    feed(monitor, clock, {"x": rng.normal(1.5, 1.3, 2000)})
    found = cusum(monitor)
    assert (found.failed, found.min_effect) == (True, 0.1)


def test_a_span_of_too_few_rows_hides_no_other() -> None:
    """Thirty rows far away are no evidence, however large their difference."""
    rng = np.random.default_rng(6)
    known = {"x": rng.normal(size=30_000), "y": rng.normal(size=30_000)}
    monitor, clock = monitor_of(known, features={"x": {"mean_shift": 1, "std_shift": 5}})
    x = np.concatenate([rng.normal(0.2, 1, 2000), np.full(30, 3.0), np.full(170, np.nan)])
    feed(monitor, clock, {"x": x, "y": rng.normal(size=2200)})
    found = cusum(monitor)
    assert found.p_value < 1e-9
    assert found.effect < found.min_effect
    assert not found.failed


def test_spans_weigh_by_the_root_of_their_rows_and_only_where_they_are_longer() -> None:
    rows = np.array([[10.0, 100.0], [60.0, 100.0], [240.0, 400.0]])
    weights = span_weights(rows)
    assert weights.sum(axis=0) == pytest.approx(1.0)
    assert weights[0, 0] == 0  # fewer than the fewest
    assert weights[1, 1] == 0  # the same rows as the span within it
    assert weights[2, 0] / weights[1, 0] == pytest.approx(2.0)
    assert not span_weights(np.array([[FEWEST_ROWS - 1.0]])).any()


def test_p_values_are_valid_at_every_level_that_simulation_reaches() -> None:
    """P(p <= a) <= a, baseline and rows drawn anew: numbers with ties and tails, and categories."""
    rng = np.random.default_rng(4)
    found = []
    for _ in range(400):
        known = {
            "n": rng.normal(size=3000),
            "t": rng.standard_t(1.5, 3000),
            "i": rng.poisson(1.0, 3000).astype(float),
            "c": rng.zipf(1.8, 3000).clip(max=300).astype(str),
        }
        monitor, clock = monitor_of(known, features=dict.fromkeys(known, OPEN))
        fresh = {
            "n": rng.normal(size=1500),
            "t": rng.standard_t(1.5, 1500),
            "i": rng.poisson(1.0, 1500).astype(float),
            "c": rng.zipf(1.8, 1500).clip(max=300).astype(str),
        }
        feed(monitor, clock, fresh)
        report = monitor.evaluate()
        found += [report.feature(name).windows["64s"].checks["cusum"].p_value for name in known]
    p_values = np.array(found)
    for level in (0.2, 0.05, 0.01, 0.002):
        hits = int((p_values <= level).sum())
        assert hits <= scipy_stats.binom.ppf(0.9999, len(p_values), level), level
    assert (p_values <= 0.2).sum() > 20  # nor is it asleep
    assert LOCATION_PART + SCALE_PART == 1
