"""`DriftMixin`: drift monitoring before any handler class."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Optional

from torchserve_drift.features.tabular import Batch, TabularDecoder
from torchserve_drift.handler import deployment

if TYPE_CHECKING:
    from torchserve_drift.monitoring.monitor import Monitor


class DriftMixin:
    """Drift monitoring before any handler class: ``class Mine(DriftMixin, ImageClassifier)``.

    What reaches ``preprocess`` is recorded as rows of features; what it returns, and every other answer of the
    handler, stays
    as it is. Handlers whose ``preprocess`` is asynchronous or takes further arguments work too. Thread-safe where the
    handler is.
    """

    _monitor: Optional[Monitor] = None
    _decoder: Optional[TabularDecoder] = None

    def initialize(self, context: Any) -> None:
        """Initialise the handler, then start monitoring; without a usable baseline the model serves unmonitored."""
        super().initialize(context)  # type: ignore[misc] # the next class is a handler
        self._monitor = deployment.start_monitor(context)
        if self._monitor is not None:
            self._decoder = TabularDecoder(self._monitor.encoder)

    def preprocess(self, data: Any, *args: Any, **kwargs: Any) -> Any:
        """Record the requests of a batch, then preprocess it as the handler does."""
        self._record_requests(data)
        return super().preprocess(data, *args, **kwargs)  # type: ignore[misc] # the next class is a handler

    def _record_requests(self, requests: Any) -> None:
        monitor = self._monitor
        if monitor is None or self._decoder is None:
            return
        try:
            if not explains(self):
                began = time.perf_counter()
                self._record(self._decoder.decode(requests), began)
        except Exception as error:  # noqa: BLE001 - monitoring fails open
            monitor.fault("decode", error)

    def _record(self, batch: Batch, began: float) -> None:
        """Record decoded rows, count what could not be decoded."""
        monitor = self._monitor
        if monitor is None:
            return
        try:
            counters = monitor.counters
            for reason, count in batch.rejected().items():
                counters.count_rejected(reason, count)
            if batch.unknown:
                counters.count_unknown(batch.unknown)
            if len(batch.rows):
                monitor.record(batch.rows, batch.sizes())
            counters.count_batch(time.perf_counter() - began)
        except Exception as error:  # noqa: BLE001 - monitoring fails open
            monitor.fault("observe", error)

    def describe_handle(self) -> Any:
        """The latest drift report, beside what the handler says of itself: ``GET /models/<name>?customized=true``."""
        describe = getattr(super(), "describe_handle", None)
        described = describe() if describe is not None else None
        if described is not None and not isinstance(described, Mapping):
            return described
        report = self._monitor.latest() if self._monitor is not None else None
        return {**(described or {}), "drift": report.to_dict() if report is not None else None}


def explains(handler: Any) -> bool:
    """Whether the batch asks for explanations, whose rows are no traffic."""
    explains = getattr(handler, "_is_explain", None)
    if explains is None or getattr(handler, "context", None) is None:
        return False
    return bool(explains())
