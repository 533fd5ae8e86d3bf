"""A real Prometheus scrapes a real TorchServe, and its queries find drift."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from scipy import stats

import archives
from servers import Prometheus, TorchServe, free_ports, has_prometheus, prometheus, torchserve, wait_for

pytestmark = [
    pytest.mark.server,
    pytest.mark.prometheus,
    pytest.mark.skipif(not has_prometheus(), reason="no prometheus on PATH"),
]

AGES = [float(age) for age in np.random.default_rng(1).integers(18, 60, 1000)]
WEIGHTS = [float(weight) for weight in np.random.default_rng(2).normal(70, 10, 1000)]
ROWS = 300


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[TorchServe, Prometheus]]:
    store = tmp_path_factory.mktemp("store")
    (port,) = free_ports(1)
    drift = {"windows": ["1h"], "evaluate_every": "500ms", "export": {"address": f"127.0.0.1:{port}"}}
    archives.probe_archive(store, {"age": AGES, "weight": WEIGHTS}, drift)
    with torchserve(store, {"tabular": "tabular.mar"}) as server, prometheus([f"127.0.0.1:{port}"]) as scraper:
        yield server, scraper


def drifted(scraper: Prometheus) -> dict[str, float]:
    return {labels["feature"]: value for labels, value in scraper.query("torchserve_drift_feature_drifted")}


def test_prometheus_sees_the_rows_the_p_values_and_in_the_end_the_drift(watched):
    server, scraper = watched
    ages, weights = AGES[:ROWS], WEIGHTS[-ROWS:]
    for age, weight in zip(ages, weights):
        server.predict("tabular", {"age": age, "weight": weight})
    wait_for("300 rows in Prometheus", lambda: scraper.value("torchserve_drift_window_rows") == ROWS)
    assert scraper.value("up") == 1
    p_values = {labels["feature"]: value for labels, value in scraper.query('torchserve_drift_p_value{check="ks"}')}
    expected = {
        "age": stats.ks_2samp(AGES, ages, method="asymp").pvalue,
        "weight": stats.ks_2samp(WEIGHTS, weights, method="asymp").pvalue,
    }
    assert p_values == pytest.approx(expected, rel=1e-6)
    assert drifted(scraper) == {"age": 0, "weight": 0, "_joint": 0}

    for age, weight in zip(ages, weights):
        server.predict("tabular", {"age": age + 30, "weight": weight})
    wait_for("600 rows in Prometheus", lambda: scraper.value("torchserve_drift_window_rows") == 2 * ROWS)
    found = drifted(scraper)
    assert (found["age"], found["weight"]) == (1, 0)
    assert scraper.value("torchserve_drift_score") == pytest.approx(0.5)
    assert scraper.value("sum(torchserve_drift_errors_total) or vector(0)") == 0


def test_the_series_of_one_scrape_have_the_labels_of_torchserves_own(watched):
    _, scraper = watched
    (labels, _), *_ = wait_for("a series", lambda: scraper.query("torchserve_drift_rows_total"))
    assert (labels["model_name"], labels["model_version"]) == ("tabular", "1.0")
