"""A real TorchServe with two workers: every number that it exports is recomputed from the rows that were sent."""

from __future__ import annotations

import math
import os
import signal
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families
from scipy import stats

import archives
from servers import TorchServe, fetch, free_ports, torchserve, wait_for

pytestmark = pytest.mark.server

WINDOWS = ("5000 rows", "1h")
ROWS = 700


def training_columns() -> dict[str, Sequence[Any]]:
    random = np.random.default_rng(1)
    temperature = random.normal(10, 5, 2000)
    temperature[::17] = math.nan
    return {
        "age": random.integers(18, 60, 2000).tolist(),  # ties
        "temperature": temperature.tolist(),
        "amount": np.round(random.exponential(30, 2000), 1).tolist(),
        "constant": [3.5] * 2000,
        "city": random.choice(["Rome", "Oslo", "Bonn", "Nice"], 2000, p=[0.6, 0.3, 0.097, 0.003]).tolist(),
        "device": [None if i % 50 == 0 else ("phone", "tablet", "desk")[i % 3] for i in range(2000)],
        "member": [i % 4 == 0 for i in range(2000)],
    }


def request_rows() -> list[dict[str, Any]]:
    """Rows of which each feature differs from training a little, much, or not at all; some values are missing."""
    random = np.random.default_rng(2)
    rows = []
    for i in range(ROWS):
        row = {
            "age": int(random.integers(18, 61)),
            "temperature": float(random.normal(10.6, 5)),
            "amount": round(float(random.exponential(24)), 1),
            "constant": 3.5,
            "city": str(
                random.choice(["Rome", "Oslo", "Bonn", "Nice", "Lima", "Cork"], p=[0.5, 0.3, 0.1, 0.02, 0.05, 0.03])
            ),
            "device": ("phone", "tablet", "desk")[i % 3],
            "member": bool(random.random() < 0.3),
        }
        if i % 10 == 0:
            row["temperature"] = None
        if i % 15 == 0:
            row["temperature"] = math.nan
        if i % 35 == 0:
            del row["device"]
        if i % 40 == 0:
            row["city"] = None
        rows.append(row)
    return rows


@dataclass(frozen=True)
class Served:
    """The rows that were sent, the answers, and the samples at the port afterwards."""

    rows: list[dict[str, Any]]
    answers: list[dict[str, Any]]
    samples: dict[tuple[str, frozenset[tuple[str, str]]], float]
    server: TorchServe
    port: int

    def value(self, name: str, **labels: str) -> float:
        key = {"model_name": "tabular", "model_version": "1.0", **labels}
        return self.samples[f"torchserve_drift_{name}", frozenset(key.items())]

    def series(self, name: str) -> dict[tuple[str, str, str], float]:
        """Values by feature, window and check."""
        found = {}
        for (sample, labels), value in self.samples.items():
            if sample == f"torchserve_drift_{name}":
                named = dict(labels)
                found[named["feature"], named["window"], named["check"]] = value
        return found


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    store = tmp_path_factory.mktemp("store")
    (port,) = free_ports(1)
    drift = {"windows": list(WINDOWS), "evaluate_every": "500ms", "export": {"address": f"127.0.0.1:{port}"}}
    archives.probe_archive(store, training_columns(), drift, batchSize=4, maxBatchDelay=5)
    with torchserve(store, {"tabular": "tabular.mar"}) as server:
        rows = request_rows()
        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(lambda row: server.predict("tabular", row), rows))
        samples = wait_for("all rows evaluated", lambda: scrape_when(port, ROWS), 30)
        yield Served(rows, answers, samples, server, port)


def scrape_when(port: int, rows: int) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """All samples of the port once an evaluation covers ``rows``; none before."""
    families = text_string_to_metric_families(fetch(f"http://127.0.0.1:{port}/metrics"))
    samples = {(s.name, frozenset(s.labels.items())): s.value for family in families for s in family.samples}
    covered = [value for (name, _), value in samples.items() if name == "torchserve_drift_window_rows"]
    return samples if covered == [rows] * len(WINDOWS) else {}


def present(values: Sequence[Any]) -> list[Any]:
    return [value for value in values if value is not None and not (isinstance(value, float) and math.isnan(value))]


def pooled(baseline: Counter[Any], window: Counter[Any]) -> list[tuple[int, int]]:
    """The columns of the contingency table: categories expected less than 5 times in either row, and all that the
    baseline lacks, are one column."""
    total = sum(baseline.values()) + sum(window.values())
    smaller = min(sum(baseline.values()), sum(window.values())) / total
    table, rest = [], (0, 0)
    for category in baseline.keys() | window.keys():
        cell = (baseline[category], window[category])
        if baseline[category] and sum(cell) * smaller >= 5:
            table.append(cell)
        else:
            rest = (rest[0] + cell[0], rest[1] + cell[1])
    return [*table, rest] if any(rest) else table


def oracle(rows: list[dict[str, Any]]) -> dict[str, tuple[str, float, float]]:
    """SciPy's answer per feature: check, p-value, statistic."""
    answers = {}
    for name, values in training_columns().items():
        trained, sent = present(values), present([row.get(name) for row in rows])
        if name in ("age", "temperature", "amount", "constant"):
            found = stats.ks_2samp(trained, sent, method="asymp")
            answers[name] = ("ks", float(found.pvalue), float(found.statistic))
        else:
            table = np.array(pooled(Counter(trained), Counter(sent))).T
            chi2, p_value, *_ = stats.chi2_contingency(table, correction=False)
            answers[name] = ("chi2", float(p_value), math.sqrt(chi2 / table.sum()))
    return answers


def test_the_rows_make_p_values_of_all_sizes():
    p_values = {name: p for name, (_, p, _) in oracle(request_rows()).items()}
    assert p_values["constant"] == 1
    assert p_values["city"] < 1e-12
    assert 1e-12 < p_values["amount"] < 0.05 < p_values["device"] < 1


def test_both_workers_answered_from_the_archive_alone(served):
    assert len({answer["pid"] for answer in served.answers}) == 2
    files = {Path(file) for answer in served.answers for file in answer["files"]}
    assert {file.parts[-2:] for file in files} == {("torchserve_drift", "__init__.py"), ("handler", "__init__.py")}
    assert all(file.is_relative_to(served.server.home / "models") for file in files)
    assert {tuple(answer["unwanted"]) for answer in served.answers} == {()}


def test_the_model_gets_the_rows_in_the_order_of_the_baseline_with_categories_as_their_index(served):
    index = {
        "city": {"Rome": 0, "Oslo": 1, "Bonn": 2, "Nice": 3},
        "device": {"tablet": 0, "desk": 1, "phone": 2},
        "member": {False: 0, True: 1},
    }
    counts = Counter(present(training_columns()["device"]))
    index["device"] = {name: i for i, name in enumerate(sorted(counts, key=lambda name: (-counts[name], name)))}
    for row, answer in zip(served.rows, served.answers):
        numbers = present([row[name] for name in ("age", "temperature", "amount", "constant")])
        codes = [known.get(row.get(name), len(known)) for name, known in index.items()]
        (total,) = np.ravel(answer["answer"])
        assert total == pytest.approx(sum(numbers) + sum(codes), rel=1e-5)


def test_the_windows_count_every_row_of_both_workers_once(served):
    assert served.value("rows_total") == ROWS
    for window in WINDOWS:
        assert served.value("window_rows", window=window) == ROWS
        assert served.value("window_sample_rows", window=window) == ROWS


def test_every_p_value_is_that_of_scipy_on_the_same_rows(served):
    expected = {(name, window, check): p for name, (check, p, _) in oracle(served.rows).items() for window in WINDOWS}
    found = {key: value for key, value in served.series("p_value").items() if key[2] in ("ks", "chi2")}
    assert found == pytest.approx(expected, rel=1e-6, abs=0)


def test_every_statistic_is_that_of_scipy_on_the_same_rows(served):
    expected = {
        (name, window, check): statistic
        for name, (check, _, statistic) in oracle(served.rows).items()
        for window in WINDOWS
    }
    found = {key: value for key, value in served.series("statistic").items() if key[2] in ("ks", "chi2")}
    assert found == pytest.approx(expected, rel=1e-9, abs=1e-12)


def test_the_other_statistics_equal_their_definitions_on_the_same_rows(served):
    statistic = served.series("statistic")
    trained = training_columns()
    for name in ("age", "temperature", "amount"):
        before, now = np.array(present(trained[name])), np.array(present([row[name] for row in served.rows]))
        outside = np.mean((now < before.min()) | (now > before.max()))
        for window in WINDOWS:
            assert statistic[name, window, "mean"] == pytest.approx((now.mean() - before.mean()) / before.std(ddof=1))
            assert statistic[name, window, "std"] == pytest.approx(now.std(ddof=1) / before.std(ddof=1) - 1)
            assert statistic[name, window, "range"] == pytest.approx(outside)
    cities = [row["city"] for row in served.rows]
    for window in WINDOWS:
        unseen = sum(city in ("Lima", "Cork") for city in cities) / len(present(cities))
        assert statistic["city", window, "new_category"] == pytest.approx(unseen)


def test_the_counters_count_every_row_in_its_category(served):
    counts = Counter(present([row["city"] for row in served.rows]))
    for city in ("Rome", "Oslo", "Bonn", "Nice"):
        assert served.value("category_total", feature="city", category=city) == counts[city]


def test_every_worker_describes_the_model_with_the_latest_report(served):
    for _ in range(10):
        (description,) = served.server.describe("tabular", "?customized=true")
        report = description["customizedMetadata"]["drift"]
        assert {feature["name"] for feature in report["features"]} == {*training_columns(), "_joint"}
        assert report["windows"]["1h"]["rows"] == ROWS


def test_rows_outlive_the_workers_that_counted_them(served):
    """Runs last, because it kills each worker in turn, also the one that holds the port and evaluates."""
    server = served.server
    for worker in server.worker_pids("tabular"):
        os.kill(worker, signal.SIGKILL)
        wait_for("a new worker", lambda dead=worker: len(set(server.worker_pids("tabular")) - {dead}) == 2, 60)
    for row in served.rows[:100]:
        server.predict("tabular", row)
    samples = wait_for("all rows evaluated", lambda: scrape_when(served.port, ROWS + 100), 30)
    model = {("model_name", "tabular"), ("model_version", "1.0")}
    assert samples["torchserve_drift_rows_total", frozenset(model)] == ROWS + 100
