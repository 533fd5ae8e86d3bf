"""Pacing: breaks come after enough work, and a fold takes them between all of its features."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

import numpy as np
import pytest

from baselines import baseline
from torchserve_drift.settings.settings import Window
from torchserve_drift.window import pacing
from torchserve_drift.window.pacing import NO_PAUSE, Pacer
from torchserve_drift.window.store import Store

T = TypeVar("T")


class Clock:
    """A clock that a test moves, and that a break moves by its length."""

    def __init__(self) -> None:
        self.now = 0.0
        self.breaks: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.breaks.append(self.now)
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(time, "perf_counter", lambda: clock.now)
    monkeypatch.setattr(time, "sleep", clock.sleep)
    return clock


def test_a_break_follows_each_piece_of_work_that_is_long_enough(clock: Clock) -> None:
    paced = Pacer()
    for _ in range(2):  # the work of several loops is counted together
        for _ in paced(range(5)):
            clock.now += pacing._WORK_SECONDS * 0.4
    assert len(clock.breaks) == 3
    assert np.diff(clock.breaks) == pytest.approx(3 * 0.4 * pacing._WORK_SECONDS + pacing._BREAK_SECONDS)


def test_short_work_takes_no_break(clock: Clock) -> None:
    assert list(Pacer()(range(1000))) == list(range(1000))
    assert clock.breaks == []


def test_without_breaks_items_are_the_same(clock: Clock) -> None:
    assert list(NO_PAUSE("abc")) == list("abc")
    assert clock.breaks == []


def test_a_fold_may_take_a_break_after_each_feature_of_each_pane() -> None:
    store = Store(baseline({f"x{i}": np.arange(50.0) for i in range(7)}), (Window("1h", seconds=3600.0),), 100, seed=0)
    items: list[object] = []

    def paced(features: Iterable[T]) -> Iterator[T]:
        for feature in features:
            yield feature
            items.append(feature)

    for now in (0.0, 1000.0, 2000.0):
        store.append(np.zeros((10, 7)), now)
    store.writer.fold(paced)
    assert len(items) == 3 * (7 + 7)  # in each pane, the tally and the codes of each feature
