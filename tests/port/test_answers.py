"""From requests to responses, without a socket."""

from __future__ import annotations

import gzip
import json
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from snapshots import check, found, hostile, report, snapshot, usual, window
from torchserve_drift.port.answers import accepts_gzip, respond
from torchserve_drift.port.metrics.text import render
from torchserve_drift.port.page.page import page
from torchserve_drift.port.response import PHRASES

MODELS = [usual(), usual(model_version="2.0"), snapshot(model_name="a/b c")]
SECURITY = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
    "Cache-Control": "no-store",
}


def get(target, method="GET", models=MODELS, **headers):
    return respond(method, target, {name.replace("_", "-"): value for name, value in headers.items()}, lambda: models)


def test_metrics_and_page():
    assert get("/metrics").body == render(MODELS)[0]
    assert get("/metrics?name[]=x#y").body == render(MODELS)[0]
    assert get("http://host:1/metrics").body == render(MODELS)[0]
    assert get("/metrics", accept="application/openmetrics-text").body.endswith(b"# EOF\n")
    assert get("/").body == get("http://host").body == page(MODELS)
    assert get("/healthz").body == b"ok\n"


def test_metrics_are_compressed_where_that_is_accepted():
    response = get("/metrics", accept_encoding="deflate, gzip;q=1.0")
    assert gzip.decompress(response.body) == render(MODELS)[0]
    assert dict(response.headers)["Content-Encoding"] == "gzip"
    assert dict(response.headers)["Content-Length"] == str(len(response.body))
    assert "Content-Encoding" not in dict(get("/metrics", accept_encoding="gzip;q=0").headers)


@pytest.mark.parametrize(
    ("header", "expected"),
    [("gzip", True), ("GZIP ; q=0.1", True), ("gzip;q=0.000", False), ("xgzip", False), ("identity", False)],
)
def test_gzip_by_accept_encoding(header, expected):
    assert accepts_gzip(header) == expected


def test_the_list_of_models():
    listed = json.loads(get("/api/v1/models").body)
    assert [(model["model_name"], model["model_version"]) for model in listed] == [
        ("m", "1.0"),
        ("m", "1.0"),
        ("a/b c", "1.0"),
    ]
    assert listed[0] == {
        "model_name": "m",
        "model_version": "1.0",
        "evaluated_at": 1795402323.0,
        "windows": {
            "10m": {"rows": 12, "sample_rows": 12, "state": "too_few_rows", "score": 0.0},
            "1h": {"rows": 5120, "sample_rows": 4096, "state": "drifted", "score": 0.75},
        },
        "drifted_features": ["age"],
    }


def test_versions_and_reports_of_a_model():
    assert len(json.loads(get("/api/v1/models/m").body)) == 2
    assert json.loads(get("/api/v1/models/m/1.0").body) == usual()["report"]
    assert json.loads(get("/api/v1/models/a%2Fb%20c/1.0").body) == {
        "model_name": "a/b c",
        "model_version": "1.0",
        "evaluated_at": None,
        "baseline_sha256": "ab" * 32,
        "windows": {},
        "features": [],
    }


def test_numbers_that_json_lacks_are_null():
    infinite = snapshot(report=report({"1h": window()}, {"f": {"1h": found(ks=check(0.5, float("inf")))}}))
    checks = json.loads(get("/api/v1/models/m/1.0", models=[infinite]).body)["features"][0]["windows"]["1h"]["checks"]
    assert checks["ks"] == {
        "p_value": 0.5,
        "statistic": None,
        "effect": None,
        "alpha": 1e-7,
        "min_effect": 0.1,
        "failed": False,
    }


@pytest.mark.parametrize(
    "target",
    [
        "/api/v1/models/none",
        "/api/v1/models/m/3.0",
        "/api/v1/models/m/1.0/x",
        "/api/v1",
        "/metrics/",
        "//metrics",
        "/../etc/passwd",
        "/etc/passwd",
        "/%2e%2e/%2e%2e/etc/passwd",
        "*",
        "metrics",
        "/METRICS",
    ],
)
def test_everything_else_is_not_found(target):
    assert get(target).status == 404


def test_other_methods_are_not_allowed():
    for method in ("POST", "PUT", "DELETE", "OPTIONS", "TRACE", "get", "CONNECT"):
        response = get("/metrics", method)
        assert (response.status, dict(response.headers)["Allow"]) == (405, "GET, HEAD")


def test_head_is_get_without_its_body():
    for target in ("/metrics", "/", "/api/v1/models", "/healthz", "/none"):
        assert get(target, "HEAD") == get(target)._replace(body=b"")


def test_health_does_not_need_the_snapshots():
    def broken():
        raise AssertionError

    assert respond("GET", "/healthz", {}, broken).status == 200


@settings(deadline=None, max_examples=100)
@given(
    method=st.one_of(st.sampled_from(["GET", "HEAD", "POST"]), st.text(max_size=5)),
    target=st.one_of(
        st.text(max_size=30), st.from_regex(r"/(api/v1/models/?)?(%[0-9a-f]{2}|[a-z/?#.])*", fullmatch=True)
    ),
    headers=st.dictionaries(st.sampled_from(["accept", "accept-encoding", "host"]), st.text(max_size=20)),
    snapshots=st.lists(hostile(), max_size=2),
)
def test_any_request_gets_a_safe_answer(method, target, headers, snapshots):
    response = respond(method, target, headers, lambda: snapshots)
    assert response.status in PHRASES
    assert dict(response.headers).items() >= SECURITY.items()
    assert dict(response.headers)["Content-Security-Policy"].startswith("default-src 'none'; style-src 'sha256-")
    assert len(dict(response.headers)) == len(response.headers)
    assert all(re.fullmatch(r"[ -~]+", text) for header in response.headers for text in header)
    if method != "HEAD":
        assert dict(response.headers)["Content-Length"] == str(len(response.body))
