"""Arbitrary requests: answers equal those of the same handler without monitoring, and monitoring has no fault."""

from __future__ import annotations

import importlib
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from baselines import baseline
from hostile_bodies import BODIES
from local_handlers import DRIFT, Model, row_of, sent_back, served
from processes import resident_bytes
from torchserve_drift import Monitor
from torchserve_drift.features.encoding import RowEncoder
from torchserve_drift.features.schema import LONGEST_CATEGORY, Feature
from torchserve_drift.features.tabular import LARGEST_REQUEST, TabularDecoder
from torchserve_drift.port.answers import respond

NAMES = ('say "hi"', "line\nbreak", "</script><script>alert(1)</script>", "🙂", "instances' ] }", "age")
COLUMNS = {
    **{name: np.arange(400.0) for name in NAMES[::2]},
    **{name: ["a", 'b"\n', "</script>", "🙂"] * 100 for name in NAMES[1::2]},
}
OFF = {**DRIFT, "windows": "never"}
"""A setting that is refused, so that the model is served without monitoring."""


class Pair:
    """The same model with and without monitoring."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self.watched, self.plain = model.handler(), model.handler(drift=OFF)
        assert self.watched._monitor is not None
        assert self.plain._monitor is None

    def check(self, requests: list[Any]) -> bytes:
        """Check that both send back the same bytes and no fault is counted; return the bytes."""
        sent = sent_back(self.model, self.watched, requests)
        assert sent == sent_back(self.model, self.plain, requests)
        monitor = self.watched._monitor
        monitor.store.writer.fold()
        assert not any(monitor.snapshot()["errors"].values())
        return sent


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    with served(tmp_path_factory.mktemp("fuzz"), COLUMNS) as model:
        pair = Pair(model)
        yield pair
        assert pair.watched._monitor.evaluate().windows["1h"].rows > 0
        shown = respond("GET", "/metrics", {}, lambda: [pair.watched._monitor.snapshot()])
        assert shown.status == 200


SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(st.characters(codec=None, exclude_categories=()), max_size=8),
    st.sampled_from([10**400, -(10**400), 1e308, -0.0, 5e-324, 2**53 + 1, "a", "</script>", "x" * 300, "\ud800", ""]),
)
JSON = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=7)
        | st.dictionaries(st.sampled_from([*NAMES, "instances", "inputs", "data", "name", "x"]), inner, max_size=7)
    ),
    max_leaves=25,
)
ROWS = st.fixed_dictionaries(dict.fromkeys(NAMES, SCALARS)) | st.lists(SCALARS, min_size=6, max_size=6)
TENSORS = st.lists(
    st.fixed_dictionaries(
        {"name": st.sampled_from([*NAMES, "input"]) | SCALARS, "data": st.lists(SCALARS, max_size=12) | JSON}
    ),
    max_size=6,
)
DECODED = st.one_of(
    JSON,
    ROWS,
    st.lists(ROWS, max_size=4),
    st.fixed_dictionaries({"instances": st.lists(ROWS, max_size=4) | JSON}),
    st.fixed_dictionaries({"inputs": TENSORS}),
)
TYPES = st.sampled_from(["application/json", "text/plain", "application/octet-stream", ""])


@st.composite
def _edited(draw: st.DrawFn) -> bytes:
    """JSON with a few bytes changed, cut out or put in."""
    body = bytearray(json.dumps(draw(DECODED)), "utf-8")
    for _ in range(draw(st.integers(0, 3))):
        start = draw(st.integers(0, len(body)))
        body[start : start + draw(st.integers(0, 4))] = draw(
            st.binary(max_size=3) | st.sampled_from([b"[", b"}", b'"', b"1e999", b"NaN", b"\xff", b"\\ud800"])
        )
    return bytes(body)


BYTES = st.one_of(st.binary(max_size=60), st.sampled_from([body for body in BODIES if len(body) < 10_000]), _edited())
REQUESTS = st.one_of(
    st.builds(row_of, BYTES, TYPES),
    st.fixed_dictionaries({"body": DECODED}),
    st.fixed_dictionaries({"data": DECODED}),
    st.fixed_dictionaries({"data": BYTES.map(bytearray)}),
    DECODED,  # under a service envelope
    st.just({}),
)


@settings(max_examples=400, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(st.lists(REQUESTS, min_size=1, max_size=5))
def test_any_batch_is_answered_as_without_monitoring(pair: Pair, requests: list[Any]) -> None:
    pair.check(requests)


@pytest.mark.parametrize("content_type", ["application/json", "text/plain", ""])
def test_hostile_bodies_are_answered_as_without_monitoring(pair: Pair, content_type: str) -> None:
    for body in BODIES:
        pair.check([row_of(body, content_type)])


def test_rows_of_the_model_are_answered_with_numbers(pair: Pair) -> None:
    """A handler that refuses everything would pass the tests above."""
    row = {name: 1.5 if i % 2 == 0 else "🙂" for i, name in enumerate(NAMES)}
    before = pair.watched._monitor.snapshot()["rows_total"]
    assert pair.check([{"body": row}, {"body": b"?"}]).count(b"13.5") == 1  # three numbers, three times index 3
    assert pair.watched._monitor.snapshot()["rows_total"] == before + 1


@pytest.mark.parametrize("open_", ["[", '{"age":', '{"instances":[', '[{"inputs":'])
def test_nesting_of_any_depth_is_answered_as_without_monitoring(pair: Pair, open_: str) -> None:
    decoded: Any = None
    for _ in range(100_000):  # deeper than any parser makes it
        decoded = {"age": decoded} if open_ == '{"age":' else [decoded]
    pair.check([{"body": decoded}, {"body": open_ * 50_000}, {"body": bytearray((open_ * 900).encode())}])


def test_a_huge_text_is_hashed_and_never_kept(pair: Pair) -> None:
    huge = "é" * 5_000_000
    row = dict.fromkeys(NAMES, huge)
    before = resident_bytes(os.getpid())
    sent = pair.check([{"body": row}, {"body": json.dumps([row] * 2)}, {"body": {huge: 1}}, {"body": huge}])
    assert len(sent) < 3000
    monitor = pair.watched._monitor
    assert resident_bytes(os.getpid()) - before < 160 << 20  # for the request itself, which is not freed yet
    state = b"".join(path.read_bytes() for path in monitor.directory.rglob("*") if path.is_file())
    assert "é".encode() * (LONGEST_CATEGORY + 1) not in state
    assert huge[: LONGEST_CATEGORY + 1] not in json.dumps(monitor.snapshot(), ensure_ascii=False)


def test_a_few_bytes_never_become_rows_without_end() -> None:
    names = [Feature(f"f{i}", "numeric") for i in range(1000)]
    decoder = TabularDecoder(RowEncoder(names))
    most = LARGEST_REQUEST // 1000
    bombs = [
        [{}] * (most + 1),
        {"instances": [{}] * (most + 1)},
        {"inputs": [{"name": "f7", "data": [1] * (most + 1)}]},
        {"inputs": [{"name": "f7", "data": [[1] * most, [1]]}]},
    ]
    for body in bombs:
        batch = decoder.decode([{"body": body}, {"body": {"f1": 5}}])
        refusal = batch.requests[0].refusal
        assert refusal is not None
        assert (refusal.reason, refusal.message) == (
            "wrong_length",
            f"a request must have at most {most} rows, got {most + 1}",
        )
        assert batch.rows.shape == (1, 1000)
    assert decoder.decode([{"body": [{}] * 100}]).rows.shape == (100, 1000)
    wide = TabularDecoder.of_numbers([{"body": [1] * 3_000_000}])
    assert len(wide.encoder.names) == 100_000


def test_names_that_a_client_used_come_back_to_it_shortened() -> None:
    decoder = TabularDecoder(RowEncoder([Feature("a", "numeric")]))
    (request,) = decoder.decode([{"body": {"n" * 1_000_000: 1, "m": 2}}]).requests
    assert request.refusal is not None
    assert request.refusal.message == f"an object must hold features of the baseline, got {['m', 'n' * 100]!r}"


@pytest.mark.slow
def test_a_new_category_in_each_of_ten_million_rows_takes_no_memory_and_no_labels(tmp_path: Path) -> None:
    """One category of a thousand is longer than the longest label."""
    watching = Monitor(baseline({"city": ["Rome", "Oslo"] * 250}), {"windows": ["1h", "5000 rows"]}, directory=tmp_path)
    chunk, chunks = 100_000, 100

    def send(part: int) -> None:
        cities = np.arange(part * chunk, (part + 1) * chunk).astype(str).astype(object)
        cities[::1000] += "x" * LONGEST_CATEGORY
        watching.observe({"city": cities})

    def series() -> int:
        watching.evaluate()
        return respond("GET", "/metrics", {}, lambda: [watching.snapshot()]).body.count(b"\n")

    def disk() -> int:
        return sum(path.stat().st_blocks for path in tmp_path.rglob("*") if path.is_file())

    for part in range(5):
        send(part)
    before, lines, blocks = resident_bytes(os.getpid()), series(), disk()
    most = before
    for part in range(5, chunks):
        send(part)
        most = max(most, resident_bytes(os.getpid()))
    assert (series(), disk()) == (lines, blocks)
    assert most - before < 16 << 20
    shown = watching.snapshot()
    assert shown["rows_total"] == shown["features"][0]["unseen"] == chunk * chunks
    assert not any(shown["errors"].values())
    watching.stop()


def test_a_new_name_in_every_request_takes_no_memory_and_no_labels(pair: Pair) -> None:
    def send(count: int) -> None:
        for number in range(count):
            pair.watched.preprocess([{"body": {"age": "a", f"column {number}": number}}])
            pair.watched._batches.clear()

    monitor = pair.watched._monitor
    send(2000)
    before, unknown = resident_bytes(os.getpid()), monitor.snapshot()["values_unknown"]
    send(20_000)
    monitor.store.writer.fold()
    assert monitor.snapshot()["values_unknown"] == unknown + 20_000
    assert resident_bytes(os.getpid()) - before < 8 << 20
    assert "column 7" not in json.dumps(monitor.snapshot())


@pytest.mark.parametrize("target", ["bodies", "baseline", "http", "settings"])
def test_what_the_fuzzer_begins_with_keeps_its_promises(target: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """`scripts/fuzz` starts from these seeds."""
    monkeypatch.setattr(sys, "path", [str(Path(__file__).parents[2] / "scripts"), *sys.path])
    seeds, check = importlib.import_module("fuzz_bytes.targets").TARGETS[target]()
    for seed in seeds:
        check(seed)
        check(seed[: len(seed) // 2])
