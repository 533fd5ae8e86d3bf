"""The targets: each gives seeds, and a check that raises if a promise is broken."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence

import numpy as np
import yaml

from baselines import baseline
from hostile_bodies import BODIES
from snapshots import usual
from torchserve_drift.baseline import artifact
from torchserve_drift.errors import BaselineError, ConfigError
from torchserve_drift.features.encoding import RowEncoder
from torchserve_drift.features.tabular import TabularDecoder
from torchserve_drift.monitoring.monitor import Monitor
from torchserve_drift.port.request import RequestError, parse_head
from torchserve_drift.port.responder import Responder
from torchserve_drift.port.response import PHRASES
from torchserve_drift.settings.settings import Settings

Check = Callable[[bytes], None]
BASELINE = baseline({"age": np.arange(50.0), "amount": np.arange(50.0), "city": ["Rome", "Oslo"] * 25})


def _hold(promise: bool, found: object) -> None:
    if not promise:
        raise AssertionError(found)


def bodies() -> tuple[Sequence[bytes], Check]:
    """A body is decoded to rows or refused, is recorded without a fault, and changes no other request of its batch."""
    watching = Monitor(BASELINE, {"windows": ["1h"]})
    decoder = TabularDecoder(RowEncoder(BASELINE.schema))
    neighbour = {"body": {"age": 7, "amount": 8, "city": "Oslo"}}

    def check(data: bytes) -> None:
        for request in ({"body": bytearray(data)}, {"data": data.decode("utf-8", "replace")}):
            batch = decoder.decode([neighbour, request, neighbour])
            assert batch.rows.shape == (sum(each.rows for each in batch.requests), 3)
            assert batch.rows[0].tolist() == batch.rows[-1].tolist() == [7.0, 8.0, 0.0]
            watching.record(batch.rows)
        watching.store.writer.fold()
        assert not any(watching.snapshot()["errors"].values())

    return [body for body in BODIES if len(body) < 20_000], check


def baselines() -> tuple[Sequence[bytes], Check]:
    """A file with a right digest gives an error, or a baseline that is written as it was read."""
    good = artifact.to_bytes(BASELINE)

    def check(data: bytes) -> None:
        if len(data) >= 132:
            blank = data[:68] + b"0" * 64 + data[132:]
            data = data[:68] + hashlib.sha256(blank).hexdigest().encode() + data[132:]
        try:
            found = artifact.from_bytes(data, "b")
        except BaselineError as error:
            _hold("\n" not in str(error), error)
        else:
            _hold(artifact.from_bytes(artifact.to_bytes(found), "b").schema == found.schema, found)

    return [good, good[:500], b""], check


def http() -> tuple[Sequence[bytes], Check]:
    """A request head is refused, or answered with a known status and with all security headers."""
    respond = Responder(lambda: [usual()])

    def check(data: bytes) -> None:
        try:
            request = parse_head(data)
        except RequestError as error:
            _hold(error.status in PHRASES, error)
            return
        response = respond(request)
        assert response.status in PHRASES
        assert dict(response.headers)["Content-Security-Policy"].startswith("default-src 'none'")

    paths = ("/metrics", "/", "/api/v1/models/m/1.0", "/healthz", "/../%2e%2e/etc/passwd", "http://h/metrics?x#y")
    fields = b"Host: h\r\nAccept: application/openmetrics-text;q=0.5\r\nAccept-Encoding: gzip;q=1\r\nConnection: close"
    return [b"GET %s HTTP/1.1\r\n%s\r\n\r\n" % (path.encode(), fields) for path in paths], check


def settings() -> tuple[Sequence[bytes], Check]:
    """A section of settings gives settings, or an error of bounded length."""

    def check(data: bytes) -> None:
        try:
            section = yaml.load(data, yaml.CSafeLoader)
        except (yaml.YAMLError, ValueError, RecursionError, TypeError):
            return
        try:
            Settings.from_mapping(section)
        except ConfigError as error:
            _hold(len(str(error)) <= 1000, error)

    whole = {"windows": ["10m", "5 rows"], "alarms": {"policy": "budget", "min_effect": {"ks": 0.1}}, "export": {}}
    return [json.dumps(whole).encode(), b"a: &a [x]\nwindows: [*a, *a]", b"features: {age: {mean_shift: 5}}"], check


TARGETS: dict[str, Callable[[], tuple[Sequence[bytes], Check]]] = {
    "bodies": bodies,
    "baseline": baselines,
    "http": http,
    "settings": settings,
}
