"""The port: an HTTP/1.1 server that no client can slow down, fill up or stop.

Why it is not a library: docs/decisions/0019.
"""

from __future__ import annotations

import asyncio
import logging
import resource
import socket
import threading
from collections.abc import Sequence
from queue import SimpleQueue
from typing import Callable

from torchserve_drift.port.connection import Connection
from torchserve_drift.port.listener import listening_socket, tls_context
from torchserve_drift.port.request import Request
from torchserve_drift.port.responder import Responder
from torchserve_drift.port.response import Response, status_response
from torchserve_drift.port.snapshot import Snapshot
from torchserve_drift.window.pacing import Pacer
from torchserve_drift.window.process_lock import drop_in_children

MOST_CONNECTIONS = 2000
"""The most open connections. They are also limited to a quarter of the files that the process may open, because the
model needs files too."""

_STOP_SECONDS = 5
_RETRY_ACCEPT_SECONDS = 0.1
_logger = logging.getLogger("torchserve_drift")


class Server:
    """Serves ``snapshots()`` on ``host:port``. Thread-safe.

    One thread reads and writes all connections; another makes the responses, one at a time. Both are daemons. A forked
    child gives up the port and all connections.

    Raises
    ------
    ConfigError
        When the certificates cannot be used.
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
        self._respond = Responder(snapshots, Pacer())
        self._logged: set[tuple[str, type]] = set()
        self._limit = min(MOST_CONNECTIONS, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 4)
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Bind the port and serve it from threads of its own; OSError where the address cannot be bound."""
        self._socket = listening_socket(*self._address)
        # made directly: the process may have set an event loop policy for its own work, such as uvloop's
        self._loop = asyncio.SelectorEventLoop()
        self._loop.set_exception_handler(self._on_loop_error)
        self._requests: SimpleQueue[tuple[Request, asyncio.Future[Response]] | None] = SimpleQueue()
        self._connections: dict[Connection, asyncio.Task[None]] = {}
        self._accepting = self._loop.create_task(self._accept_connections())
        self._thread = threading.Thread(target=self._run_loop, name="torchserve-drift-port", daemon=True)
        drop_in_children(self)
        threading.Thread(target=self._answer_requests, name="torchserve-drift-answers", daemon=True).start()
        self._thread.start()

    @property
    def port(self) -> int:
        """The number of the port that is served, also where port 0 stood for any free one."""
        return int(self._socket.getsockname()[1])

    @property
    def running(self) -> bool:
        """Whether the port is being served."""
        return self._thread is not None and self._thread.is_alive()

    def stop(self) -> None:
        """Close the port and all connections, and return once they are closed. No effect if not started."""
        thread, self._thread = self._thread, None
        if thread is not None and thread.is_alive():
            self._loop.call_soon_threadsafe(self._accepting.cancel)
            thread.join(_STOP_SECONDS)

    # The port's thread

    def _run_loop(self) -> None:
        try:
            self._loop.run_until_complete(self._accepting)
        except asyncio.CancelledError:
            pass
        except Exception as error:  # noqa: BLE001 # another process, or this one again, takes the port over
            self._log_once("port", error)
        finally:
            self._requests.put(None)
            self._socket.close()
            self._loop.close()

    async def _accept_connections(self) -> None:
        try:
            while True:
                try:
                    accepted, _ = await self._loop.sock_accept(self._socket)
                except OSError as error:  # such as too many open files
                    self._log_once("accept", error)
                    self._evict_longest_waiting()
                    await asyncio.sleep(_RETRY_ACCEPT_SECONDS)
                else:
                    self._admit(accepted)
        finally:
            await self._close_connections()

    def _admit(self, accepted: socket.socket) -> None:
        if len(self._connections) >= self._limit and not self._evict_longest_waiting():
            accepted.close()
            return
        connection = Connection(accepted, self._tls, self._enqueue)
        task = self._connections[connection] = self._loop.create_task(connection.serve())
        task.add_done_callback(lambda task: self._forget(connection, task))

    def _forget(self, connection: Connection, task: asyncio.Task[None]) -> None:
        self._connections.pop(connection, None)
        if task.cancelled():  # it may not have begun, and then nothing else closes its socket
            connection.socket.close()

    def _evict_longest_waiting(self) -> bool:
        """Close the connection that has kept the server waiting longest. Return whether there was one.

        A new client, such as the next scrape, matters more than a client that neither sends nor reads.
        """
        waiting = [connection for connection in self._connections if connection.waiting_since is not None]
        if not waiting:
            return False
        longest = min(waiting, key=lambda connection: connection.waiting_since or 0.0)
        self._connections.pop(longest).cancel()
        return True

    async def _close_connections(self) -> None:
        tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _enqueue(self, request: Request) -> asyncio.Future[Response]:
        future: asyncio.Future[Response] = self._loop.create_future()
        self._requests.put((request, future))
        return future

    # The answering thread

    def _answer_requests(self) -> None:
        for request, future in iter(self._requests.get, None):
            try:
                response = self._respond(request)
            except Exception as error:  # noqa: BLE001 # one failed response must not end all others
                self._log_once("answer", error)
                response = status_response(500)
            try:
                self._loop.call_soon_threadsafe(_set_response, future, response)
            except RuntimeError:  # the loop was closed meanwhile
                return

    # Either thread

    def _on_loop_error(self, _: asyncio.AbstractEventLoop, context: dict[str, object]) -> None:
        error = context.get("exception")
        reported = error if isinstance(error, BaseException) else RuntimeError(context.get("message"))
        self._log_once("connection", reported)

    def _log_once(self, where: str, error: BaseException) -> None:
        kind = (where, type(error))
        if kind not in self._logged:
            self._logged.add(kind)
            _logger.warning(
                "error in the metrics port (%s): %s: %s (the port keeps running; logged once)",
                where,
                type(error).__name__,
                error,
            )

    def drop_in_child(self) -> None:
        """Close the port and all connections in a forked child; the parent keeps them."""
        # only the sockets: the loop's own descriptors are shared with the parent, which goes on using them
        self._thread = None
        self._socket.close()
        for connection in list(self._connections):
            connection.socket.close()


def _set_response(future: asyncio.Future[Response], response: Response) -> None:
    if not future.done():
        future.set_result(response)
