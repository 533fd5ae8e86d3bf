"""Responses: status, headers and body, with the security headers that every response has."""

from __future__ import annotations

from typing import NamedTuple

from torchserve_drift.port.page.style import STYLE_SOURCE

PHRASES = {
    200: "OK",
    400: "Bad Request",
    404: "Not Found",
    405: "Method Not Allowed",
    413: "Content Too Large",
    431: "Request Header Fields Too Large",
    500: "Internal Server Error",
    505: "HTTP Version Not Supported",
}
"""Every status that the port can answer with."""

_SECURITY_HEADERS = (
    ("X-Content-Type-Options", "nosniff"),
    ("Content-Security-Policy", f"default-src 'none'; style-src '{STYLE_SOURCE}'; "
     "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"),
    ("Referrer-Policy", "no-referrer"),
    ("X-Frame-Options", "DENY"),
    ("Cache-Control", "no-store"),
)  # fmt: skip


class Response(NamedTuple):
    """``headers`` include the Content-Length; ``body`` is empty in a response to HEAD."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes


def response(status: int, content_type: str, body: bytes, *more_headers: tuple[str, str]) -> Response:
    """A response with its length, ``more_headers`` and the security headers."""
    headers = (
        ("Content-Type", content_type),
        ("Content-Length", str(len(body))),
        *more_headers,
        *_SECURITY_HEADERS,
    )
    return Response(status, headers, body)


def status_response(status: int, *more_headers: tuple[str, str]) -> Response:
    """A response whose body is one line of text that states its status."""
    line = "ok" if status == 200 else f"{status} {PHRASES[status]}"
    return response(status, "text/plain; charset=utf-8", f"{line}\n".encode(), *more_headers)
