"""Handlers for TorchServe: a complete one for tabular models, and a mixin for any other handler class."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Optional

import numpy as np
import torch
from ts.torch_handler.base_handler import BaseHandler

from torchserve_drift import deployment
from torchserve_drift.features.encoding import Floats, RowEncoder
from torchserve_drift.features.tabular import Batch, Request, TabularDecoder

if TYPE_CHECKING:
    from torchserve_drift.monitor import Monitor

_logger = logging.getLogger("torchserve_drift")


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
            if not _explains(self):
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
            counters = monitor.store.writer.counters
            for reason, count in batch.rejected().items():
                counters.reject(reason, count)
            if batch.unknown:
                counters.unknown(batch.unknown)
            if len(batch.rows):
                monitor.record(batch.rows, batch.sizes())
            counters.observed(time.perf_counter() - began)
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


class DriftHandler(DriftMixin, BaseHandler):  # type: ignore[misc] # ts has no types
    """A tabular model behind JSON: decodes requests, records them, and hands the model a float32 tensor.

    A request is an object of features, a list of values in the baseline's order, a list of those, or a KServe v1 or v2
    body. A request that cannot be read is answered with status 400 and why; the others of its batch are not affected.
    Override `to_tensor` for a model that takes its features in another form.
    """

    def initialize(self, context: Any) -> None:
        """Load the model as `BaseHandler` does, and start monitoring."""
        super().initialize(context)
        self._batches: dict[int, Batch] = {}
        if self._decoder is None:
            try:
                self._decoder = TabularDecoder(RowEncoder(deployment.schema(context)))
            except Exception as error:  # noqa: BLE001 - a model that does not initialise makes its users' requests hang
                _logger.error("features have no names or order, only lists of numbers can be served: %s", error)

    def preprocess(self, data: Sequence[Any]) -> Any:
        """Rows of all requests of the batch as the model's input; records them on the way."""
        began = time.perf_counter()
        batch = (self._decoder or TabularDecoder.of_numbers(data)).decode(data)
        if not _explains(self):
            self._record(batch, began)
        self._batches[_micro_batch(self)[0]] = batch
        return self.to_tensor(batch.rows) if len(batch.rows) else None

    def to_tensor(self, rows: Floats) -> Any:
        """The model's input for ``rows`` (m, F), float64 in the baseline's order; override it for another form.

        Returns a float32 tensor (m, F) on the model's device: numbers as they are, NaN where missing or not a number;
        categories
        as their index in the baseline, where unknown and missing ones have the number of its categories for index.
        """
        with np.errstate(over="ignore"):  # beyond float32 is infinite, which is no cause for a warning or an error
            values = rows.astype(np.float32)
        for column, index in enumerate(self._decoder.encoder.indexes if self._decoder is not None else ()):
            if index is not None:
                unknown = ~(values[:, column] >= 0)
                values[unknown, column] = len(index)
        return torch.from_numpy(values).to(getattr(self, "device", "cpu"))

    def inference(self, data: Any, *args: Any, **kwargs: Any) -> Any:
        """The model's output for the batch's rows; ``None`` where no request of the batch has one."""
        return None if data is None else super().inference(data, *args, **kwargs)

    def postprocess(self, data: Any) -> list[Any]:
        """One answer a request: its rows' outputs, in the form of the request."""
        number, first = _micro_batch(self)
        batch = self._batches.pop(number, None)
        outputs = data.tolist() if hasattr(data, "tolist") else list(data or ())
        if batch is None:
            return outputs
        answers, begin = [], 0
        for index, request in enumerate(batch.requests, first):
            answers.append(self._answer(index, request, outputs[begin : begin + request.rows]))
            begin += request.rows
        return answers

    def _answer(self, index: int, request: Request, outputs: list[Any]) -> Any:
        if request.refusal is not None:
            self._refuse(index)
            return {"code": 400, "type": "BadRequest", "message": request.refusal.message}
        if request.form == "v1":
            return {"predictions": outputs}
        if request.form == "v2":
            return self._tensor_answer(outputs)
        if request.form == "row":
            return outputs[0]
        return outputs

    def _refuse(self, index: int) -> None:
        processors = getattr(self.context, "request_processor", None)
        if processors is not None and index < len(processors):  # under an envelope there are more rows than requests
            self.context.set_response_status(code=400, phrase="Bad Request", idx=index)

    def _tensor_answer(self, outputs: list[Any]) -> Mapping[str, Any]:
        values = np.asarray(outputs, dtype=np.float32)
        tensor = {"name": "output", "datatype": "FP32", "shape": list(values.shape), "data": values.ravel().tolist()}
        return {"model_name": getattr(self.context, "model_name", None), "outputs": [tensor]}


def _micro_batch(handler: Any) -> tuple[int, int]:
    """Which part of a batch this thread works on, and the place of its first request in the batch.

    With TorchServe's micro-batching several threads work on parts of a batch, each in another stage.
    """
    number = getattr(handler.handle, "get_micro_batch_idx", lambda: None)()
    return (0, 0) if number is None else (number, number * handler.handle.micro_batch_size)


def _explains(handler: Any) -> bool:
    """Whether the batch asks for explanations, whose rows are no traffic."""
    explains = getattr(handler, "_is_explain", None)
    if explains is None or getattr(handler, "context", None) is None:
        return False
    return bool(explains())
