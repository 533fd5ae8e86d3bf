"""`DriftHandler`: a complete handler for tabular models whose requests are JSON."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from ts.torch_handler.base_handler import BaseHandler

from torchserve_drift.features.encoding import RowEncoder
from torchserve_drift.features.tabular import Batch, Request, TabularDecoder
from torchserve_drift.handler import deployment
from torchserve_drift.handler.mixin import DriftMixin, asks_for_explanation
from torchserve_drift.stats.arrays import Floats

_logger = logging.getLogger("torchserve_drift")


class DriftHandler(DriftMixin, BaseHandler):  # type: ignore[misc] # ts has no types
    """Serves a tabular model: decodes JSON requests, records them, and gives the model a float32 tensor.

    A request is one of these: a JSON object of features, a list of values in the baseline's order, a list of such
    objects or lists, or a body of the KServe protocol, version 1 or 2. A request that cannot be read is answered with
    status 400 and the reason; the other requests of its batch are answered as usual. Override `to_tensor` for a model
    that takes its features in another form.
    """

    def initialize(self, context: Any) -> None:
        """Load the model as `BaseHandler` does, and start monitoring."""
        super().initialize(context)
        self._batches: dict[int, Batch] = {}  # by micro-batch: its requests, from `preprocess` to `postprocess`
        if self._decoder is None:
            try:
                self._decoder = TabularDecoder(RowEncoder(deployment.schema(context)))
            except Exception as error:  # noqa: BLE001 - a model that does not initialise makes its users' requests hang
                _logger.error("the baseline's features are not known, only lists of numbers can be served: %s", error)

    def preprocess(self, data: Sequence[Any]) -> Any:
        """Decode and record the requests of a batch; return the model's input for all of their rows.

        Returns ``None`` if no request of the batch has a row.
        """
        began = time.perf_counter()
        batch = (self._decoder or TabularDecoder.of_numbers(data)).decode(data)
        if not asks_for_explanation(self):
            self._record(batch, began)
        self._batches[_micro_batch(self)[0]] = batch
        return self.to_tensor(batch.rows) if len(batch.rows) else None

    def to_tensor(self, rows: Floats) -> Any:
        """The model's input for ``rows`` (m, F), which are float64 in the baseline's order.

        Returns a float32 tensor (m, F) on the model's device. A number stays as it is, and is NaN if it is missing or
        of a wrong type. A category becomes its index in the baseline; the index of a missing or unknown category is
        the number of the baseline's categories. Override this method for a model that needs another form.
        """
        with np.errstate(over="ignore"):  # a number too large for float32 becomes infinite, without a warning
            values = rows.astype(np.float32)
        for column, index in enumerate(self._decoder.encoder.indexes if self._decoder is not None else ()):
            if index is not None:
                unknown = ~(values[:, column] >= 0)  # -1 or NaN
                values[unknown, column] = len(index)
        return torch.from_numpy(values).to(getattr(self, "device", "cpu"))

    def inference(self, data: Any, *args: Any, **kwargs: Any) -> Any:
        """The model's output for the rows of the batch; ``None`` if no request of the batch has a row."""
        return None if data is None else super().inference(data, *args, **kwargs)

    def postprocess(self, data: Any) -> list[Any]:
        """One answer for each request: the outputs of its rows, in the form of the request."""
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
        # A service envelope hands over one request as several, so that there are more of them than processors.
        if processors is not None and index < len(processors):
            self.context.set_response_status(code=400, phrase="Bad Request", idx=index)

    def _tensor_answer(self, outputs: list[Any]) -> Mapping[str, Any]:
        values = np.asarray(outputs, dtype=np.float32)
        tensor = {"name": "output", "datatype": "FP32", "shape": list(values.shape), "data": values.ravel().tolist()}
        return {"model_name": getattr(self.context, "model_name", None), "outputs": [tensor]}


def _micro_batch(handler: Any) -> tuple[int, int]:
    """Which part of a batch this thread works on, and the index of its first request in the batch.

    With TorchServe's micro-batching several threads work on parts of one batch at the same time.
    """
    number = getattr(handler.handle, "get_micro_batch_idx", lambda: None)()
    return (0, 0) if number is None else (number, number * handler.handle.micro_batch_size)
