"""One client of the port. Its requests are answered one after another, each within deadlines."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Iterator
from contextlib import contextmanager
from email.utils import formatdate
from typing import Any, Callable

from torchserve_drift.port.request import LONGEST_HEAD_BYTES, Request, RequestError, parse_head
from torchserve_drift.port.response import PHRASES, Response, status_response

HEAD_SECONDS = 10.0
"""The time limit of the TLS handshake, and again of the first request head."""

IDLE_SECONDS = 15.0
"""The time limit of each further request head."""

ANSWER_SECONDS = 60.0
"""The time limit within which the client must read a response."""

LINGER_SECONDS = 1.0
"""The time limit within which the client must close its side after the server's side was closed. Closing both at once
would discard what the client has not read yet."""

_CHUNK_BYTES = 65_536


class Connection:
    """The connection of one client. Only the server's event loop uses it.

    ``waiting_since`` is the time of the loop at which the server began to wait for the client; ``None`` while the
    client waits for the server.
    """

    def __init__(
        self, accepted: socket.socket, tls: ssl.SSLContext | None, answer: Callable[[Request], Awaitable[Response]]
    ) -> None:
        self.socket = accepted
        self._tls = tls
        self._answer = answer
        self._loop = asyncio.get_running_loop()
        self.waiting_since: float | None = self._loop.time()

    async def serve(self) -> None:
        """Answer requests until either side closes the connection."""
        try:
            reader, writer = await self._open_streams()
        except BaseException as error:
            self.socket.close()
            if isinstance(error, OSError):  # a failed handshake is an error of the client, not of the server
                return
            raise
        try:
            seconds = HEAD_SECONDS
            while await self._exchange(reader, writer, seconds):
                seconds = IDLE_SECONDS
            await self._close_gracefully(reader, writer)
        except OSError:  # the client is gone
            pass
        finally:
            writer.transport.abort()

    async def _open_streams(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        # Not asyncio.start_server: with it a connection would not count for the limit until its handshake is done.
        options: dict[str, Any] = {"ssl": self._tls, "ssl_handshake_timeout": HEAD_SECONDS} if self._tls else {}
        reader = asyncio.StreamReader(limit=LONGEST_HEAD_BYTES, loop=self._loop)
        protocol = asyncio.StreamReaderProtocol(reader, loop=self._loop)
        transport, _ = await self._loop.connect_accepted_socket(lambda: protocol, self.socket, **options)
        # drain() then returns only when the kernel has everything, so that no response piles up in this process
        transport.set_write_buffer_limits(high=0)
        return reader, asyncio.StreamWriter(transport, protocol, reader, self._loop)

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, seconds: float) -> bool:
        """Read one request and answer it. Return whether another one may follow."""
        keep_alive = False
        try:
            request = parse_head(await self._read_head(reader, writer, seconds))
        except asyncio.IncompleteReadError:
            return False
        except asyncio.LimitOverrunError:
            response = status_response(431)
        except RequestError as error:
            response = status_response(error.status)
        else:
            response, keep_alive = await self._answer(request), request.keep_alive
        self.waiting_since = self._loop.time()
        with self._deadline(writer, ANSWER_SECONDS):
            await _send(writer, response, keep_alive)
        return keep_alive

    async def _read_head(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, seconds: float) -> bytes:
        self.waiting_since = self._loop.time()
        with self._deadline(writer, seconds):
            head = await reader.readuntil(b"\r\n\r\n")
        self.waiting_since = None
        return head

    async def _close_gracefully(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with self._deadline(writer, LINGER_SECONDS):
            if writer.can_write_eof():
                writer.write_eof()
                while await reader.read(_CHUNK_BYTES):
                    pass
            else:  # TLS cannot close one side only
                writer.close()
                await writer.wait_closed()

    @contextmanager
    def _deadline(self, writer: asyncio.StreamWriter, seconds: float) -> Iterator[None]:
        timer = self._loop.call_later(seconds, writer.transport.abort)
        try:
            yield
        finally:
            timer.cancel()


async def _send(writer: asyncio.StreamWriter, response: Response, keep_alive: bool) -> None:
    headers = (
        *response.headers,
        ("Date", formatdate(usegmt=True)),
        ("Connection", "keep-alive" if keep_alive else "close"),
    )
    lines = [f"HTTP/1.1 {response.status} {PHRASES[response.status]}", *(f"{name}: {value}" for name, value in headers)]
    head = ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
    writer.write(head + response.body[:_CHUNK_BYTES])
    await writer.drain()
    rest = memoryview(response.body)[_CHUNK_BYTES:]
    # in chunks: all clients share one response, and a slow client must not get a copy of it in memory
    for start in range(0, len(rest), _CHUNK_BYTES):
        writer.write(rest[start : start + _CHUNK_BYTES])
        await writer.drain()
