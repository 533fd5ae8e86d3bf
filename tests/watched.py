"""Models that answer each row with the sum of its numbers, and what the metrics' port says of them."""

from __future__ import annotations

import json
import time
import urllib.request
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional

import numpy as np
from prometheus_client.parser import text_string_to_metric_families
from scipy import stats

from archives import save_model
from profiles import baseline
from servers import TorchServe, fetch, wait_for
from torchserve_drift.mar.archive import Options, build_archive

UNMONITORED = """\
import os
os.environ["TORCHSERVE_DRIFT_WINDOWS"] = "never"  # an impossible setting: monitoring stays off, the model serves
from torchserve_drift.handler import DriftHandler


class Unmonitored(DriftHandler):
    pass
"""
COLUMNS = {
    "age": [float(age) for age in np.random.default_rng(1).integers(18, 60, 1000)],  # ties
    "amount": [float(amount) for amount in np.random.default_rng(2).normal(50, 9, 1000)],
    "city": np.random.default_rng(3).choice(["Rome", "Oslo", "Bonn"], 1000, p=[0.6, 0.3, 0.1]).tolist(),
}
"""The training data."""

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


@dataclass(frozen=True)
class Row:
    """A request's row, and the model's answer to it."""

    features: Mapping[str, Any]
    answer: float


def request_rows(count: int, seed: int = 0) -> list[Row]:
    """Rows somewhat unlike `COLUMNS`."""
    random = np.random.default_rng([7, seed])
    cities = ["Rome", "Oslo", "Bonn", "Lima"]  # the model gets a category as its index; 3 is any unknown one
    rows = []
    for _ in range(count):
        age, amount = int(random.integers(20, 63)), float(np.round(random.normal(51, 9), 3))
        city = int(random.choice(4, p=[0.55, 0.3, 0.1, 0.05]))
        rows.append(Row({"age": age, "amount": amount, "city": cities[city]}, age + amount + city))
    return rows


def p_values(rows: Sequence[Row]) -> dict[tuple[str, str], float]:
    """SciPy's p-values for ``rows`` against `COLUMNS`, by feature and check."""
    found = {}
    for name in ("age", "amount"):
        sent = [row.features[name] for row in rows]
        found[name, "ks"] = float(stats.ks_2samp(COLUMNS[name], sent, method="asymp").pvalue)
    sent = [row.features["city"] for row in rows]
    table = [[values.count(city) for city in ("Rome", "Oslo", "Bonn", "Lima")] for values in (COLUMNS["city"], sent)]
    found["city", "chi2"] = float(stats.chi2_contingency(table, correction=False).pvalue)
    return found


def archive(
    store: Path,
    file: str,
    drift: Mapping[str, Any],
    *,
    name: str = "sum",
    version: str = "1.0",
    columns: Optional[Mapping[str, Sequence[Any]]] = None,
    monitored: bool = True,
    **model: Any,
) -> None:
    """Write the archive ``file`` into ``store``; ``model`` are further keys of model-config.yaml."""
    work = store.parent / f"{store.name}-{file}"
    work.mkdir()
    baseline(columns or COLUMNS).save(work / "baseline.safetensors")
    save_model(work / "model.pt")
    (work / "unmonitored.py").write_text(UNMONITORED)
    config = {"minWorkers": 1, "maxWorkers": 4, **model, "drift": dict(drift)}
    (work / "model-config.yaml").write_text(json.dumps(config))
    options = Options(
        name,
        version=version,
        handler=None if monitored else str(work / "unmonitored.py"),
        baseline=work / "baseline.safetensors",
        serialized_file=work / "model.pt",
        config_file=work / "model-config.yaml",
        export_path=work,
    )
    build_archive(options).rename(store / file)


def manage(server: TorchServe, method: str, path: str, timeout: float = 90) -> str:
    """A request to the management API: ``path`` after ``/models``."""
    request = urllib.request.Request(f"{server.management}/models{path}", method=method)
    with urllib.request.urlopen(request, timeout=timeout) as response:
        return str(response.read().decode())


def scale(server: TorchServe, model: str, workers: int) -> None:
    """Have exactly so many workers, ready.

    Not by TorchServe's `synchronous=true`, which blocks one of the few threads that answer requests meanwhile.
    """
    manage(server, "PUT", f"/{model}?min_worker={workers}&max_worker={workers}")
    wait_for(f"{workers} workers", lambda: len(server.worker_pids(model)) == workers, 90)


def scrape(port: int, timeout: float = 5) -> Samples:
    """All samples of the metrics' port, by name without prefix, and labels."""
    return samples_of(fetch(f"http://127.0.0.1:{port}/metrics", timeout=timeout))


def samples_of(page: str) -> Samples:
    """The samples of a page of metrics."""
    return {
        (s.name.removeprefix("torchserve_drift_"), frozenset(s.labels.items())): float(s.value)
        for family in text_string_to_metric_families(page)
        for s in family.samples
    }


def value(samples: Samples, metric: str, model: str = "sum", version: str = "1.0", **labels: str) -> Optional[float]:
    """One sample, ``None`` where there is none."""
    return samples.get((metric, frozenset({"model_name": model, "model_version": version, **labels}.items())))


def shown_models(samples: Samples) -> set[tuple[str, str]]:
    """Name and version of every model with series."""
    labels = [dict(labels) for _, labels in samples]
    return {(label["model_name"], label["model_version"]) for label in labels if "model_name" in label}


class Watch:
    """Scrapes on and on: the longest time without an answer, and counters that went backwards.

    ``interval`` and ``longest_silence`` in seconds.
    """

    def __init__(self, port: int, interval: float = 0.05) -> None:
        self.longest_silence, self.scrapes, self.failures = 0.0, 0, 0
        self._interval = interval
        self.backwards: list[Any] = []
        self._port, self._ended = port, False
        self._counters: dict[Any, float] = {}
        self._pool = ThreadPoolExecutor(1)
        self._run_ends = self._pool.submit(self._run)

    def _run(self) -> None:
        last = time.monotonic()
        while not self._ended:
            answered = self.look()
            self.longest_silence = max(self.longest_silence, time.monotonic() - last)
            if answered:
                last = time.monotonic()
            time.sleep(self._interval if answered else 0.02)

    def read(self, page: str) -> None:
        """A page that somebody else has fetched since."""
        self._compare(samples_of(page))

    def look(self) -> bool:
        """Scrape once; whether there was an answer."""
        try:
            self._compare(scrape(self._port))
        except OSError:
            self.failures += 1
            return False
        return True

    def _compare(self, samples: Any) -> None:
        self.scrapes += 1
        for key, found in samples.items():
            if key[0].endswith(("_total", "_bucket", "_count", "_sum")):
                if found < self._counters.get(key, 0):
                    self.backwards.append((key, self._counters[key], found))
                self._counters[key] = found

    def end(self) -> None:
        self._ended = True
        self._pool.shutdown()
        self._run_ends.result()
