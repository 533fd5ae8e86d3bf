"""Runs handlers in this process, with TorchServe's own context, base handler and metrics, and a TorchScript model."""

from __future__ import annotations

import contextlib
import json
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Optional

import numpy as np
import pytest

from archives import save_model
from baselines import baseline

torch = pytest.importorskip("torch")
ts = pytest.importorskip("ts")

from ts.context import Context, RequestProcessor  # noqa: E402
from ts.handler_utils.micro_batching import MicroBatching  # noqa: E402
from ts.metrics.metric_cache_yaml_impl import MetricsCacheYamlImpl  # noqa: E402
from ts.protocol.otf_message_handler import create_predict_response  # noqa: E402

from torchserve_drift.handler import DriftHandler  # noqa: E402

METRICS = Path(ts.__file__).parent / "configs" / "metrics.yaml"
COLUMNS = {
    "age": np.arange(1000) % 90,
    "device": ["mobile", "mobile", "tablet", "desktop"] * 250,
    "height": np.arange(1000.0),
}
DRIFT = {"windows": ["1h"], "min_rows": 1, "evaluate_every": "1h", "export": {"address": "127.0.0.1:0"}}
"""The background thread evaluates once at the start, and not again during a test."""


class Model:
    """The directory of a model, and the handlers that were initialised from it."""

    def __init__(self, path: Path, columns: Mapping[str, Any] = COLUMNS) -> None:
        self.path = path
        self.handlers: list[Any] = []
        baseline(columns).save(path / "baseline.safetensors")
        save_model(path / "model.pt")

    def context(self, drift: Any = DRIFT) -> Any:
        manifest = {"model": {"modelName": "m", "modelVersion": "2.0", "serializedFile": "model.pt"}}
        config = {} if drift is None else {"drift": drift}
        context = Context("m", str(self.path), manifest, 1, None, "0.12.0", model_yaml_config=config)
        context.metrics = MetricsCacheYamlImpl(config_file_path=str(METRICS))
        return context

    def handler(self, kind: Any = DriftHandler, drift: Any = DRIFT) -> Any:
        handler = kind()
        self.handlers.append(handler)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # torch.jit.load
            handler.initialize(self.context(drift))
        return handler

    def stop(self) -> None:
        for handler in self.handlers:
            if getattr(handler, "_monitor", None) is not None:
                handler._monitor.stop()
            if isinstance(handler.handle, MicroBatching):
                handler.handle.shutdown()


@contextlib.contextmanager
def served(folder: Path, columns: Mapping[str, Any] = COLUMNS) -> Iterator[Model]:
    """A model in ``folder``. Its handlers share their state in ``folder`` only."""
    with pytest.MonkeyPatch.context() as patch:
        (folder / "tmp").mkdir()
        patch.setattr(tempfile, "tempdir", str(folder / "tmp"))
        (folder / "model").mkdir()
        model = Model(folder / "model", columns)
        try:
            yield model
        finally:
            model.stop()


def row_of(body: bytes, content_type: str) -> dict[str, Any]:
    """A request in the form in which TorchServe's worker passes it to a handler."""
    if content_type == "application/json":
        with contextlib.suppress(ValueError, RecursionError):
            return {"body": json.loads(body.decode("utf-8"))}
    if content_type.startswith("text"):
        with contextlib.suppress(ValueError):
            return {"body": body.decode("utf-8")}
    return {"body": bytearray(body)}


def sent_back(model: Model, handler: Any, requests: Sequence[Any]) -> bytes:
    """The bytes that the worker sends back for a batch: statuses, headers and bodies."""
    context = model.context()
    context.request_processor = [RequestProcessor({}) for _ in requests]
    context.request_ids = context.metrics.request_ids = {i: str(i) for i in range(len(requests))}
    answers = handler.handle(list(requests), context)
    return bytes(create_predict_response(answers, context.request_ids, "Prediction success", 200, context))


def ask(
    model: Model, handler: Any, requests: Sequence[Any], headers: Optional[Mapping[str, str]] = None
) -> tuple[Any, list[int]]:
    """The answers to a batch and the status of each request, as TorchServe's service makes them."""
    context = model.context()
    context.request_processor = [RequestProcessor(dict(headers or {})) for _ in requests]
    context.request_ids = context.metrics.request_ids = {i: str(i) for i in range(len(requests))}
    answers = handler.handle(list(requests), context)
    json.dumps(answers)
    return answers, [context.get_response_status(i)[0] for i in range(len(requests))]
