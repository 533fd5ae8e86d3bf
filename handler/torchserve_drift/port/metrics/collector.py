"""The metrics as a prometheus_client collector, for programs that have a registry of their own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Callable

from prometheus_client.core import Metric

from torchserve_drift.port.metrics.families import METRICS, PREFIX, Family
from torchserve_drift.port.metrics.samples import label_names, labelled_models, samples_of
from torchserve_drift.port.snapshot import Snapshot


class DriftCollector:
    """Collects the metrics of ``snapshots()``, which is called at each scrape. Thread-safe if ``snapshots`` is.

    Registries allow a metric name in one collector only: to show several monitors in one registry, register one
    collector that returns the snapshots of all.

    Examples
    --------
    >>> from prometheus_client import CollectorRegistry, generate_latest
    >>> registry = CollectorRegistry()
    >>> registry.register(DriftCollector(list))  # no snapshots: help texts and types, but no samples
    >>> print(generate_latest(registry).decode().splitlines()[1])
    # TYPE torchserve_drift_p_value gauge
    """

    def __init__(self, snapshots: Callable[[], Sequence[Snapshot]]) -> None:
        self._snapshots = snapshots

    def describe(self) -> Iterator[Metric]:
        """The metrics without samples, by which a registry detects that a name is taken."""
        return (_metric(name, family) for name, family in METRICS.items())

    def collect(self) -> Iterator[Metric]:
        """The metrics with the samples of the present snapshots, in the order of `METRICS`."""
        models = labelled_models(self._snapshots())
        for name, family in METRICS.items():
            metric = _metric(name, family)
            for suffix, values, value in samples_of(models, family):
                metric.add_sample(PREFIX + name + suffix, dict(zip(label_names(family, suffix), values)), value)
            yield metric


def _metric(name: str, family: Family) -> Metric:
    # the library adds the "_total" of counters to their names again
    return Metric(PREFIX + name.removesuffix("_total"), family.documentation, family.type)
