"""Reads the plugin's metrics from Prometheus, or from the port itself if Prometheus is not installed."""

from __future__ import annotations

from typing import Optional, Protocol

from prometheus_client.parser import text_string_to_metric_families

from servers import Prometheus, fetch

PREFIX = "torchserve_drift_"


class Series(Protocol):
    source: str

    def get(self, name: str, **labels: str) -> list[tuple[dict[str, str], float]]:
        """The labels and the value of each series of the metric ``name``, without prefix, that has these labels."""


class FromPrometheus:
    def __init__(self, server: Prometheus) -> None:
        self.source = f"Prometheus at {server.url}"
        self._server = server

    def get(self, name: str, **labels: str) -> list[tuple[dict[str, str], float]]:
        matchers = ",".join(f'{label}="{value}"' for label, value in labels.items())
        return self._server.query(f"{PREFIX}{name}{{{matchers}}}")


class FromPort:
    def __init__(self, url: str) -> None:
        self.source = f"{url} itself (no Prometheus here)"
        self._url = url

    def get(self, name: str, **labels: str) -> list[tuple[dict[str, str], float]]:
        return [
            (sample.labels, sample.value)
            for family in text_string_to_metric_families(fetch(self._url))
            for sample in family.samples
            if sample.name == PREFIX + name and labels.items() <= sample.labels.items()
        ]


def only(series: Series, name: str, **labels: str) -> Optional[float]:
    """The value of the only series; ``None`` if there is none yet."""
    found = series.get(name, **labels)
    return found[0][1] if len(found) == 1 else None
