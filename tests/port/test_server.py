"""The server over real sockets: limits, deadlines, eviction, TLS, forks, and arbitrary bytes."""

from __future__ import annotations

import contextlib
import errno
import gzip
import http.client
import os
import re
import resource
import socket
import ssl
import threading
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from certificates import authorities, openssl
from snapshots import numeric, snapshot, usual
from torchserve_drift.errors import ConfigError
from torchserve_drift.port import connection as connection_module
from torchserve_drift.port.metrics.text import render
from torchserve_drift.port.server import Server

SECONDS = 10
GET = b"GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n"


@contextlib.contextmanager
def serving(snapshots=lambda: [usual()], port=0, limit=None, **options):
    server = Server("127.0.0.1", port, snapshots, **options)
    if limit is not None:
        server._limit = limit
    server.start()
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="module")
def server():
    with serving() as server:
        yield server


@contextlib.contextmanager
def client(server, **options):
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=SECONDS, **options)) as made:
        yield made


def dial(server):
    return socket.create_connection(("127.0.0.1", server.port), timeout=SECONDS)


def ask(connection, path="/metrics", method="GET", **headers):
    connection.request(method, path, headers=headers)
    answer = connection.getresponse()
    return answer, answer.read()


def fetch(server, path="/metrics"):
    with client(server) as connection:
        return ask(connection, path)[1]


def read_all(peer):
    received = b""
    with contextlib.suppress(ConnectionResetError):
        while chunk := peer.recv(65536):
            received += chunk
    return received


def statuses(received):
    return [int(status) for status in re.findall(rb"^HTTP/1\.1 (\d+) ", received, re.MULTILINE)]


def test_one_connection_serves_many_requests(server):
    with client(server) as connection:
        for path, method in [("/metrics", "GET"), ("/", "HEAD"), ("/none", "GET"), ("/metrics", "POST"), ("/", "GET")]:
            answer, body = ask(connection, path, method)
            assert answer.status == {"/none": 404}.get(path, 405 if method == "POST" else 200)
            assert (body == b"") == (method == "HEAD")
            assert answer.headers["Connection"] == "keep-alive"
            peer = connection.sock
            assert peer is not None
        answer, body = ask(connection, **{"Accept-Encoding": "gzip"})
        assert connection.sock is peer
        assert gzip.decompress(body) == render([usual()])[0]
        assert re.fullmatch(r"\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT", answer.headers["Date"])


def test_pipelined_requests_are_answered_in_order(server):
    with dial(server) as peer:
        peer.sendall(GET + b"GET /none HTTP/1.1\r\nHost: h\r\n\r\n" + GET.replace(b"1.1", b"1.0"))
        received = read_all(peer)
    assert statuses(received) == [200, 404, 200]


def test_a_client_that_closed_its_sending_side_still_gets_its_answer(server):
    with dial(server) as peer:
        peer.sendall(GET)
        peer.shutdown(socket.SHUT_WR)
        assert statuses(read_all(peer)) == [200]


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc", 413),
        (b"GET / HTTP/1.1\r\nHost: h\r\nX: " + b"x" * 9000 + b"\r\n\r\n", 431),
        (b"x" * 100_000, 431),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
    ],
)
def test_refused_requests_end_the_connection(server, request_bytes, status):
    with dial(server) as peer:
        peer.sendall(request_bytes)
        received = read_all(peer)
    assert statuses(received) == [status]
    assert b"\r\nConnection: close\r\n" in received


def test_a_refused_client_can_finish_sending_and_then_read_the_status(server):
    with dial(server) as peer:
        peer.sendall(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 20000000\r\n\r\n" + bytes(20_000_000))
        assert statuses(peer.recv(65536)) == [413]


@settings(deadline=None, max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.one_of(
        st.binary(max_size=300),
        st.from_regex(
            rb"(GET|HEAD) /[!-~]{0,9} HTTP/1\.[01]\r\n(\w{1,4}: [ -~\r\n]{0,20}\r\n){0,5}\r\n", fullmatch=True
        ),
    )
)
def test_any_bytes_are_answered_or_refused_and_the_port_goes_on(server, received):
    with dial(server) as peer, contextlib.suppress(ConnectionError):
        peer.sendall(received)
        peer.shutdown(socket.SHUT_WR)
        assert set(statuses(read_all(peer))) <= {200, 400, 404, 405, 413, 505}
    assert fetch(server, "/healthz") == b"ok\n"


def test_a_taken_port_is_an_error_and_a_stopped_one_is_free():
    with serving() as first:
        port = first.port
        second = Server("127.0.0.1", port, list)
        with pytest.raises(OSError, match="in use") as caught:
            second.start()
        assert caught.value.errno == errno.EADDRINUSE
        assert not second.running
        fetch(first)
    assert not first.running
    with serving(port=port) as third:
        assert third.port == port
        assert third.running


def test_ipv6():
    server = Server("::1", 0, list)
    try:
        server.start()
    except OSError:
        pytest.skip("this host has no IPv6")
    with contextlib.closing(http.client.HTTPConnection("::1", server.port, timeout=SECONDS)) as connection:
        assert ask(connection, "/healthz")[1] == b"ok\n"
    server.stop()


def test_stop_ends_all_connections_and_threads():
    before = set(threading.enumerate())
    server = Server("127.0.0.1", 0, list)
    server.stop()  # not started yet
    server.start()
    started = set(threading.enumerate()) - before
    assert {thread.daemon for thread in started} == {True}
    with contextlib.ExitStack() as stack:
        peers = [stack.enter_context(dial(server)) for _ in range(50)]
        fetch(server)
        began = time.monotonic()
        server.stop()
        assert time.monotonic() - began < 2
        assert [read_all(peer) for peer in peers] == [b""] * 50
    for thread in started:
        thread.join(SECONDS)
        assert not thread.is_alive()
    server.stop()


def test_a_thousand_idle_and_slow_clients_do_not_stop_a_scrape():
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    with serving(limit=2000) as server, contextlib.ExitStack() as stack:
        peers = [stack.enter_context(dial(server)) for _ in range(min(1000, files // 3))]
        for peer in peers[::2]:
            peer.sendall(b"GET /metrics HTTP/1.1\r\nX: slow")
        began = time.monotonic()
        assert fetch(server) == render([usual()])[0]
        assert time.monotonic() - began < 2


def test_a_full_port_closes_the_connection_that_kept_it_waiting_longest():
    with serving(limit=3) as server, contextlib.ExitStack() as stack:
        active, idle, _ = peers = [stack.enter_context(dial(server)) for _ in range(3)]
        for peer in peers:
            peer.sendall(GET)
            assert peer.recv(65536).startswith(b"HTTP/1.1 200")
        active.sendall(GET)
        assert active.recv(65536).startswith(b"HTTP/1.1 200")
        assert fetch(server, "/healthz") == b"ok\n"
        assert read_all(idle) == b""
        active.sendall(GET)
        assert active.recv(65536).startswith(b"HTTP/1.1 200")


def test_a_port_full_of_clients_that_wait_for_answers_refuses_more():
    release = threading.Event()

    def snapshots():
        assert release.wait(SECONDS)
        return [usual()]

    with serving(snapshots, limit=1) as server, dial(server) as first:
        first.sendall(GET.replace(b"/healthz", b"/metrics"))
        _wait_until(lambda: [c.waiting_since for c in list(server._connections)] == [None])
        with dial(server) as second:
            assert read_all(second) == b""
        release.set()
        assert statuses(first.recv(65536)) == [200]


def _wait_until(condition, seconds=SECONDS):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.002)


@pytest.mark.parametrize(
    ("name", "sent"),
    [
        ("HEAD_SECONDS", b""),
        ("HEAD_SECONDS", b"GET / HTTP/1.1\r\nHost"),
        ("IDLE_SECONDS", GET),
        ("IDLE_SECONDS", GET + b"G"),
    ],
)
def test_heads_have_a_deadline(monkeypatch, name, sent):
    monkeypatch.setattr(connection_module, name, 0.05)
    with serving() as server, dial(server) as peer:
        peer.sendall(sent)
        assert statuses(read_all(peer)) == [200] * sent.count(b"\r\n\r\n")


def test_a_client_that_does_not_read_is_cut_off_and_stops_nobody(monkeypatch):
    monkeypatch.setattr(connection_module, "ANSWER_SECONDS", 0.3)
    large = [snapshot([numeric("f" * 100_000 + str(i)) for i in range(40)])]
    with serving(lambda: large) as server, dial(server) as peer:
        peer.sendall(GET.replace(b"/healthz", b"/metrics"))
        _wait_until(lambda: [c.waiting_since is not None for c in list(server._connections)] == [True])
        assert fetch(server, "/healthz") == b"ok\n"
        _wait_until(lambda: not server._connections)
        assert len(read_all(peer)) < len(render(large)[0])


def test_slow_rendering_does_not_delay_other_connections():
    release, asked = threading.Event(), threading.Event()

    def snapshots():
        asked.set()
        assert release.wait(SECONDS)
        return [usual()]

    with serving(snapshots) as server, dial(server) as first, dial(server) as second:
        first.sendall(GET.replace(b"/healthz", b"/metrics"))
        assert asked.wait(SECONDS)
        second.sendall(b"nonsense\r\n\r\n")
        assert statuses(read_all(second)) == [400]
        release.set()
        assert statuses(first.recv(65536)) == [200]


def test_an_error_is_answered_with_500_and_logged_once(caplog):
    faults = [ValueError("no state"), ValueError("no state"), KeyError("x")]

    def snapshots():
        if faults:
            raise faults.pop(0)
        return [usual()]

    with serving(snapshots) as server, client(server) as connection:
        assert [ask(connection)[0].status for _ in range(4)] == [500, 500, 500, 200]
    assert [record.getMessage() for record in caplog.records if record.name == "torchserve_drift"] == [
        "error in the metrics port (answer): ValueError: no state (the port keeps running; logged once)",
        "error in the metrics port (answer): KeyError: 'x' (the port keeps running; logged once)",
    ]


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_forked_children_hold_neither_the_port_nor_its_clients():
    end, hold = os.pipe()
    server = Server("127.0.0.1", 0, lambda: [usual()])
    server.start()
    peer = dial(server)
    peer.sendall(GET)
    peer.recv(65536)
    child = os.fork()
    if child == 0:  # pragma: no cover # measured in the parent only
        with contextlib.suppress(BaseException):
            os.close(hold)
            server.stop()
            os.read(end, 1)
        os._exit(0)
    try:
        assert fetch(server, "/healthz") == b"ok\n"
        port = server.port
        server.stop()
        with peer:
            assert read_all(peer) == b""
        with serving(port=port) as successor:
            assert fetch(successor) == render([usual()])[0]
        assert os.waitpid(child, os.WNOHANG) == (0, 0)
    finally:
        os.close(hold)
        os.close(end)
        os.waitpid(child, 0)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    folder = tmp_path_factory.mktemp("certificates")
    authorities(folder)
    openssl(folder, "ec", "-in", "server.key", "-aes256", "-passout", "pass:secret", "-out", "locked.key")
    return folder


def tls_fetch(server, folder, name=None):
    context = ssl.create_default_context(cafile=folder / "ca.pem")
    if name is not None:
        context.load_cert_chain(folder / f"{name}.pem", folder / f"{name}.key")
    made = http.client.HTTPSConnection("127.0.0.1", server.port, context=context, timeout=SECONDS)
    with contextlib.closing(made) as connection:
        assert ask(connection, "/healthz")[1] == b"ok\n"
        return ask(connection)[1], connection.sock.version()


def tls_options(folder, client_ca=None):
    return {
        "certfile": str(folder / "server.pem"),
        "keyfile": str(folder / "server.key"),
        "client_ca": client_ca and str(folder / f"{client_ca}.pem"),
    }


def test_tls(certificates):
    with serving(**tls_options(certificates)) as server:
        body, version = tls_fetch(server, certificates)
        assert (body, version) == (render([usual()])[0], "TLSv1.3")
        with dial(server) as plain:
            plain.sendall(GET)
            assert statuses(read_all(plain)) == []
        assert server._tls.minimum_version == ssl.TLSVersion.TLSv1_2


def test_client_certificates_are_required(certificates):
    with serving(**tls_options(certificates, "ca")) as server:
        assert tls_fetch(server, certificates, "client")[0] == render([usual()])[0]
        for refused in (None, "stranger"):
            with pytest.raises(OSError, match=r".*"):
                tls_fetch(server, certificates, refused)
        assert tls_fetch(server, certificates, "client")[0] == render([usual()])[0]


def test_handshakes_have_a_deadline_and_count_as_connections(certificates, monkeypatch):
    monkeypatch.setattr(connection_module, "HEAD_SECONDS", 0.3)
    with serving(**tls_options(certificates)) as server, dial(server) as peer:
        _wait_until(lambda: len(server._connections) == 1)
        assert read_all(peer) == b""
        _wait_until(lambda: not server._connections)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"certfile": "none.pem"},
            "export.certfile and export.keyfile must be a certificate and its key in PEM .*none.pem.*",
        ),
        ({"certfile": "server.pem", "keyfile": "client.key"}, "export.certfile and export.keyfile must be .*"),
        ({"certfile": "server.pem", "keyfile": "locked.key"}, "export.certfile and export.keyfile must be .*"),
        (
            {"certfile": "server.pem", "keyfile": "server.key", "client_ca": "ca.key"},
            "export.client_ca must be .*ca.key.*",
        ),
    ],
)
def test_certificates_that_cannot_be_used(certificates, options, message):
    with pytest.raises(ConfigError, match=message) as caught:
        Server("127.0.0.1", 0, list, **{key: str(certificates / name) for key, name in options.items()})
    assert "\n" not in str(caught.value)
