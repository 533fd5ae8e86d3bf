"""A worker's counters: their names, and arrays of several workers that add up."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from torchserve_drift.features import tabular
from torchserve_drift.window.counters import LENGTH, OBSERVE_BOUNDS, REASONS, STAGES, Counters, describe


def test_each_counter_is_its_own() -> None:
    values = np.zeros(LENGTH)
    counters = Counters(values)
    for rows, reason in enumerate(REASONS, 1):
        counters.count_rejected(reason, rows)
    for times, stage in enumerate(STAGES, 1):
        for _ in range(times):
            counters.count_error(stage)
    counters.count_unknown(100)
    counters.count_batch(1e-6)
    found = describe(values)
    assert found["rows_rejected"] == {reason: i for i, reason in enumerate(REASONS, 1)}
    assert found["errors"] == {stage: i for i, stage in enumerate(STAGES, 1)}
    assert found["unknown"] == 100
    assert found["observe_seconds"] == {
        "le": list(OBSERVE_BOUNDS),
        "counts": [1] * (len(OBSERVE_BOUNDS) + 1),
        "sum": 1e-6,
    }


def test_a_decoder_s_reasons_can_be_counted() -> None:
    assert set(tabular.REASONS) <= set(REASONS)
    with pytest.raises(ValueError, match="not in tuple"):
        Counters(np.zeros(LENGTH)).count_error("elsewhere")


SECONDS = st.lists(st.floats(0, 1) | st.sampled_from(OBSERVE_BOUNDS), max_size=30)


@given(SECONDS, SECONDS)
def test_the_histogram_counts_up_to_and_with_its_bounds_over_all_workers(one: list[float], other: list[float]) -> None:
    """As in Prometheus, a bucket counts the values up to and including its bound, and the last bucket all values."""
    workers = np.zeros((2, LENGTH))
    for values, taken in zip(workers, (one, other)):
        for seconds in taken:
            Counters(values).count_batch(seconds)
    found = describe(workers.sum(axis=0))["observe_seconds"]
    every = np.array([*one, *other])
    assert found["counts"] == [*(int((every <= bound).sum()) for bound in OBSERVE_BOUNDS), len(every)]
    assert found["sum"] == pytest.approx(every.sum())


def test_no_count_is_lost_between_threads() -> None:
    values = np.zeros(LENGTH)
    counters = Counters(values)
    threads = [threading.Thread(target=lambda: [counters.count_unknown(1) for _ in range(2000)]) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert describe(values)["unknown"] == 16_000
