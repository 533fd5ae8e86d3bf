"""`DriftMixin` adds drift monitoring to any handler class."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Optional

from torchserve_drift.features.tabular import Batch, TabularDecoder
from torchserve_drift.handler import deployment

if TYPE_CHECKING:
    from torchserve_drift.monitoring.monitor import Monitor


class DriftMixin:
    """Adds drift monitoring to the handler class that follows it: ``class Mine(DriftMixin, ImageClassifier)``.

    The requests that reach ``preprocess`` are recorded as rows of features. All answers of the handler stay the same.
    The handler's ``preprocess`` may be asynchronous and may take further arguments. The mixin is thread-safe if the
    handler is.
    """

    _monitor: Optional[Monitor] = None
    _decoder: Optional[TabularDecoder] = None

    def initialize(self, context: Any) -> None:
        """Initialise the handler, then start monitoring.

        Without a usable baseline the model is served without monitoring, and the log says why.
        """
        super().initialize(context)  # type: ignore[misc] # the next class is a handler
        self._monitor = deployment.start_monitor(context)
        if self._monitor is not None:
            self._decoder = TabularDecoder(self._monitor.encoder)

    def preprocess(self, data: Any, *args: Any, **kwargs: Any) -> Any:
        """Record the requests of a batch, then let the handler preprocess it."""
        self._record_requests(data)
        return super().preprocess(data, *args, **kwargs)  # type: ignore[misc] # the next class is a handler

    def _record_requests(self, requests: Any) -> None:
        monitor = self._monitor
        if monitor is None or self._decoder is None:
            return
        try:
            if not asks_for_explanation(self):
                began = time.perf_counter()
                self._record(self._decoder.decode(requests), began)
        except Exception as error:  # noqa: BLE001 - monitoring fails open
            monitor.fault("decode", error)

    def _record(self, batch: Batch, began: float) -> None:
        """Record the rows of ``batch``, and count the requests and values that could not be read.

        ``began`` is the time at which work on the batch began, by ``time.perf_counter``.
        """
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
        """The handler's own description with the latest drift report added under ``drift``.

        TorchServe shows it at ``GET /models/<name>?customized=true``. A description that is no mapping is returned
        unchanged.
        """
        describe = getattr(super(), "describe_handle", None)
        described = describe() if describe is not None else None
        if described is not None and not isinstance(described, Mapping):
            return described
        report = self._monitor.latest() if self._monitor is not None else None
        return {**(described or {}), "drift": report.to_dict() if report is not None else None}


def asks_for_explanation(handler: Any) -> bool:
    """Whether the current batch asks for explanations instead of predictions.

    Such rows are not recorded: explanations are often asked for rows that were predicted before.
    """
    is_explain = getattr(handler, "_is_explain", None)  # a method of ts.torch_handler.base_handler.BaseHandler
    if is_explain is None or getattr(handler, "context", None) is None:
        return False
    return bool(is_explain())
