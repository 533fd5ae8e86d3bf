"""Handlers in this process, with TorchServe's own context, base handler and micro-batching, and a TorchScript model."""

from __future__ import annotations

import asyncio
import builtins
import importlib
import json
import logging
import random
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import torchserve_drift
from baselines import baseline
from local_handlers import DRIFT, Model, ask, served
from servers import wait_for
from torchserve_drift.monitoring import background
from torchserve_drift.monitoring.monitor import Monitor
from torchserve_drift.window import fields

torch = pytest.importorskip("torch")
ts = pytest.importorskip("ts")

from ts.context import RequestProcessor  # noqa: E402
from ts.handler_utils.micro_batching import MicroBatching  # noqa: E402
from ts.torch_handler.base_handler import BaseHandler  # noqa: E402

from torchserve_drift.handler import DriftHandler, DriftMixin  # noqa: E402

ROW = {"age": 30, "device": "tablet", "height": 1.5}
ANSWER = 33.5  # the model adds up; "tablet" is the third category


@pytest.fixture
def model(tmp_path: Path) -> Iterator[Model]:
    with served(tmp_path) as model:
        yield model


def logged(caplog: pytest.LogCaptureFixture) -> list[str]:
    """The lines that monitoring has logged, without those of TorchServe."""
    return [record.getMessage() for record in caplog.records if record.name == "torchserve_drift"]


def observed(handler: Any) -> int:
    monitor: Monitor = handler._monitor
    monitor.store.writer.fold()
    return int(monitor.store.totals()[fields.ROWS])


def snapshot(handler: Any) -> Any:
    monitor: Monitor = handler._monitor
    monitor.store.writer.fold()
    return monitor.snapshot()


@pytest.mark.parametrize("v1", [False, True])
def test_the_rows_of_one_request_arrive_as_one_cluster(model: Model, v1: bool) -> None:
    handler = model.handler()
    three, refused, one = [ROW, {**ROW, "age": None}, ROW], "no JSON", [ROW]
    bodies = [{"instances": three}, refused, {"instances": one}] if v1 else [three, refused, one]
    ask(model, handler, [{"body": body} for body in bodies])
    assert observed(handler) == 4
    monitor: Monitor = handler._monitor
    sizes_squared = [monitor.store.layout.part(monitor.store.totals(), i)[fields.SIZES_SQUARED] for i in range(3)]
    assert sizes_squared == [2**2 + 1**2, 3**2 + 1**2, 3**2 + 1**2]


def test_every_form_of_request_has_its_form_of_answer(model: Model) -> None:
    handler = model.handler()
    values = [30, "tablet", 1.5]
    tensors = [
        {"name": "age", "data": [30, 1]},
        {"name": "device", "data": ["tablet"] * 2},
        {"name": "height", "data": [1.5, 0]},
    ]
    output = {"name": "output", "datatype": "FP32", "shape": [2], "data": [ANSWER, 3.0]}
    answers, statuses = ask(
        model,
        handler,
        [
            {"body": ROW},
            {"data": bytearray(json.dumps(values), "utf-8")},
            {"body": [values, ROW]},
            {"body": {"instances": [values]}},
            {"body": {"inputs": tensors}},
            {},
        ],
    )
    v2 = {"model_name": "m", "outputs": [output]}
    assert answers == [ANSWER, ANSWER, [ANSWER, ANSWER], {"predictions": [ANSWER]}, v2, []]
    assert statuses == [200] * 6
    assert observed(handler) == 7


def test_a_malformed_request_is_refused_and_the_others_answered(model: Model) -> None:
    handler = model.handler()
    answers, statuses = ask(
        model, handler, [{"body": ROW}, {"body": b"{"}, {"body": ROW}, {"body": [1]}, {"body": {"x": 1}}]
    )
    assert statuses == [200, 400, 200, 400, 400]
    assert answers[0] == answers[2] == ANSWER
    assert answers[3] == {"code": 400, "type": "BadRequest", "message": "a row must be 3 values, got 1"}
    shown = snapshot(handler)
    assert shown["rows_total"] == 2
    assert shown["rows_rejected"] == {"undecodable": 1, "not_features": 1, "wrong_length": 1, "wrong_shape": 0}


def test_a_batch_without_a_row_needs_no_model(model: Model) -> None:
    handler = model.handler()
    handler.model = None
    answers, statuses = ask(model, handler, [{"body": b"{"}, {}])
    assert (answers[0]["code"], answers[1], statuses) == (400, [], [400, 200])
    assert observed(handler) == 0


def test_under_an_envelope_there_are_more_rows_than_requests(model: Model) -> None:
    handler = model.handler()
    context = model.context()
    context.request_processor = [RequestProcessor({})]
    answers = handler.handle([ROW, [1], [2], [30, "tablet", 1.5]], context)
    assert [answers[0], answers[1]["code"], answers[2]["code"], answers[3]] == [ANSWER, 400, 400, ANSWER]


@pytest.mark.parametrize(
    "drift", [DRIFT, {"windows": "broken"}, {"baseline": "elsewhere"}], ids=["on", "off", "no baseline"]
)
def test_predictions_are_those_without_monitoring_byte_for_byte(model: Model, drift: Any) -> None:
    rng = np.random.default_rng(0)
    rows = rng.normal(0, 1e3, (200, 3)).tolist()
    rows[0][1], rows[1][2] = 1e300, -1e-300
    if (
        "baseline" not in drift
    ):  # numbers are no index of a category of this baseline, but of one without categories they are
        baseline({name: np.arange(9.0) for name in "abc"}).save(model.path / "baseline.safetensors")
    handler = model.handler(drift=drift)
    answers, _ = ask(model, handler, [{"body": row} for row in rows])
    with np.errstate(over="ignore"):
        expected = handler.model(torch.from_numpy(np.array(rows).astype(np.float32))).tolist()
    assert repr(answers) == repr(expected)


def test_the_model_s_random_numbers_are_left_alone(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    """A model that draws, seeded or not, draws what it would without monitoring."""

    def states() -> list[str]:
        kind, keys, *rest = np.random.get_state()
        return [repr(random.getstate()), repr((kind, keys.tolist(), rest)), repr(torch.get_rng_state().tolist())]

    monkeypatch.setattr(background, "_ROUND_SECONDS", 0.05)
    before = states()
    handler = model.handler(drift={**DRIFT, "evaluate_every": "1s"})
    for _ in range(20):
        ask(model, handler, [{"body": ROW}] * 20)
    report = wait_for("an evaluation", lambda: handler._monitor.report, 10)
    wait_for("another evaluation", lambda: handler._monitor.report is not report, 10)
    assert states() == before


@pytest.mark.parametrize(
    ("values", "wanted"),
    [
        ([None, "mobile", 1], 1.0),
        (["a", "mobile", 1], 1.0),
        ([1, "desktop", 1], 3.0),
        ([1, None, 1], 5.0),
        ([1, "unseen", 1], 5.0),
        ([1, ["list"], 1], 5.0),
        ([10**400, "mobile", 1], 3.4028234663852886e38 + 1),
    ],
    ids=range(7),
)
def test_the_model_gets_numbers_and_the_indices_of_categories(model: Model, values: Any, wanted: float) -> None:
    """Missing and mistyped numbers are NaN, other categories have the number of the known for their index."""
    assert ask(model, model.handler(), [{"body": values}])[0] == [pytest.approx(wanted)]


def test_another_form_of_input_is_the_handler_s_own_affair(model: Model) -> None:
    class Doubled(DriftHandler):
        def to_tensor(self, rows: Any) -> Any:
            return 2 * super().to_tensor(rows)

    assert ask(model, model.handler(Doubled), [{"body": ROW}])[0] == [2 * ANSWER]


BROKEN = {
    "settings": ({"windws": 1}, "unknown setting windws; known here: "),
    "not a section": ("x", "drift must be a section of settings, got 'x'"),
    "a bad value": ({**DRIFT, "min_rows": 0}, "min_rows must be an integer from 1 to 1000000000, got 0"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_bad_settings_are_logged_once_and_the_model_serves(
    model: Model, case: str, caplog: pytest.LogCaptureFixture
) -> None:
    drift, message = BROKEN[case]
    handler = model.handler(drift=drift)
    assert handler._monitor is None
    errors = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert len(errors) == 1
    assert errors[0].startswith(f"drift monitoring is off, the model serves without it: {message}")
    answers, statuses = ask(model, handler, [{"body": ROW}, {"body": b"?"}])
    assert (answers[0], statuses) == (ANSWER, [200, 400])


def test_what_is_monitored_is_one_line_of_the_log(model: Model, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "torchserve_drift")
    model.handler()
    (line,) = (message for message in logged(caplog) if message.startswith("drift monitoring is on"))
    assert line == (
        "drift monitoring is on: m 2.0, 3 features, windows 1h, metrics at 127.0.0.1:0; variation over time unknown, "
        "so rows are taken to be independent (to learn it: torchserve-drift baseline --time)"
    )


def test_a_cut_off_baseline_still_names_the_features(model: Model, caplog: pytest.LogCaptureFixture) -> None:
    path = model.path / "baseline.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    handler = model.handler()
    errors = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert len(errors) == 1
    assert errors[0].startswith("drift monitoring is off, the model serves without it: ")
    assert str(path) in errors[0]
    assert ask(model, handler, [{"body": ROW}]) == ([ANSWER], [200])
    assert handler.describe_handle() == {"drift": None}


@pytest.mark.parametrize("damage", ["garbage", "absent", "not a file name"])
def test_without_a_baseline_lists_of_numbers_are_served(
    model: Model, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = model.path / "baseline.safetensors"
    if damage == "garbage":
        path.write_bytes(b"garbage")
    elif damage == "absent":
        path.unlink()
    handler = model.handler(drift={"baseline": "a\0b"} if damage == "not a file name" else DRIFT)
    errors = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert len(errors) == 2
    assert errors[1].startswith("the baseline's features are not known, only lists of numbers can be served: ")
    answers, statuses = ask(
        model, handler, [{"body": [1, 2, 3, 4]}, {"body": {"instances": [[1, 1, 1, None]]}}, {"body": ROW}]
    )
    assert answers[:2] == [10.0, {"predictions": [3.0]}]
    assert statuses == [200, 200, 400]


@pytest.mark.parametrize("module", ["prometheus_client", "safetensors", "torchserve_drift.monitoring.monitor"])
def test_a_missing_dependency_is_logged_once_and_the_model_serves(
    model: Model, module: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    import sys

    importing = builtins.__import__

    def without(name: str, *args: Any, **kwargs: Any) -> Any:
        if name == module or name.startswith(module + "."):
            raise ModuleNotFoundError(f"No module named {module!r}", name=module)
        return importing(name, *args, **kwargs)

    for folder in ("port", "monitoring"):
        # The imports below bind new modules to the package: after the test it must have the old ones again.
        old = importlib.import_module(f"torchserve_drift.{folder}")
        monkeypatch.setattr(torchserve_drift, folder, old)
    for name in list(sys.modules):
        if name.startswith(("torchserve_drift.port", "torchserve_drift.monitoring", module)):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(builtins, "__import__", without)
    handler = model.handler()
    errors = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert len(errors) == 1
    assert module in errors[0]
    assert "pip install" in errors[0]
    assert ask(model, handler, [{"body": ROW}]) == ([ANSWER], [200])


@pytest.mark.parametrize(("rank", "watched"), [("0", True), ("", True), ("1", False), ("x", False)])
def test_one_rank_of_a_parallel_model_is_watched(
    model: Model, rank: str, watched: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("LOCAL_RANK", rank)
    handler = model.handler()
    assert (handler._monitor is not None) == watched
    assert ask(model, handler, [{"body": ROW}])[0] == [ANSWER]
    assert not logged(caplog)


def test_explanations_are_no_traffic(model: Model) -> None:
    class Explaining(DriftHandler):
        def explain_handle(self, data_preprocess: Any, raw_data: Any) -> Any:
            return data_preprocess.tolist()

    handler = model.handler(Explaining)
    assert ask(model, handler, [{"body": ROW}], {"explain": "True"})[0] == [[30.0, 2.0, 1.5]]
    assert observed(handler) == 0
    ask(model, handler, [{"body": ROW}])
    assert observed(handler) == 1


def test_the_description_is_the_latest_report_beside_the_handler_s_own(model: Model) -> None:
    class Described(BaseHandler):  # type: ignore[misc]
        description: Any = None

        def describe_handle(self) -> Any:
            return self.description

    class Both(DriftMixin, Described):
        """Monitoring before a handler that describes itself."""

    handler = model.handler(Both)
    ((found,), _) = ask(model, handler, [{}], {"describe": "True"})
    assert found == {"drift": None}
    handler._record_requests([{"body": ROW}] * 5)
    report = handler._monitor.evaluate()
    Described.description = {"labels": 3}
    ((found,), _) = ask(model, handler, [{}], {"describe": "True"})
    assert found == {"labels": 3, "drift": report.to_dict()}
    assert found["drift"]["model_version"] == "2.0"
    assert found["drift"]["windows"]["1h"]["rows"] == 5
    Described.description = "a text"
    assert handler.describe_handle() == "a text"


def test_what_a_fault_says_of_values_is_not_logged(model: Model, caplog: pytest.LogCaptureFixture) -> None:
    handler = model.handler()

    class Disclosing:
        """A value whose every use is an error that quotes it."""

        def __len__(self) -> int:
            raise TypeError("the customer is Ann Other")

    mixin = model.handler(type("Mine", (DriftMixin, Static), {}))
    mixin.preprocess(Disclosing())
    handler._monitor.observe({"age": Disclosing()})
    places = [line.partition(" in ")[2] for line in logged(caplog)]
    assert len(places) == 2
    assert all(".py:" in place for place in places)
    assert "Ann" not in caplog.text


def test_faults_of_monitoring_reach_no_prediction(
    model: Model, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    handler = model.handler()

    def broken(*_: Any) -> None:
        raise OSError("disk on fire")

    monkeypatch.setattr(handler._monitor.store, "append", broken)
    for _ in range(3):
        assert ask(model, handler, [{"body": ROW}])[0] == [ANSWER]
    assert logged(caplog) == ["drift monitoring, observe: OSError: disk on fire (counted, logged once)"]
    assert snapshot(handler)["errors"]["observe"] == 3


class Plain(BaseHandler):  # type: ignore[misc]
    def preprocess(self, data: Any, scale: float = 1.0, *, offset: float = 0.0) -> Any:
        return [("plain", len(data), scale, offset)]


class Static(BaseHandler):  # type: ignore[misc]
    @staticmethod
    def preprocess(data: Any, *extra: Any) -> Any:
        return ("static", data, extra)


class Asynchronous(BaseHandler):  # type: ignore[misc]
    async def preprocess(self, requests: Any, context: Any) -> Any:
        await asyncio.sleep(0)
        return ("asynchronous", requests, context)


def test_the_mixin_fits_any_preprocess(model: Model) -> None:
    data = [{"body": ROW}, {}, {"body": b"?"}]
    kinds = [type(base.__name__, (DriftMixin, base), {}) for base in (Plain, Static, Asynchronous)]
    plain, static, asynchronous = (model.handler(kind) for kind in kinds)
    assert plain.preprocess(data, 2.0, offset=3.0) == [("plain", 3, 2.0, 3.0)]
    name, same, extra = static.preprocess(data, 1, 2)
    assert (name, same is data, extra) == ("static", True, (1, 2))
    coroutine = asynchronous.preprocess(data, "context")
    assert asyncio.iscoroutine(coroutine)
    assert asyncio.run(coroutine) == ("asynchronous", data, "context")
    for handler in (plain, static, asynchronous):
        assert snapshot(handler)["rows_rejected"]["undecodable"] >= 1
    assert sum(int(h._monitor.store.writer.totals[fields.ROWS]) for h in (plain, static, asynchronous)) == 3


def test_the_mixin_leaves_data_of_any_kind_alone(model: Model, caplog: pytest.LogCaptureFixture) -> None:
    handler = model.handler(type("Mine", (DriftMixin, Static), {}))
    for data in (None, 5, [None], [object()], [{"data": b"\x89PNG"}], [np.zeros((2, 2))], torch.zeros(2, 2)):
        assert handler.preprocess(data)[1] is data
    assert snapshot(handler)["errors"]["decode"] == 2
    assert len(logged(caplog)) == 1


def test_the_mixin_before_preprocess_and_before_initialize(model: Model) -> None:
    mine = type("Mine", (DriftMixin, Plain), {})()
    assert mine.preprocess([{"body": ROW}]) == [("plain", 1, 1.0, 0.0)]
    assert mine.describe_handle() == {"drift": None}


class Micro(DriftHandler):
    def __init__(self) -> None:
        super().__init__()
        self.handle = MicroBatching(
            self, micro_batch_size=2, parallelism={"preprocess": 2, "inference": 2, "postprocess": 2}
        )


def test_micro_batches_in_several_threads_keep_their_answers(model: Model) -> None:
    handler = model.handler(Micro)
    requests: list[Any] = [{"body": [i, "mobile", 0]} for i in range(60)]
    for i in (1, 6, 31, 58):
        requests[i] = {"body": [i]}
    requests[10] = {"body": [[10, "mobile", 0]] * 3}
    wanted = [[10.0] * 3 if i == 10 else 400 if i in (1, 6, 31, 58) else float(i) for i in range(60)]
    for _ in range(5):
        answers, statuses = ask(model, handler, requests)
        assert [a["code"] if isinstance(a, dict) else a for a in answers] == wanted
        assert [i for i, status in enumerate(statuses) if status == 400] == [1, 6, 31, 58]
    assert observed(handler) == 5 * 58


def test_a_micro_batch_that_is_overtaken_keeps_its_answers(model: Model) -> None:
    """The second part is preprocessed before the first is postprocessed. Threads may do so; here they always do."""
    second = threading.Event()

    class Overtaken(Micro):
        def preprocess(self, data: Any) -> Any:
            prepared = super().preprocess(data)
            if data[0]["body"][0] == 2:
                second.set()
            return prepared

        def postprocess(self, data: Any) -> Any:
            assert second.wait(10)
            return super().postprocess(data)

    handler = model.handler(Overtaken)
    answers, statuses = ask(
        model,
        handler,
        [{"body": [0, "mobile", 0]}, {"body": [1]}, {"body": [2, "mobile", 0]}, {"body": [3, "mobile", 0]}],
    )
    assert statuses == [200, 400, 200, 200]
    assert (answers[0], answers[1]["code"], answers[2:]) == (0.0, 400, [2.0, 3.0])
