"""Requests to answers, as functions of the snapshots; no path ever reads a file."""

from __future__ import annotations

import gzip
import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, Callable, NamedTuple
from urllib.parse import unquote

from torchserve_drift.port.metrics.text import accepted, render
from torchserve_drift.port.page.page import STYLE_SOURCE, page
from torchserve_drift.port.snapshot import Snapshot

LONGEST_HEAD = 8192
"""Bytes of a request's line and headers."""

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
_SECURITY = (
    ("X-Content-Type-Options", "nosniff"),
    ("Content-Security-Policy", f"default-src 'none'; style-src '{STYLE_SOURCE}'; "
     "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"),
    ("Referrer-Policy", "no-referrer"),
    ("X-Frame-Options", "DENY"),
    ("Cache-Control", "no-store"),
)  # fmt: skip
_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_LINE = re.compile(rf"({_TOKEN}) ([!-~]+) HTTP/([0-9])\.([0-9])")
_HEADER = re.compile(rf"({_TOKEN}):[ \t]*([\t -~\x80-\xff]*?)[ \t]*")


class Request(NamedTuple):
    """A request without a body; names of ``headers`` in lower case."""

    method: str
    target: str
    headers: Mapping[str, str]
    keep_alive: bool


class Response(NamedTuple):
    """An answer; ``headers`` include its Content-Length, ``body`` is empty for HEAD."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes


class RequestError(Exception):
    """A request that is answered with ``status`` and a closed connection."""

    def __init__(self, status: int) -> None:
        super().__init__(PHRASES[status])
        self.status = status


def parse(head: bytes) -> Request:
    r"""The request in a head that ends with an empty line.

    Raises
    ------
    RequestError
        400 where it is malformed, 413 where it announces a body, 505 where it is not HTTP/1.

    Examples
    --------
    >>> parse(b"GET /metrics HTTP/1.1\r\nHost: here\r\n\r\n").target
    '/metrics'
    """
    line, *fields = head.decode("latin-1").removesuffix("\r\n\r\n").split("\r\n")
    match = _LINE.fullmatch(line)
    if match is None:
        raise RequestError(400)
    if match[3] != "1":
        raise RequestError(505)
    headers = _headers(fields)
    if match[4] != "0" and "host" not in headers:
        raise RequestError(400)
    if "transfer-encoding" in headers or headers.get("content-length", "0").strip("0"):
        raise RequestError(413)
    tokens = {token.strip() for token in headers.get("connection", "").lower().split(",")}
    keep_alive = "close" not in tokens if match[4] != "0" else "keep-alive" in tokens
    return Request(match[1], match[2], headers, keep_alive)


def _headers(fields: Sequence[str]) -> dict[str, str]:
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


def respond(
    method: str,
    target: str,
    headers: Mapping[str, str],
    snapshots: Callable[[], Sequence[Snapshot]],
    pause: Callable[[], None] = lambda: None,
) -> Response:
    """The answer to any request, whatever its target; ``headers`` with names in lower case."""
    if method not in ("GET", "HEAD"):
        return plain(405, ("Allow", "GET, HEAD"))
    parts = _path(target)
    if parts == ["healthz"]:
        response = plain(200)
    elif parts in (["metrics"], [""]) or (parts[:3] == ["api", "v1", "models"] and len(parts) <= 5):
        response = _shown(parts, headers, snapshots(), pause)
    else:
        response = plain(404)
    return response if method == "GET" else response._replace(body=b"")


def _shown(
    parts: Sequence[str], headers: Mapping[str, str], snapshots: Sequence[Snapshot], pause: Callable[[], None]
) -> Response:
    """The answer from all snapshots; one that was damaged on its way here hides no other."""
    try:
        return _answer(parts, headers, snapshots, pause)
    except Exception:  # whatever a damaged snapshot makes of the code that shows it; raised again if none is
        sound = [snapshot for snapshot in snapshots if _is_sound(snapshot)]
        if not sound or len(sound) == len(snapshots):
            raise
        return _answer(parts, headers, sound, pause)


def _answer(
    parts: Sequence[str], headers: Mapping[str, str], snapshots: Sequence[Snapshot], pause: Callable[[], None]
) -> Response:
    if parts == ["metrics"]:
        return _metrics(headers, snapshots, pause)
    if parts == [""]:
        return _response(200, "text/html; charset=utf-8", page(snapshots))
    return _api(parts[3:], snapshots)


def _is_sound(snapshot: Snapshot) -> bool:
    """Whether everything that is shown of a snapshot can be."""
    try:
        render([snapshot])
        page([snapshot])
        _json([_report(snapshot), _summary(snapshot)])
        return all(isinstance(snapshot[key], str) for key in ("model_name", "model_version"))
    except Exception:  # noqa: BLE001 - it may be anything
        return False


def plain(status: int, *more: tuple[str, str]) -> Response:
    """An answer of one line that says its status."""
    body = "ok" if status == 200 else f"{status} {PHRASES[status]}"
    return _response(status, "text/plain; charset=utf-8", f"{body}\n".encode(), *more)


def gzip_accepted(header: str) -> bool:
    """Whether an Accept-Encoding header allows gzip.

    Examples
    --------
    >>> gzip_accepted("br, gzip;q=0.5"), gzip_accepted("gzip;q=0"), gzip_accepted("")
    (True, False, False)
    """
    for clause in header.lower().split(","):
        coding, _, parameter = clause.partition(";")
        if coding.strip() == "gzip":
            return re.fullmatch(r"\s*q\s*=\s*0(\.0*)?\s*", parameter) is None
    return False


def _path(target: str) -> list[str]:
    """The decoded segments of a target: one of "/" for the root, none that a file system could ever see."""
    path = re.sub(r"^https?://[^/?#]*", "", target, flags=re.IGNORECASE)
    path = re.split("[?#]", path, maxsplit=1)[0] or "/"
    return [unquote(part, errors="replace") for part in path[1:].split("/")] if path.startswith("/") else []


def _response(status: int, content_type: str, body: bytes, *more: tuple[str, str]) -> Response:
    headers = (("Content-Type", content_type), ("Content-Length", str(len(body))), *more, *_SECURITY)
    return Response(status, headers, body)


def _metrics(headers: Mapping[str, str], snapshots: Sequence[Snapshot], pause: Callable[[], None]) -> Response:
    body, content_type = render(snapshots, headers.get("accept", ""), pause)
    more = [("Vary", "Accept, Accept-Encoding")]
    if gzip_accepted(headers.get("accept-encoding", "")):
        body = gzip.compress(body, compresslevel=1, mtime=0)
        more.append(("Content-Encoding", "gzip"))
    return _response(200, content_type, body, *more)


def _api(parts: Sequence[str], snapshots: Sequence[Snapshot]) -> Response:
    """All models, all versions of one, or the report of one version."""
    found = [
        snapshot
        for snapshot in snapshots
        if all(part == str(own) for part, own in zip(parts, (snapshot["model_name"], snapshot["model_version"])))
    ]
    if parts and not found:
        return plain(404)
    answer = _report(max(found, key=_evaluated)) if len(parts) == 2 else [_summary(snapshot) for snapshot in found]
    return _response(200, "application/json", _json(answer))


def _evaluated(snapshot: Snapshot) -> float:
    return snapshot["last_evaluation_timestamp_seconds"]


def _report(snapshot: Snapshot) -> Mapping[str, Any]:
    if snapshot["report"] is not None:
        return snapshot["report"]
    return {
        "model_name": snapshot["model_name"],
        "model_version": snapshot["model_version"],
        "evaluated_at": None,
        "baseline_sha256": snapshot["baseline"]["sha256"],
        "windows": {},
        "features": [],
    }


def _summary(snapshot: Snapshot) -> Mapping[str, Any]:
    report = _report(snapshot)
    keys = ("model_name", "model_version", "evaluated_at", "windows")
    drifted = [f["name"] for f in report["features"] if any(w["drifted"] for w in f["windows"].values())]
    return {**{key: report[key] for key in keys}, "drifted_features": drifted}


def _json(value: object) -> bytes:
    try:
        return (json.dumps(value, allow_nan=False) + "\n").encode()
    except ValueError:
        return (json.dumps(_finite(value), allow_nan=False) + "\n").encode()


def _finite(value: Any) -> Any:
    """The value with ``None`` for the numbers that JSON does not have."""
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


class Responder:
    """`respond` with a memory of the pages of the newest snapshots. Not thread-safe.

    A snapshot must not be changed once it has been handed out: equal snapshots get the page made before.
    """

    def __init__(self, snapshots: Callable[[], Sequence[Snapshot]], pause: Callable[[], None] = lambda: None) -> None:
        self._snapshots = snapshots
        self._pause = pause
        self._seen: list[Snapshot] = []
        self._pages: dict[tuple[str, ...], Response] = {}

    def __call__(self, request: Request) -> Response:
        parts = _path(request.target)
        if request.method != "GET" or parts not in (["metrics"], [""]):
            return respond(request.method, request.target, request.headers, self._snapshots, self._pause)
        snapshots = list(self._snapshots())
        if snapshots != self._seen:
            self._seen, self._pages = snapshots, {}
        encoding = str(gzip_accepted(request.headers.get("accept-encoding", "")))
        key = (parts[0], accepted(request.headers.get("accept", "")), encoding)
        if key not in self._pages:
            self._pages[key] = respond("GET", "/" + parts[0], request.headers, lambda: snapshots, self._pause)
        return self._pages[key]
