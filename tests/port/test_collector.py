"""The collector for other registries: it and the port's page must show the same.

The tests also pass with prometheus_client 0.17.0 and 0.20.0.
"""

from __future__ import annotations

import re
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics

from baselines import baseline
from snapshots import hostile, usual
from torchserve_drift import Monitor
from torchserve_drift.port.metrics.collector import DriftCollector
from torchserve_drift.port.metrics.text import render
from torchserve_drift.port.snapshot import Snapshot

FORMATS: dict[str, Callable[[CollectorRegistry], bytes]] = {
    "": generate_latest,
    "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5": generate_openmetrics,
}
"""An Accept header to prometheus_client's function for the format."""


def registry_of(snapshots: list[Snapshot]) -> CollectorRegistry:
    registry = CollectorRegistry()
    registry.register(DriftCollector(lambda: snapshots))
    return registry


@settings(deadline=None, max_examples=60)
@given(st.lists(hostile(), max_size=3), st.sampled_from(sorted(FORMATS)))
def test_prometheus_client_writes_the_page_of_the_port_byte_for_byte(snapshots: list[Snapshot], accept: str) -> None:
    assert FORMATS[accept](registry_of(snapshots)) == render(snapshots, accept)[0]


@pytest.mark.parametrize("accept", FORMATS)
def test_a_monitor_s_collector_shows_its_snapshot_at_the_time_of_each_scrape(accept: str) -> None:
    data = {"age": np.arange(50.0), "city": ["Rome", "Oslo"] * 25}
    monitor = Monitor(baseline(data), {"windows": ["1h"], "min_rows": 1}, clock=lambda: 1e9, seed=0)
    registry = CollectorRegistry()
    registry.register(monitor.collector())
    before = FORMATS[accept](registry)
    assert before == render([monitor.snapshot()], accept)[0]
    monitor.observe(data)
    monitor.evaluate()
    after = FORMATS[accept](registry)
    assert after == render([monitor.snapshot()], accept)[0] != before
    assert b'torchserve_drift_rows_total{model_name="model",model_version="1.0"} 50.0' in after
    monitor.stop()


def test_one_collector_can_show_several_models() -> None:
    models = [usual(), usual(model_name="n")]
    registry = registry_of(models)
    assert generate_latest(registry) == render(models)[0]
    models.pop()
    assert generate_latest(registry) == render(models)[0]


def test_a_registry_refuses_a_second_collector_without_taking_a_snapshot() -> None:
    def snapshots() -> list[Snapshot]:
        raise AssertionError

    for registry in (CollectorRegistry(), CollectorRegistry(auto_describe=True)):
        registry.register(DriftCollector(snapshots))
        with pytest.raises(ValueError, match=re.escape("Duplicated timeseries in CollectorRegistry")):
            registry.register(DriftCollector(snapshots))


def test_scrapes_and_evaluations_from_several_threads_do_not_disturb_each_other(tmp_path: Path) -> None:
    """With windows shared by processes that come and go, each scrape and each evaluation looks at all of them."""
    data = {"age": np.arange(50.0)}
    settings = {"windows": ["1h"], "min_rows": 1}
    monitor = Monitor(baseline(data), settings, directory=tmp_path, seed=0)
    own_files = set(tmp_path.glob("*.segment"))
    collector, ended = monitor.collector(), threading.Event()
    errors: list[BaseException] = []

    def scrape() -> None:
        while not ended.is_set():
            try:
                list(collector.collect())
            except Exception as error:  # noqa: BLE001 # any is a failure of this test
                errors.append(error)

    threads = [threading.Thread(target=scrape) for _ in range(3)]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        for thread in threads:
            thread.start()
        for _ in range(25):
            other = Monitor(baseline(data), settings, directory=tmp_path, seed=0)
            other.observe(data)
            other.evaluate()
            other.stop()
            for path in set(tmp_path.glob("*.segment")) - own_files:
                path.unlink()
            monitor.evaluate()
    finally:
        ended.set()
        for thread in threads:
            thread.join()
        sys.setswitchinterval(interval)
        monitor.stop()
    assert errors == []
