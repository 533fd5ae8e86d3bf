"""Responses with a cache: unchanged snapshots are rendered once per format."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Callable

from torchserve_drift.port.answers import accepts_gzip, path_segments, respond
from torchserve_drift.port.metrics.text import content_type_for
from torchserve_drift.port.request import Request
from torchserve_drift.port.response import Response
from torchserve_drift.port.snapshot import Snapshot
from torchserve_drift.window.pacing import NO_PAUSE, Pace


class Responder:
    """`respond` with a cache of the metrics and the page of the latest snapshots. Not thread-safe.

    Equal snapshots get the cached response, so a snapshot must not be changed after ``snapshots`` has returned it.
    """

    def __init__(self, snapshots: Callable[[], Sequence[Snapshot]], paced: Pace = NO_PAUSE) -> None:
        self._snapshots = snapshots
        self._paced = paced
        self._rendered_snapshots: list[Snapshot] = []
        self._cache: dict[tuple[str, ...], Response] = {}

    def __call__(self, request: Request) -> Response:
        """The response to a request."""
        segments = path_segments(request.target)
        if request.method != "GET" or segments not in (["metrics"], [""]):
            return respond(request.method, request.target, request.headers, self._snapshots, self._paced)
        snapshots = list(self._snapshots())
        if snapshots != self._rendered_snapshots:
            self._rendered_snapshots, self._cache = snapshots, {}
        # everything of a request that these responses depend on; the query is not
        content_type = content_type_for(request.headers.get("accept", ""))
        compressed = accepts_gzip(request.headers.get("accept-encoding", ""))
        key = (segments[0], content_type, str(compressed))
        if key not in self._cache:
            self._cache[key] = respond("GET", "/" + segments[0], request.headers, lambda: snapshots, self._paced)
        return self._cache[key]
