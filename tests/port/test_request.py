"""Request heads: which are requests, and which are refused with which status."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from torchserve_drift.port.request import Request, RequestError, parse_head


def test_a_head_becomes_a_request():
    head = b"GET /metrics HTTP/1.1\r\nHost: h\r\nAccept:  a \r\naccept: b\r\nX-Empty:\r\n\r\n"
    assert parse_head(head) == Request("GET", "/metrics", {"host": "h", "accept": "a, b", "x-empty": ""}, True)


@pytest.mark.parametrize(
    ("version", "connection", "keep_alive"),
    [("1.1", "", True), ("1.1", "upgrade, Close", False), ("1.0", "", False), ("1.0", "Keep-Alive", True)],
)
def test_keep_alive(version, connection, keep_alive):
    head = f"GET / HTTP/{version}\r\nHost: h\r\nConnection: {connection}\r\n\r\n"
    assert parse_head(head.encode()).keep_alive == keep_alive


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"\r\n\r\n", 400),
        (b"GET /\r\n\r\n", 400),
        (b"GET  / HTTP/1.1\r\nHost: h\r\n\r\n", 400),
        (b"GET /a b HTTP/1.1\r\nHost: h\r\n\r\n", 400),
        (b"GET /\x80 HTTP/1.1\r\nHost: h\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: h\r\nHost: i\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost : h\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: h\r\n folded\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: h\r\nX: a\nb: c\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: h\r\nX: \x00\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\nContent-Length: 5\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\n", 413),
        (b"GET / HTTP/1.1\r\nHost: h\r\nContent-Length: x\r\n\r\n", 413),
        (b"GET / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n", 413),
        (b"GET / HTTP/1.1\nHost: h\n\n", 400),
        (b"GET / HTTP/1.1\r\nHost: h\r\nX: a\rb: c\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\nContent-Length: 0\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", 413),
        (b"PRI * HTTP/2.0\r\n\r\n", 505),
        (b"GET / HTTP/0.9\r\n\r\n", 505),
    ],
)
def test_heads_that_are_refused(head, status):
    with pytest.raises(RequestError) as caught:
        parse_head(head)
    assert caught.value.status == status


@settings(max_examples=300)
@given(
    st.one_of(
        st.binary(max_size=60),
        st.from_regex(rb"(GET|P?) ?/[ -~]{0,9} HTTP/1\.[01]\r\n([ -~\r]{0,20}\r\n)*", fullmatch=True),
    )
)
def test_any_head_is_a_request_or_refused(head):
    try:
        request = parse_head(head + b"\r\n\r\n")
    except RequestError:
        return
    assert re.fullmatch("[!-~]+", request.method + request.target)
