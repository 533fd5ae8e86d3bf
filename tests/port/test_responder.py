"""The cache of responses: which responses are rendered once, and which are rendered again."""

from __future__ import annotations

from snapshots import usual
from torchserve_drift.port.metrics.text import render
from torchserve_drift.port.page.page import page
from torchserve_drift.port.request import Request
from torchserve_drift.port.responder import Responder


def _request(target="/metrics", method="GET", **headers):
    return Request(method, target, headers, True)


def test_equal_snapshots_are_rendered_once_per_format():
    responder = Responder(lambda: [usual()])  # equal every time, but never the same
    first = responder(_request())
    assert responder(_request("/metrics?x")) is first
    assert responder(_request(accept="application/openmetrics-text")).body.endswith(b"# EOF\n")
    assert responder(_request(**{"accept-encoding": "gzip"})).body[:2] == b"\x1f\x8b"
    assert responder(_request("/")).body == page([usual()])
    assert responder(_request(method="HEAD")) == first._replace(body=b"")
    assert responder(_request()) is first


def test_new_snapshots_are_rendered():
    models = [usual(rows_total=1)]
    responder = Responder(lambda: models)
    before = responder(_request()).body
    models[0] = usual(rows_total=2)
    assert before != responder(_request()).body == render(models)[0]
