"""From requests to responses, as pure functions of the snapshots. No request makes the port read a file."""

from __future__ import annotations

import gzip
import re
from collections.abc import Mapping, Sequence
from typing import Callable
from urllib.parse import unquote

from torchserve_drift.port.json_api import models_response, report_of, summary_of, to_json
from torchserve_drift.port.metrics.text import render
from torchserve_drift.port.page.page import page
from torchserve_drift.port.response import Response, response, status_response
from torchserve_drift.port.snapshot import Snapshot
from torchserve_drift.window.pacing import NO_PAUSE, Pace


def respond(
    method: str,
    target: str,
    headers: Mapping[str, str],
    snapshots: Callable[[], Sequence[Snapshot]],
    paced: Pace = NO_PAUSE,
) -> Response:
    """The response to a request with any target. The names in ``headers`` are in lower case.

    ``snapshots`` is called only where the response depends on it; ``paced`` wraps the loop over metrics' samples.
    """
    if method not in ("GET", "HEAD"):
        return status_response(405, ("Allow", "GET, HEAD"))
    segments = path_segments(target)
    if segments == ["healthz"]:
        found = status_response(200)
    elif segments in (["metrics"], [""]) or (segments[:3] == ["api", "v1", "models"] and len(segments) <= 5):
        found = _response_from_sound_snapshots(segments, headers, snapshots(), paced)
    else:
        found = status_response(404)
    return found if method == "GET" else found._replace(body=b"")


def path_segments(target: str) -> list[str]:
    """The decoded segments of a target's path, ``[""]`` for the root and ``[]`` where there is no path.

    Segments are only ever compared with names; they never reach a file system.

    Examples
    --------
    >>> path_segments("http://host/api/v1/models/a%2Fb?x#y"), path_segments("*")
    (['api', 'v1', 'models', 'a/b'], [])
    """
    path = re.sub(r"^https?://[^/?#]*", "", target, flags=re.IGNORECASE)
    path = re.split("[?#]", path, maxsplit=1)[0] or "/"
    return [unquote(part, errors="replace") for part in path[1:].split("/")] if path.startswith("/") else []


def accepts_gzip(header: str) -> bool:
    """Whether an Accept-Encoding header allows gzip.

    Examples
    --------
    >>> accepts_gzip("br, gzip;q=0.5"), accepts_gzip("gzip;q=0"), accepts_gzip("")
    (True, False, False)
    """
    for clause in header.lower().split(","):
        coding, _, parameter = clause.partition(";")
        if coding.strip() == "gzip":
            return re.fullmatch(r"\s*q\s*=\s*0(\.0*)?\s*", parameter) is None
    return False


def _response_from_sound_snapshots(
    segments: Sequence[str], headers: Mapping[str, str], snapshots: Sequence[Snapshot], paced: Pace
) -> Response:
    """The response from all snapshots, or, if one of them is damaged, from those that are not."""
    try:
        return _response_from(segments, headers, snapshots, paced)
    except Exception:  # a damaged snapshot can raise anything; if none is damaged, the error is raised again
        sound = [snapshot for snapshot in snapshots if _is_sound(snapshot)]
        if not sound or len(sound) == len(snapshots):
            raise
        return _response_from(segments, headers, sound, paced)


def _response_from(
    segments: Sequence[str], headers: Mapping[str, str], snapshots: Sequence[Snapshot], paced: Pace
) -> Response:
    if segments == ["metrics"]:
        return _metrics_response(headers, snapshots, paced)
    if segments == [""]:
        return response(200, "text/html; charset=utf-8", page(snapshots))
    return models_response(segments[3:], snapshots)


def _is_sound(snapshot: Snapshot) -> bool:
    """Whether the snapshot can be shown in every form."""
    try:
        render([snapshot])
        page([snapshot])
        to_json([report_of(snapshot), summary_of(snapshot)])
        return all(isinstance(snapshot[key], str) for key in ("model_name", "model_version"))
    except Exception:  # noqa: BLE001 - a damaged snapshot can raise anything
        return False


def _metrics_response(headers: Mapping[str, str], snapshots: Sequence[Snapshot], paced: Pace) -> Response:
    body, content_type = render(snapshots, headers.get("accept", ""), paced)
    more_headers = [("Vary", "Accept, Accept-Encoding")]
    if accepts_gzip(headers.get("accept-encoding", "")):
        # level 1: the page is repetitive, and a higher level costs more time than it saves bytes
        body = gzip.compress(body, compresslevel=1, mtime=0)
        more_headers.append(("Content-Encoding", "gzip"))
    return response(200, content_type, body, *more_headers)
