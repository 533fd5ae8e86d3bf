"""Reads the metrics port as Prometheus does: single samples, and a thread that watches the port over time."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Optional

from prometheus_client.parser import text_string_to_metric_families

from servers import fetch

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]
"""Values by name, without the prefix, and labels."""


def scrape(port: int, timeout: float = 5) -> Samples:
    """All samples of the metrics port, by their labels and their name without the prefix."""
    return samples_of(fetch(f"http://127.0.0.1:{port}/metrics", timeout=timeout))


def samples_of(page: str) -> Samples:
    """The samples of ``page``, a text in Prometheus' format."""
    return {
        (s.name.removeprefix("torchserve_drift_"), frozenset(s.labels.items())): float(s.value)
        for family in text_string_to_metric_families(page)
        for s in family.samples
    }


def value(samples: Samples, metric: str, model: str = "sum", version: str = "1.0", **labels: str) -> Optional[float]:
    """The value of one sample; ``None`` if there is no such sample."""
    return samples.get((metric, frozenset({"model_name": model, "model_version": version, **labels}.items())))


def shown_models(samples: Samples) -> set[tuple[str, str]]:
    """The name and version of every model that has samples."""
    labels = [dict(labels) for _, labels in samples]
    return {(label["model_name"], label["model_version"]) for label in labels if "model_name" in label}


class ScrapeWatch:
    """Scrapes a port in a thread, every ``interval`` seconds, until `end`.

    It keeps the ``longest_silence`` in seconds between two answers, and the counters that went ``backwards``.
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
            answered = self.scrape_once()
            self.longest_silence = max(self.longest_silence, time.monotonic() - last)
            if answered:
                last = time.monotonic()
            time.sleep(self._interval if answered else 0.02)

    def read(self, page: str) -> None:
        """Compare a page that was fetched elsewhere, later than the last scrape."""
        self._compare(samples_of(page))

    def scrape_once(self) -> bool:
        """Scrape, and say whether there was an answer."""
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
        """End the thread; an exception in it is raised here."""
        self._ended = True
        self._pool.shutdown()
        self._run_ends.result()
