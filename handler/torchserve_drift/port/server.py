"""The port: an HTTP/1.1 server on one daemon thread, that no client can slow down, fill up or bring down."""

from __future__ import annotations

import asyncio
import logging
import resource
import socket
import ssl
import threading
import time
from collections.abc import Sequence
from queue import SimpleQueue
from typing import Callable

from torchserve_drift.errors import ConfigError
from torchserve_drift.port.answers import Request, Responder, Response, plain
from torchserve_drift.port.connection import Connection
from torchserve_drift.port.snapshot import Snapshot
from torchserve_drift.window.process_lock import drop_in_children

CONNECTIONS = 2000
"""Open at once, or a quarter of the files the process may open: predictions need theirs."""

_log = logging.getLogger("torchserve_drift")


class Server:
    """Serves ``snapshots()`` on ``host:port``; thread-safe.

    ``start`` binds and ``stop`` releases the port, each from any thread. One thread reads and writes all connections,
    another makes the answers, one at a time; both are daemons. Forked children give up the port.

    Raises
    ------
    ConfigError
        Where the certificates cannot be used.
    """

    def __init__(
        self,
        host: str,
        port: int,
        snapshots: Callable[[], Sequence[Snapshot]],
        *,
        certfile: str | None = None,
        keyfile: str | None = None,
        client_ca: str | None = None,
    ) -> None:
        self._address = (host, port)
        self._tls = tls_context(certfile, keyfile, client_ca) if certfile else None
        self._respond = Responder(snapshots, _let_others_run)
        self._warned: set[tuple[str, type]] = set()
        self._limit = min(CONNECTIONS, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 4)
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Bind and serve; OSError where the address cannot be had."""
        self._socket = _bound(*self._address)
        self._loop = asyncio.SelectorEventLoop()
        self._loop.set_exception_handler(self._on_loop_error)
        self._requests: SimpleQueue[tuple[Request, asyncio.Future[Response]] | None] = SimpleQueue()
        self._connections: dict[Connection, asyncio.Task[None]] = {}
        self._accepting = self._loop.create_task(self._accept())
        self._thread = threading.Thread(target=self._run, name="torchserve-drift-port", daemon=True)
        drop_in_children(self)
        threading.Thread(target=self._answer, name="torchserve-drift-answers", daemon=True).start()
        self._thread.start()

    @property
    def port(self) -> int:
        """The port that is served, also where 0 was asked for."""
        return int(self._socket.getsockname()[1])

    @property
    def running(self) -> bool:
        """Whether the port is held."""
        return self._thread is not None and self._thread.is_alive()

    def stop(self) -> None:
        """Close the port and all connections; returns once they are closed. Does nothing where not started."""
        thread, self._thread = self._thread, None
        if thread is not None and thread.is_alive():
            self._loop.call_soon_threadsafe(self._accepting.cancel)
            thread.join(5)

    def _run(self) -> None:
        try:
            self._loop.run_until_complete(self._accepting)
        except asyncio.CancelledError:
            pass
        except Exception as error:  # noqa: BLE001 # whoever waits for the port takes over
            self._warn("port", error)
        finally:
            self._requests.put(None)
            self._socket.close()
            self._loop.close()

    async def _accept(self) -> None:
        try:
            while True:
                try:
                    accepted, _ = await self._loop.sock_accept(self._socket)
                except OSError as error:  # such as too many open files
                    self._warn("accept", error)
                    self._evict()
                    await asyncio.sleep(0.1)
                else:
                    self._admit(accepted)
        finally:
            await self._hang_up()

    def _admit(self, accepted: socket.socket) -> None:
        if len(self._connections) >= self._limit and not self._evict():
            accepted.close()
            return
        connection = Connection(accepted, self._tls, self._answered)
        task = self._connections[connection] = self._loop.create_task(connection.serve())
        task.add_done_callback(lambda task: self._ended(connection, task))

    def _ended(self, connection: Connection, task: asyncio.Task[None]) -> None:
        self._connections.pop(connection, None)
        if task.cancelled():  # perhaps before it began
            connection.socket.close()

    def _evict(self) -> bool:
        """Hang up on whoever has kept us waiting the longest, so that a newcomer such as the next scrape is served."""
        waiting = [connection for connection in self._connections if connection.waiting_since is not None]
        if not waiting:
            return False
        longest = min(waiting, key=lambda connection: connection.waiting_since or 0.0)
        self._connections.pop(longest).cancel()
        return True

    async def _hang_up(self) -> None:
        tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _answered(self, request: Request) -> asyncio.Future[Response]:
        future: asyncio.Future[Response] = self._loop.create_future()
        self._requests.put((request, future))
        return future

    def _answer(self) -> None:
        for request, future in iter(self._requests.get, None):
            try:
                response = self._respond(request)
            except Exception as error:  # noqa: BLE001 # one bad answer must not end all others
                self._warn("answer", error)
                response = plain(500)
            try:
                self._loop.call_soon_threadsafe(_settle, future, response)
            except RuntimeError:  # the loop was closed meanwhile
                return

    def _on_loop_error(self, _: asyncio.AbstractEventLoop, context: dict[str, object]) -> None:
        error = context.get("exception")
        self._warn("connection", error if isinstance(error, BaseException) else RuntimeError(context.get("message")))

    def _warn(self, kind: str, error: BaseException) -> None:
        if (kind, type(error)) not in self._warned:
            self._warned.add((kind, type(error)))
            _log.warning("the port of metrics goes on after a fault (%s): %s: %s", kind, type(error).__name__, error)

    def drop_in_child(self) -> None:
        # only the descriptors: the loop's own are shared with the parent, which goes on using them
        self._thread = None
        self._socket.close()
        for connection in list(self._connections):
            connection.socket.close()


def tls_context(certfile: str, keyfile: str | None, client_ca: str | None) -> ssl.SSLContext:
    """TLS 1.2 or newer with our certificate; with ``client_ca``, only for clients with a certificate it signed."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(certfile, keyfile, password=lambda: "")  # an encrypted key must not ask the terminal
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"export.certfile and export.keyfile must be a certificate and its key in PEM without a password, "
            f"got {certfile!r} and {keyfile!r} ({error})"
        ) from error
    if client_ca is not None:
        try:
            context.load_verify_locations(client_ca)
        except (OSError, ValueError) as error:
            raise ConfigError(f"export.client_ca must be certificates in PEM, got {client_ca!r} ({error})") from error
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def _bound(host: str, port: int) -> socket.socket:
    family, kind, protocol, _, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(1024)
        listener.setblocking(False)
    except OSError:
        listener.close()
        raise
    return listener


def _settle(future: asyncio.Future[Response], response: Response) -> None:
    if not future.done():
        future.set_result(response)


def _let_others_run() -> None:
    time.sleep(0.0001)  # 0 would often take the interpreter lock back before a waiting request has woken
