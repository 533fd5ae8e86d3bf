"""`DriftHandler`: a complete handler for tabular models behind JSON."""

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
from torchserve_drift.handler.mixin import DriftMixin, explains
from torchserve_drift.stats.arrays import Floats

_logger = logging.getLogger("torchserve_drift")


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
        if not explains(self):
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
