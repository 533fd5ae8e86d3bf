"""What a client of the port can and cannot do, and what the port never shows."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shutil
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from certificates import authorities
from local_handlers import ask, served
from servers import free_ports, prometheus, wait_for
from snapshots import usual
from torchserve_drift.port.metrics.text import render
from torchserve_drift.port.server import Server
from torchserve_drift.settings.settings import Settings

HERE = Path(__file__).parents[1]
SECONDS = 10


@contextlib.contextmanager
def serving(**options: Any) -> Iterator[Server]:
    server = Server("127.0.0.1", 0, lambda: [usual()], **options)
    server.start()
    try:
        yield server
    finally:
        server.stop()


def dial(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=SECONDS)


def fetch(port: int, path: str = "/metrics", method: str = "GET") -> tuple[int, bytes]:
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=SECONDS)) as connection:
        connection.request(method, path)
        answer = connection.getresponse()
        return answer.status, answer.read()


def test_the_port_is_open_only_to_this_host_by_default() -> None:
    assert Settings().export.host == "127.0.0.1"
    with serving() as server:
        assert server._socket.getsockname()[0] == "127.0.0.1"
        others = {info[4][0] for info in socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET)}
        for address in others - {"127.0.0.1", "127.0.1.1"}:
            with pytest.raises(OSError, match=r".*"):
                socket.create_connection((str(address), server.port), timeout=2)


# Files: requests read and write none

AUDITED = """\
import json, socket, sys
from snapshots import usual
from torchserve_drift.port.server import Server

events, listening = [], False
WATCHED = ("open", "os.", "shutil.", "subprocess.", "exec", "compile", "import", "glob.", "pathlib.", "pickle.")

def hook(event, arguments):
    if listening and event.startswith(WATCHED):
        events.append((event, str(arguments)[:200]))

def ask(data):
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as peer:
        peer.sendall(data)
        peer.shutdown(socket.SHUT_WR)
        received = b""
        try:
            while chunk := peer.recv(65536):
                received += chunk
        except ConnectionResetError:
            pass
        return received.decode("latin-1")

server = Server("127.0.0.1", 0, lambda: [usual()])
server.start()
warm = b"GET %s HTTP/1.1\\r\\nHost: h\\r\\nAccept-Encoding: gzip\\r\\nConnection: close\\r\\n\\r\\n"
for path in (b"/metrics", b"/", b"/api/v1/models", b"/none"):
    ask(warm % path)
ask(b"broken")
sys.addaudithook(hook)
listening = True
answers = [ask(bytes.fromhex(line)) for line in sys.stdin.read().split()]
listening = False
server.stop()
print(json.dumps({"answers": answers, "events": events}))
"""
SECRET = Path(__file__).read_text()[:60]
TRAVERSALS = [
    prefix + path
    for prefix in ("/", "/metrics/", "/api/v1/models/", "/api/v1/models/m/", "//", "/./", "file://", "/\\")
    for path in (
        "../" * 12 + "etc/passwd",
        "..%2f" * 12 + "etc%2fpasswd",
        "%2e%2e/" * 12 + "etc/passwd",
        "%252e%252e%252f" * 6 + "etc%252fpasswd",
        "..%c0%af" * 6 + "etc/passwd",
        "..%00/etc/passwd",
        "etc/passwd%00.html",
        "..;/..;/etc/passwd",
        "....//....//etc/passwd",
        "/etc/passwd",
        "proc/self/environ",
        str(Path(__file__))[1:],
        "?file=/etc/passwd",
        "%",
        "%zz",
        "*",
    )
]
METHODS = ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT", "PROPFIND", "MKCOL", "MOVE", "COPY", "LOCK",
           "PURGE", "BREW", "get", "Get", "HEADER", "GETS"]  # fmt: skip


def audited(requests: list[bytes]) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-c", AUDITED], input="\n".join(request.hex() for request in requests), capture_output=True,
        text=True, timeout=60, check=False, env={**os.environ, "PYTHONPATH": f"{HERE}:{HERE.parent / 'handler'}"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_no_path_and_no_method_reads_writes_or_runs_anything() -> None:
    """Python's audit events show that answering these requests opens, lists and changes no file."""
    gets = [f"GET {target} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n".encode() for target in TRAVERSALS]
    methods = [
        f"{method} {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n".encode()
        for method in METHODS
        for path in ("/metrics", "/", "/api/v1/models/m/1.0", "/new", "*")
    ]
    bodies = [
        f"{method} /metrics HTTP/1.1\r\nHost: h\r\n{header}\r\n\r\n5\r\nhello\r\n0\r\n\r\n".encode()
        for method in ("GET", "HEAD", "PUT", "POST")
        for header in ("Content-Length: 5", "Transfer-Encoding: chunked", "Content-Length: 5\r\nContent-Length: 0")
    ]
    upgrades = [
        b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close, Upgrade\r\nUpgrade: h2c\r\n\r\n",
        b"GET /\0 HTTP/1.1\r\nHost: h\r\n\r\n",
        b"GET /metrics HTTP/1.1\r\nHost: h\r\nX:\0\r\n\r\n",
    ]
    found = audited([*gets, *methods, *bodies, *upgrades])
    assert found["events"] == []
    statuses = [int(answer.split(" ", 2)[1]) for answer in found["answers"]]
    assert set(statuses[: len(gets)]) <= {200, 400, 404}
    assert set(statuses[len(gets) : len(gets) + len(methods)]) == {405}
    assert set(statuses[len(gets) + len(methods) : -3]) <= {400, 413}
    assert statuses[-3:] == [200, 400, 400]
    for answer in found["answers"]:
        assert "root:" not in answer
        assert SECRET not in answer
        assert "\r\nContent-Security-Policy: default-src 'none'; " in answer
        assert "\r\nX-Content-Type-Options: nosniff\r\n" in answer
    shown = [target for target, status in zip(TRAVERSALS, statuses) if status == 200]
    assert all("?" in target for target in shown)  # a query is not part of the path


def test_the_audit_would_have_seen_a_file() -> None:
    program = AUDITED.replace("lambda: [usual()]", "lambda: [usual()] + [] * len(open('/etc/hostname').read())")
    done = subprocess.run(
        [sys.executable, "-c", program], input=b"GET / HTTP/1.0\r\n\r\n".hex(), capture_output=True, text=True,
        timeout=60, check=True, env={**os.environ, "PYTHONPATH": f"{HERE}:{HERE.parent / 'handler'}"},
    )  # fmt: skip
    assert [event for event, _ in json.loads(done.stdout)["events"]] == ["open"]


# Slow and many clients do not stop a scrape


def test_dripping_idle_and_unreading_clients_do_not_stop_a_scrape() -> None:
    """A thousand connections: most are idle, some send a byte at a time, some request pages and read nothing."""
    ended = threading.Event()

    def drip(peers: list[socket.socket]) -> None:
        for byte in b"GET /metrics HTTP/1.1\r\nHost: h\r\nX: " + b"y" * 2000:
            for peer in peers:
                with contextlib.suppress(OSError):
                    peer.sendall(bytes([byte]))
            if ended.wait(0.01):
                return

    with serving() as server, contextlib.ExitStack() as stack:
        server._limit = 2000
        expected = render([usual()])[0]
        peers = [stack.enter_context(dial(server.port)) for _ in range(min(1000, server._limit))]
        for peer in peers[:50]:
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
            peer.sendall(b"GET /metrics HTTP/1.1\r\nHost: h\r\n\r\n" * 100)
        thread = threading.Thread(target=drip, args=(peers[50:250],))
        thread.start()
        seconds = []
        for _ in range(7):
            began = time.monotonic()
            assert fetch(server.port) == (200, expected)
            seconds.append(time.monotonic() - began)
        assert len(server._connections) >= 900  # all are still open
        ended.set()
        thread.join()
    assert sorted(seconds)[3] < 1


def test_more_clients_than_there_is_room_for_do_not_stop_a_scrape() -> None:
    with serving() as server, contextlib.ExitStack() as stack:
        server._limit = 100
        for _ in range(400):
            stack.enter_context(dial(server.port))
        assert fetch(server.port)[0] == 200
        assert len(server._connections) <= 100


# TLS


@pytest.mark.prometheus
@pytest.mark.skipif(shutil.which("prometheus") is None, reason="no prometheus on PATH")
def test_prometheus_scrapes_with_a_client_certificate_and_not_without(tmp_path: Path) -> None:
    authorities(tmp_path)
    own = {"cert_file": str(tmp_path / "client.pem"), "key_file": str(tmp_path / "client.key")}
    foreign = {"cert_file": str(tmp_path / "stranger.pem"), "key_file": str(tmp_path / "stranger.key")}
    ca, key = str(tmp_path / "ca.pem"), str(tmp_path / "server.key")
    with serving(certfile=str(tmp_path / "server.pem"), keyfile=key, client_ca=ca) as server:
        target = [f"127.0.0.1:{server.port}"]
        for extra, up in ((own, 1), (foreign, 0), ({}, 0)):
            tls = {"ca_file": ca, **extra}
            with prometheus(target, scheme="https", tls_config=tls) as scraper:
                assert wait_for("a scrape", lambda s=scraper: s.query("up"))[0][1] == up
                rows = scraper.value('torchserve_drift_rows_total{model_name="m"}')
                assert rows == (20 if up else None)


# Values of requests are shown nowhere

TEXT = "Zebra-7f3a"
NUMBER = 918273645.5463728
WHOLE = 77123456789012


def spellings(value: object) -> list[bytes]:
    if isinstance(value, str):
        return [value.encode(), value.encode("utf-16-le"), value.encode().hex().encode()]
    number = float(value)  # type: ignore[arg-type]
    packed = [struct.pack(f"{order}{kind}", number) for order in "<>" for kind in "df"]
    return [repr(value).encode(), f"{number:g}".encode(), f"{number:.3g}".encode(), repr(number).encode(), *packed]


MARKERS = [spelling for value in (TEXT, NUMBER, WHOLE) for spelling in spellings(value)]


def test_no_value_of_a_request_is_on_the_port_in_a_file_or_in_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (port,) = free_ports(1)
    drift = {
        "windows": ["1h", "300 rows"], "evaluate_every": "100ms", "state_dir": str(tmp_path / "state"),
        "export": {"address": f"127.0.0.1:{port}"},
    }  # fmt: skip
    requests: list[Any] = [
        {"age": NUMBER, "device": TEXT, "height": WHOLE},
        {"age": TEXT, "device": [TEXT], "height": {"x": TEXT}},
        {"age": 1, "device": TEXT * 30, "height": NUMBER, TEXT: NUMBER},
        [NUMBER, TEXT, WHOLE],
        [TEXT],
        {TEXT: TEXT},
        TEXT,
        NUMBER,
        f"{{{TEXT}",
        bytearray(f'{{"age": {TEXT}'.encode()),
        {"instances": [[NUMBER, TEXT, WHOLE], TEXT]},
        {"inputs": [{"name": TEXT, "data": [TEXT]}]},
        {"inputs": [{"name": "device", "data": [TEXT] * 3}, {"name": "age", "data": [NUMBER] * 3}]},
    ]
    usual_rows = [{"age": i % 90, "device": "tablet", "height": i} for i in range(400)]
    with served(tmp_path) as model:
        handler = model.handler(drift=drift)
        monitor = handler._monitor
        with monitor.store.writer.fold_lock:  # so that the background thread cannot fold
            ask(model, handler, [{"body": body} for body in (*requests, *usual_rows)])
            assert any(marker in content for content in files(tmp_path) for marker in spellings(NUMBER))
        monitor.observe({"device": [TEXT], "age": [TEXT], TEXT: [NUMBER]})
        monitor.observe({TEXT[::-1]: [TEXT]})
        rows = b'torchserve_drift_rows_total{model_name="m",model_version="2.0"} 408.0\n'
        wait_for("all rows on the port", lambda: rows in fetch(port)[1])
        paths = [
            "/metrics",
            "/",
            "/api/v1/models",
            "/api/v1/models/m",
            "/api/v1/models/m/2.0",
            "/none",
            f"/{TEXT[::-1]}",
        ]
        answers = [fetch(port, path)[1] for path in paths]
        description = json.dumps(handler.describe_handle()).encode()
        everywhere = [*answers, *files(tmp_path), description, caplog.text.encode()]
    assert b'category="tablet"' in answers[0]  # a category of the baseline
    assert b'category="__unseen__",feature="device",model_name="m",model_version="2.0"} 7.0' in answers[0]
    assert b'"drifted"' in answers[4]
    assert sum(TEXT.encode() in content for content in everywhere) == 0
    for content in everywhere:
        assert [marker for marker in MARKERS if marker in content] == []


def files(folder: Path) -> list[bytes]:
    """The content of every state file below ``folder``."""
    found = [path for path in folder.rglob("*") if path.is_file() and "model" not in path.relative_to(folder).parts[:1]]
    assert {path.suffix for path in found} >= {".segment"}
    return [path.read_bytes() for path in found]


def test_a_baseline_s_own_rows_are_on_no_page(tmp_path: Path) -> None:
    """The port shows a baseline's quantiles, categories and counts, but not its sample of training rows."""
    values = np.round(np.random.default_rng(8).normal(0, 1, 1000), 9)
    with served(tmp_path, {"x": values}) as model:
        handler = model.handler()
        shown = json.dumps(handler._monitor.snapshot())
    found = sum(repr(float(value)) in shown for value in values)
    assert found <= 1  # the maximum is a bound of the histogram
