"""Windows: exact tallies, uniform samples, and a state that stays complete after a kill at any moment."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TypeVar

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from baselines import baseline
from torchserve_drift.features.encoding import MISTYPED_VALUE, UNSEEN_INDEX
from torchserve_drift.settings.settings import Window
from torchserve_drift.window import fields
from torchserve_drift.window.pacing import NO_PAUSE
from torchserve_drift.window.reservoir import smallest, still_needed
from torchserve_drift.window.segment import SegmentView
from torchserve_drift.window.store import Store
from torchserve_drift.window.tally import scale_of
from torchserve_drift.window.writer import SegmentWriter

T = TypeVar("T")

NUMBERED = baseline({"row": np.arange(30_000.0)})
"""A baseline in which row r of a stream 0, 1, 2, ... is recognised by its code, 2 r + 1."""


def rows_of(codes: np.ndarray) -> np.ndarray:
    return codes[0].astype(int) // 2


def numbered(first: int, count: int) -> np.ndarray:
    return np.arange(first, first + count, dtype=float)[:, None]


def run(store: Store, total: int, batch: int, every: int = 7) -> None:
    """Append a stream of numbered rows, one a second, in batches, and fold it from time to time."""
    for i, first in enumerate(range(0, total, batch)):
        part = numbered(first, min(batch, total - first))
        store.append(part, float(first + len(part) - 1))
        if i % every == 0:
            store.writer.fold()
    store.writer.fold()


WINDOWS = (Window("640s", seconds=640.0), Window("3200s", seconds=3200.0), Window("1500 rows", rows=1500))


@pytest.mark.parametrize("batch", [1, 13, 400])
def test_the_sample_of_every_window_is_uniform_however_the_stream_is_cut(batch: int) -> None:
    total, k, cells = 4000, 100, 10
    hits = [np.zeros(cells) for _ in WINDOWS]
    for seed in range(60 if batch > 1 else 20):
        store = Store(NUMBERED, WINDOWS, k, seed=seed)
        run(store, total, batch)
        for i, window in enumerate(store.windows(total - 1.0)):
            assert window.sample_rows == k
            sample = rows_of(window.codes)
            assert len(set(sample)) == k
            assert sample.min() >= total - window.rows  # the sample ends where the tallies end
            hits[i] += np.bincount((sample - (total - window.rows)) * cells // window.rows, minlength=cells)
    for found in hits:
        assert stats.chisquare(found).pvalue > 1e-4


@pytest.mark.parametrize("workers", [2, 4])
def test_the_sample_is_uniform_over_workers_of_unequal_traffic(workers: int, tmp_path: Path) -> None:
    k, total = 90, 3000
    found = np.zeros(total // 300)
    for seed in range(60):
        directory = tmp_path / str(seed)
        directory.mkdir()
        stores = [
            Store(NUMBERED, (Window("1h", seconds=3600.0),), k, directory=directory, seed=1000 * seed + i)
            for i in range(workers)
        ]
        choice = np.random.default_rng(seed).choice(workers, 300, p=[0.7, *[0.3 / (workers - 1)] * (workers - 1)])
        for first, worker in zip(range(0, total, 10), choice):
            stores[worker].append(numbered(first, 10), 1.0)
        for store in stores:
            store.writer.fold()
        merged = [store.windows(1.0)[0] for store in stores]
        assert [window.rows for window in merged] == [total] * workers
        assert (
            len({tuple(sorted(rows_of(window.codes))) for window in merged}) == 1
        )  # every worker sees the same sample
        found += np.bincount(rows_of(merged[0].codes) // 300, minlength=10)
        for store in stores:
            store.close()
    assert found.sum() == 60 * k
    assert stats.chisquare(found).pvalue > 1e-4


def test_fewer_rows_than_the_reservoir_are_all_in_the_sample(tmp_path: Path) -> None:
    stores = [Store(NUMBERED, WINDOWS, 2000, directory=tmp_path, seed=i) for i in range(3)]
    for i, store in enumerate(stores):
        store.append(numbered(400 * i, 400), 5.0)
        store.writer.fold()
    for window in stores[1].windows(6.0):
        assert sorted(rows_of(window.codes)) == list(range(1200))


@given(st.lists(st.integers(0, 2**32 - 1), max_size=300), st.integers(1, 40), st.integers(1, 300))
def test_pruning_never_drops_a_row_that_some_window_needs(drawn: list[int], k: int, newest: int) -> None:
    """A window's sample is its rows with the k smallest priorities."""
    priorities = np.array(drawn, dtype=np.uint32)
    sequence = np.arange(1, len(drawn) + 1)
    shuffled = np.random.default_rng(0).permutation(len(drawn))
    kept = np.zeros(len(drawn), dtype=bool)
    kept[shuffled] = still_needed(sequence[shuffled], priorities[shuffled], k)
    window = np.flatnonzero(sequence > len(drawn) - newest)
    wanted = np.sort(priorities[window])[:k]
    available = window[kept[window]]
    np.testing.assert_array_equal(np.sort(priorities[available[smallest(priorities[available], k)]]), wanted)


def test_the_pool_stays_near_its_theoretical_size() -> None:
    """Expected size k (1 + ln(N / k)) for N rows in the longest window."""
    k, n = 100, 20_000
    sizes = []
    for seed in range(5):
        priorities = np.random.default_rng(seed).integers(0, 2**32, n, dtype=np.uint32)
        sizes.append(still_needed(np.arange(1, n + 1), priorities, k).sum())
    expected = k * (1 + np.log(n / k))
    assert expected * 0.9 < np.mean(sizes) < expected * 1.3


MIXED = baseline(
    {"x": np.r_[np.random.default_rng(1).normal(5, 2, 500)], "c": list("aaabbc") * 80 + list("aaabbbcccaaaaabbcccc")}
)


def mixed_rows(rng: np.random.Generator, count: int) -> np.ndarray:
    x = rng.choice([1.0, 5.0, 5.5, 40.0, np.nan, np.inf, MISTYPED_VALUE], count)
    c = rng.choice([0.0, 1.0, 2.0, UNSEEN_INDEX, np.nan, MISTYPED_VALUE], count)
    return np.column_stack([x, c])


def assert_tally(store: Store, tally: np.ndarray, rows: np.ndarray) -> None:
    """A tally against the definition of each of its fields."""
    x, c = rows.T
    bits = x.copy().view(np.int64) == np.array([MISTYPED_VALUE]).view(np.int64)[0]
    finite = x[np.isfinite(x)]
    feature = MIXED.features[0]
    part = store.layout.part(tally, 0)
    assert tally[fields.ROWS] == len(rows)
    assert part[fields.VALID] == len(finite)
    assert part[fields.MISTYPED] == bits.sum()
    assert part[fields.MISSING] == np.isnan(x).sum() - bits.sum()
    assert part[fields.INFINITE] == np.isinf(x).sum()
    assert part[fields.OUTSIDE] == ((finite < feature.minimum) | (finite > feature.maximum)).sum()
    bins = np.histogram(finite, [-np.inf, *feature.edges, np.inf])[0]
    assert part[fields.BINS :].sum() == bins.sum() == len(finite)
    for j, edge in enumerate(feature.edges):
        assert part[fields.BINS :].cumsum()[j] == (finite <= edge).sum()
    if len(finite):
        shift, scale = scale_of(feature)
        mean, square = part[fields.SUM] / len(finite), part[fields.SUM_SQUARES] / len(finite)
        found = (shift + scale * mean, scale * np.sqrt(max(square - mean * mean, 0)))
        np.testing.assert_allclose(found, (finite.mean(), finite.std()))
    part = store.layout.part(tally, 1)
    counts = Counter(c[~np.isnan(c)].tolist())
    assert part[fields.UNSEEN] == counts[-1.0]
    assert part[fields.CATEGORIES :].tolist() == [counts[0.0], counts[1.0], counts[2.0]]
    assert part[fields.VALID] == sum(counts.values())


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 40), st.floats(0, 200)), min_size=1, max_size=40), st.integers(0, 5))
def test_tallies_are_exact_in_every_window(batches: list[tuple[int, float]], fold_every: int) -> None:
    windows = (Window("10m", seconds=600.0), Window("150 rows", rows=150), Window("1d", seconds=86400.0))
    store = Store(MIXED, windows, 100, seed=0)
    rng = np.random.default_rng(len(batches))
    now, stream = 1e9, []
    for i, (count, step) in enumerate(batches):
        now += step
        rows = mixed_rows(rng, count)
        store.append(rows, now)
        stream += [(now, row) for row in rows]
        if i % (fold_every + 1) == 0:
            store.writer.fold()
    store.writer.fold()
    everything = np.array([row for _, row in stream])
    assert_tally(store, store.totals(), everything)
    for window, spec in zip(store.windows(now), windows):
        assert_tally(store, window.tally, everything[len(everything) - window.rows :])
        if spec.seconds:
            ages = np.array([now - t for t, _ in stream])
            assert (
                (ages < spec.seconds * (1 - 1 / store.layout.panes)).sum()
                <= window.rows
                <= (ages <= spec.seconds).sum()
            )
        else:
            pane = -(-spec.rows // store.layout.panes)
            assert min(len(stream), spec.rows) <= window.rows < spec.rows + pane


def test_rows_leave_a_window_of_time_without_new_rows_arriving() -> None:
    store = Store(NUMBERED, (Window("10m", seconds=600.0),), 100, seed=0)
    store.append(numbered(0, 50), 1000.0)
    store.writer.fold()
    assert [store.windows(now)[0].rows for now in (1000.0, 1500.0, 1601.0)] == [50, 50, 0]


def test_a_clock_that_jumps_back_loses_nothing_and_keeps_windows_moving() -> None:
    store = Store(NUMBERED, (Window("10m", seconds=600.0),), 5000, seed=0)
    for i, now in enumerate([7200.0, 7300.0, 3700.0, 3800.0, 3900.0]):
        store.append(numbered(10 * i, 10), now)
        store.writer.fold()
    assert store.windows(3900.0)[0].rows == 50
    assert store.windows(3900.0 + 390.0)[0].rows == 40  # the first rows are ten minutes old
    assert store.windows(3900.0 + 700.0)[0].rows == 0
    assert store.totals()[fields.ROWS] == 50


class Killed(Exception):
    """Stands for SIGKILL: nothing after it runs, the memory stays."""


def killed(*_: object) -> None:
    raise Killed


def killed_after_a_feature(features: Iterable[T]) -> Iterator[T]:
    yield next(iter(features))
    raise Killed


def killed_after(method: str) -> Callable[..., None]:
    real = getattr(SegmentWriter, method)

    def call(self: SegmentWriter, *arguments: object) -> None:
        real(self, *arguments)
        raise Killed

    return call


@pytest.mark.parametrize(
    "where", ["before the commit", "after the commit", "after a pane closed", "between two features"]
)
def test_a_kill_at_any_moment_of_a_fold_loses_and_repeats_nothing(where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    windows = (Window("10m", seconds=600.0), Window("40 rows", rows=40))
    store = Store(MIXED, windows, 64, seed=0)
    memory = store.writer.arrays._buffer
    rows = mixed_rows(np.random.default_rng(0), 3000)
    kills = 0
    for i in range(0, 3000, 10):
        writer = store.writer = store._writer_of(memory)
        store.append(rows[i : i + 10], 10.0 * i)
        with monkeypatch.context() as patch:
            if i % 30:
                if where == "before the commit":
                    patch.setattr(SegmentWriter, "_commit", killed)
                elif where == "after the commit":
                    patch.setattr(SegmentWriter, "_commit", killed_after("_commit"))
                elif where == "after a pane closed":
                    patch.setattr(SegmentWriter, "_close_pane", killed_after("_close_pane"))
            try:
                writer.fold(killed_after_a_feature if where == "between two features" and i % 30 else NO_PAUSE)
            except Killed:
                kills += 1
    assert kills > 50
    final = store.writer = store._writer_of(memory)
    final.fold()
    assert_tally(store, final.totals, rows)
    for window in store.windows(10.0 * 2990):
        assert_tally(store, window.tally, rows[3000 - window.rows :])
        assert window.sample_rows == min(64, window.rows)
    live = final.arrays.pool_rows[final.arrays.pool_rows > 0]
    assert len(set(live)) == len(live)
    assert not final.arrays.ring.any()  # no production value stays in memory after a fold


def test_a_full_ring_is_folded_by_the_caller_and_large_batches_are_cut() -> None:
    store = Store(NUMBERED, (Window("1h", seconds=3600.0),), 100, seed=0)
    store.append(numbered(0, 10 * store.layout.ring_rows + 3), 1.0)
    store.writer.fold()
    assert store.totals()[fields.ROWS] == 10 * store.layout.ring_rows + 3


def test_a_ring_that_is_half_full_calls_for_a_fold() -> None:
    store = Store(NUMBERED, (Window("1h", seconds=3600.0),), 100, seed=0)
    calls: list[int] = []
    store.notify_when_filling(lambda: calls.append(store.writer.waiting))
    half = store.layout.ring_rows // 2
    store.append(numbered(0, half - 1), 1.0)
    assert calls == []
    store.append(numbered(half - 1, 1), 1.0)
    store.append(numbered(half, 1), 1.0)
    assert calls == [half, half + 1]
    store.writer.fold()
    store.append(numbered(0, 1), 1.0)
    assert len(calls) == 2


def test_memory_that_another_program_wrote_into_is_not_folded() -> None:
    store = Store(NUMBERED, (Window("1h", seconds=3600.0),), 100, seed=0)
    store.writer.arrays.appended[0] = -5
    message = "rows that wait in the ring must be from 0 to 256, got -5: another program wrote into the windows' memory"
    with pytest.raises(ValueError, match=f"^{message}$"):
        store.writer.fold()
    assert not store.writer.is_plausible()


def test_extreme_traffic_shrinks_the_sample_and_recovers() -> None:
    store = Store(NUMBERED, (Window("10s", seconds=10.0),), 100, seed=0)
    for _ in range(60):
        store.append(numbered(0, 5000), 1.0)
    store.writer.fold()
    window = store.windows(1.0)[0]
    assert window.rows == 300_000
    assert 64 <= window.sample_rows <= 100
    for i in range(200):
        store.append(numbered(0, 100), 20.0 + i)
    store.writer.fold()
    assert store.windows(219.0)[0].sample_rows == 100


def test_memory_is_fixed_at_start_and_within_its_bound() -> None:
    rng = np.random.default_rng(0)
    for features in (5, 20, 100):
        profile = baseline({f"x{i}": rng.normal(size=50) for i in range(features)})
        windows = (Window("10m", seconds=600.0), Window("1h", seconds=3600.0), Window("24h", seconds=86400.0))
        store = Store(profile, windows, 4096, seed=0)
        assert store.size_bytes <= 15 * 4096 * features * 4
        assert isinstance(store.writer, SegmentView)
