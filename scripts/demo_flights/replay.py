"""Sends flights as HTTP requests, one flight each, over a few connections that stay open."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

from demo_flights.flights import Flight, features

CONNECTIONS = 4


def replay(server: str, model: str, flights: Sequence[Flight]) -> tuple[list[float], float]:
    """The predicted probability for each flight, in order, and the median time of a request in seconds."""
    host = urlsplit(server).netloc
    with ThreadPoolExecutor(CONNECTIONS) as pool:
        parts = pool.map(lambda i: _send(host, model, flights[i::CONNECTIONS]), range(CONNECTIONS))
        answers: list[tuple[float, float]] = [(0.0, 0.0)] * len(flights)
        for i, part in enumerate(parts):
            answers[i::CONNECTIONS] = part
    spans = sorted(span for _, span in answers)
    return [probability for probability, _ in answers], spans[len(spans) // 2]


def _send(host: str, model: str, flights: Sequence[Flight]) -> list[tuple[float, float]]:
    connection = http.client.HTTPConnection(host, timeout=60)
    answers = []
    for flight in flights:
        began = time.perf_counter()
        body = json.dumps(features(flight))
        connection.request("POST", f"/predictions/{model}", body, {"Content-Type": "application/json"})
        response = connection.getresponse()
        content = response.read()
        if response.status != 200:
            raise RuntimeError(f"TorchServe answered {response.status}: {content.decode(errors='replace')[:500]}")
        answer = json.loads(content)
        answers.append((float(answer[0] if isinstance(answer, list) else answer), time.perf_counter() - began))
    connection.close()
    return answers
