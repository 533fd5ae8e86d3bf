"""From bytes to requests: parses request heads. Why not a library: docs/decisions/0019."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from torchserve_drift.port.response import PHRASES

LONGEST_HEAD_BYTES = 8192
"""The longest request line with headers that is read."""

_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_REQUEST_LINE = re.compile(rf"({_TOKEN}) ([!-~]+) HTTP/([0-9])\.([0-9])")
_HEADER = re.compile(rf"({_TOKEN}):[ \t]*([\t -~\x80-\xff]*?)[ \t]*")


class Request(NamedTuple):
    """A request without a body. The names in ``headers`` are in lower case."""

    method: str
    target: str
    headers: Mapping[str, str]
    keep_alive: bool


class RequestError(Exception):
    """A request that is refused: the port answers with ``status`` and closes the connection."""

    def __init__(self, status: int) -> None:
        super().__init__(PHRASES[status])
        self.status = status


def parse_head(head: bytes) -> Request:
    r"""The request in a head, which ends with an empty line.

    The parser accepts less than the standard allows: no folded headers, no lines that end with a line feed alone, no
    second Host or Content-Length, no body. Wherever programs read such heads differently, a proxy and this port could
    disagree on where a request ends, and requests could be smuggled past the proxy.

    Raises
    ------
    RequestError
        400 where the head is malformed, 413 where it announces a body, 505 where the protocol is not HTTP/1.

    References
    ----------
    RFC 9112, sections 2 to 6 and 11.2.

    Examples
    --------
    >>> parse_head(b"GET /metrics HTTP/1.1\r\nHost: here\r\n\r\n").target
    '/metrics'
    """
    line, *fields = head.decode("latin-1").removesuffix("\r\n\r\n").split("\r\n")
    match = _REQUEST_LINE.fullmatch(line)
    if match is None:
        raise RequestError(400)
    method, target, major, minor = match.groups()
    if major != "1":
        raise RequestError(505)
    headers = _parse_headers(fields)
    is_http_1_0 = minor == "0"
    if "host" not in headers and not is_http_1_0:
        raise RequestError(400)
    if "transfer-encoding" in headers or headers.get("content-length", "0").strip("0"):
        raise RequestError(413)
    options = {option.strip() for option in headers.get("connection", "").lower().split(",")}
    keep_alive = "keep-alive" in options if is_http_1_0 else "close" not in options
    return Request(method, target, headers, keep_alive)


def _parse_headers(fields: Sequence[str]) -> dict[str, str]:
    """Header lines to name and value; values of a repeated name are joined with commas."""
    headers: dict[str, str] = {}
    for field in fields:
        match = _HEADER.fullmatch(field)
        if match is None:
            raise RequestError(400)
        name = match[1].lower()
        if name in headers and name in ("host", "content-length"):
            raise RequestError(400)
        headers[name] = f"{headers[name]}, {match[2]}" if name in headers else match[2]
    return headers
