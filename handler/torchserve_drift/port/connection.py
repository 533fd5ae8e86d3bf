"""One client of the port: its requests one after the other, each within its deadline."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Iterator
from contextlib import contextmanager
from email.utils import formatdate
from typing import Any, Callable

from torchserve_drift.port.answers import LONGEST_HEAD, PHRASES, Request, RequestError, Response, parse, plain

HEAD_SECONDS = 10.0
"""For the TLS handshake, and again for the head of the first request."""
IDLE_SECONDS = 15.0
"""For the head of each further request."""
ANSWER_SECONDS = 60.0
"""For making an answer, and again for the client's taking it."""
LINGER_SECONDS = 1.0
"""For the client's end of the connection after ours: closing at once would discard what it has not read yet."""
_SLICE = 65_536


class Connection:
    """A client from its acceptance to its end; used by the server's loop alone.

    ``waiting_since`` is the loop's time since which the client has kept us waiting, ``None`` while it waits for us.
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
        """Answer requests until either side has had enough."""
        try:
            reader, writer = await self._streams()
        except BaseException as error:
            self.socket.close()
            if isinstance(error, OSError):  # a failed handshake is the client's affair
                return
            raise
        try:
            seconds = HEAD_SECONDS
            while await self._exchange(reader, writer, seconds):
                seconds = IDLE_SECONDS
            await self._close(reader, writer)
        except OSError:  # the client has gone
            pass
        finally:
            writer.transport.abort()

    async def _streams(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        # not start_server: that one counts no connection before its handshake is done
        options: dict[str, Any] = {"ssl": self._tls, "ssl_handshake_timeout": HEAD_SECONDS} if self._tls else {}
        reader = asyncio.StreamReader(limit=LONGEST_HEAD, loop=self._loop)
        protocol = asyncio.StreamReaderProtocol(reader, loop=self._loop)
        transport, _ = await self._loop.connect_accepted_socket(lambda: protocol, self.socket, **options)
        transport.set_write_buffer_limits(high=0)  # drain() then means: all is with the kernel
        return reader, asyncio.StreamWriter(transport, protocol, reader, self._loop)

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, seconds: float) -> bool:
        """One request and its answer; whether another may follow."""
        keep_alive = False
        try:
            request = parse(await self._head(reader, writer, seconds))
        except asyncio.IncompleteReadError:
            return False
        except asyncio.LimitOverrunError:
            response = plain(431)
        except RequestError as error:
            response = plain(error.status)
        else:
            response, keep_alive = await self._answer(request), request.keep_alive
        self.waiting_since = self._loop.time()
        with self._deadline(writer, ANSWER_SECONDS):
            await _send(writer, response, keep_alive)
        return keep_alive

    async def _head(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, seconds: float) -> bytes:
        self.waiting_since = self._loop.time()
        with self._deadline(writer, seconds):
            head = await reader.readuntil(b"\r\n\r\n")
        self.waiting_since = None
        return head

    async def _close(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with self._deadline(writer, LINGER_SECONDS):
            if writer.can_write_eof():
                writer.write_eof()
                while await reader.read(_SLICE):
                    pass
            else:
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
    writer.write(head + response.body[:_SLICE])
    await writer.drain()
    rest = memoryview(response.body)[_SLICE:]
    for start in range(0, len(rest), _SLICE):  # piece by piece: a slow client must not have a page of its own in memory
        writer.write(rest[start : start + _SLICE])
        await writer.drain()
