"""`status` with a real metrics port, with other servers, and with no server."""

from __future__ import annotations

import json
import socket
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from snapshots import check, found, numeric, report, snapshot, usual, window
from torchserve_drift.cli import main
from torchserve_drift.port.server import Server


@pytest.fixture
def port():
    models = [usual()]
    server = Server("127.0.0.1", 0, lambda: models)
    server.start()
    server.models = models
    yield server
    server.stop()


def status(capsys, port, *options):
    with pytest.raises(SystemExit) as caught:
        main(["status", f"http://127.0.0.1:{port}", *options])
    output = capsys.readouterr()
    return caught.value.code, output.out, output.err


@pytest.fixture(autouse=True)
def _wide_terminal(monkeypatch):
    monkeypatch.setenv("COLUMNS", "160")


def cells(line):
    return [cell.strip() for cell in line.replace("┃", "│").split("│")[1:-1]]


def test_the_table(port, capsys):
    code, out, err = status(capsys, port.port)
    lines = out.splitlines()
    assert (code, err) == (0, "")
    assert lines[0].strip() == "m 1.0  evaluated 2026-11-23 02:52:03Z"
    assert [cells(line) for line in lines if "│" in line or "┃" in line] == [
        ["feature", "importance", "10m", "1h", "drifted since"],
        ["rows", "", "12", "5,120", ""],
        ["state", "", "too few rows", "drifted", ""],
        ["score", "", "0", "0.75", ""],
        ["age", "0.5", "", "drifted ks p=1e-46 (ks, mean)", "2026-11-23 02:51:03Z"],
        ["device", "0.5", "", "chi2 p=0.4", ""],
    ]


def test_json_is_the_list_of_reports(port, capsys):
    port.models.append(snapshot(model_name="a/b ☃"))
    code, out, err = status(capsys, port.port, "--json")
    reports = json.loads(out)
    assert (code, err) == (0, "")
    assert reports[0] == usual()["report"]
    assert (reports[1]["model_name"], reports[1]["evaluated_at"]) == ("a/b ☃", None)


def test_models_before_their_first_evaluation_and_no_models(port, capsys):
    port.models[:] = [snapshot(model_name="new")]
    assert status(capsys, port.port)[1] == "new 1.0  not evaluated yet\n"
    port.models.clear()
    assert status(capsys, port.port)[1] == "No model with drift monitoring has started yet.\n"


def test_names_cannot_steer_the_terminal(port, capsys):
    name = "[red]x[/red] \x1b[2J \u202e"
    drifted = {"1h": found(True, ks=check(0.001, 0.5, True))}
    port.models[:] = [snapshot([numeric(name)], report({"1h": window("drifted")}, {name: drifted}))]
    out = status(capsys, port.port)[1]
    assert "[red]x[/red] �[2J �" in out
    assert not {"\x1b", "\u202e"} & set(out)


def test_no_server_answers(capsys):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        code, out, err = status(capsys, port)
    assert (code, out) == (2, "")
    assert err == f"torchserve-drift: no answer from http://127.0.0.1:{port}: [Errno 111] Connection refused\n"


@pytest.mark.parametrize("url", ["file:///etc", "127.0.0.1:8083", ""])
def test_only_http_is_asked(url, capsys):
    with pytest.raises(SystemExit) as caught:
        main(["status", url])
    assert caught.value.code == 2
    assert capsys.readouterr().err == f"torchserve-drift: URL must start with http:// or https://, got {url!r}\n"


@pytest.mark.parametrize("body", [b"<html>", b"{}x", b"3", b'["m"]', b'[{"model_name": "m"}]', b'{"a": 1}', b"{}"])
def test_another_server_answers(capsys, body):
    class Other(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            """Log nothing."""

    with HTTPServer(("127.0.0.1", 0), Other) as other:
        thread = threading.Thread(target=other.serve_forever, args=(0.01,))
        thread.start()
        try:
            code, out, err = status(capsys, other.server_port)
        finally:
            other.shutdown()
            thread.join()
    assert (code, out) == (2, "")
    assert err == (
        f"torchserve-drift: http://127.0.0.1:{other.server_port} must be the metrics port of torchserve-drift, "
        "got another answer\n"
    )


def test_a_port_that_answers_an_error(port, capsys):
    port.models[:] = [{}]
    code, out, err = status(capsys, port.port)
    assert (code, out) == (2, "")
    assert err == f"torchserve-drift: no reports from http://127.0.0.1:{port.port}: 500 Internal Server Error\n"
