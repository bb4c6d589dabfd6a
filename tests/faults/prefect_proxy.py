"""A line to Prefect's server that breaks on command, in all the ways in which servers and networks do."""

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from enum import StrEnum
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

SLOW_SECONDS = 2.0
_HEAD_BYTES = 1 << 16
_CLOSE = b"Connection: close\r\n"


class Breakage(StrEnum):
    """How the line behaves."""

    NONE = "none"
    UNAVAILABLE = "503"
    """Every request is answered with 503."""
    UNAUTHORIZED = "401"
    """Every request is answered with 401."""
    HANG = "hang"
    """Connections are accepted, and nothing is ever answered."""
    CUT = "cut"
    """Every connection is reset, those that stand as well."""
    SLOW = "slow"
    """Every answer is SLOW_SECONDS late."""
    NONSENSE = "nonsense"
    """Every request is answered with 200 and a page that is no JSON, as by the login page of a network."""


_ANSWERS = {
    Breakage.UNAVAILABLE: (b"503 Service Unavailable", b"text/plain", b"try again later"),
    Breakage.UNAUTHORIZED: (b"401 Unauthorized", b"application/json", b'{"exception_message": "Unauthorized"}'),
    Breakage.NONSENSE: (b"200 OK", b"text/html", b"<html><body>Please log in</body></html>"),
}


class PrefectProxy:
    """A proxy on a port of its own, in a thread of its own, within the block."""

    def __init__(self, api_url: str) -> None:
        """Stand before the server of this address."""
        parts = urlsplit(api_url)
        self._upstream = (parts.hostname or "", parts.port or 80)
        self._path = parts.path
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="prefect-proxy", daemon=True)
        self._lines: set[asyncio.Task[None]] = set()
        self._breakage = Breakage.NONE
        self._changed = asyncio.Event()
        self._port = 0
        self.broken_requests = 0
        """How many requests met a broken line."""

    @property
    def api_url(self) -> str:
        """The address of Prefect's API by way of this line."""
        return f"http://127.0.0.1:{self._port}{self._path}"

    def __enter__(self) -> Self:
        """Listen."""
        self._thread.start()
        self._port = asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result(20)
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        """Cut every line and end."""
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(20)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(20)
        self._loop.close()

    def behave(self, breakage: Breakage) -> None:
        """Behave so from now on, towards what is under way as well."""
        self._loop.call_soon_threadsafe(self._behave, breakage)

    def _behave(self, breakage: Breakage) -> None:
        self._breakage = breakage
        self._changed.set()
        self._changed = asyncio.Event()
        if breakage is not Breakage.SLOW and breakage is not Breakage.HANG and breakage is not Breakage.NONE:
            for line in self._lines:
                line.cancel()

    async def _listen(self) -> int:
        self._server = await asyncio.start_server(self._take, "127.0.0.1", 0, limit=_HEAD_BYTES)
        return int(self._server.sockets[0].getsockname()[1])

    async def _end(self) -> None:
        self._server.close()
        for line in self._lines:
            line.cancel()
        await asyncio.gather(*self._lines, return_exceptions=True)

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line = asyncio.create_task(self._serve(reader, writer))
        self._lines.add(line)
        line.add_done_callback(self._lines.discard)
        with contextlib.suppress(asyncio.CancelledError):
            await line

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one request: each has a connection of its own, so that each meets the line as it is then."""
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            self.broken_requests += self._breakage is not Breakage.NONE
            await self._pass_gate()
            if self._breakage in _ANSWERS:
                await _answer(writer, *_ANSWERS[self._breakage])
            elif self._breakage is not Breakage.CUT:
                await self._forward(_without_keepalive(head), reader, writer)
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # either side hung up, as it may
        finally:
            if self._breakage is Breakage.CUT:
                writer.transport.abort()
            writer.close()

    async def _pass_gate(self) -> None:
        """Wait as long as the line hangs, or is slow."""
        while self._breakage is Breakage.HANG:
            await self._changed.wait()
        if self._breakage is Breakage.SLOW:
            await asyncio.sleep(SLOW_SECONDS)

    async def _forward(self, head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        up_reader, up_writer = await asyncio.open_connection(*self._upstream)
        up_writer.write(head)
        there = asyncio.create_task(self._copy(reader, up_writer))
        try:
            await self._copy(up_reader, writer)
        finally:
            there.cancel()
            up_writer.close()

    async def _copy(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        while data := await source.read(1 << 16):
            while self._breakage is Breakage.HANG:
                await self._changed.wait()
            target.write(data)
            await target.drain()


async def _answer(writer: asyncio.StreamWriter, status: bytes, kind: bytes, body: bytes) -> None:
    writer.write(b"HTTP/1.1 %s\r\nContent-Type: %s\r\n%s" % (status, kind, _CLOSE))
    writer.write(b"Content-Length: %d\r\n\r\n%s" % (len(body), body))
    await writer.drain()


def _without_keepalive(head: bytes) -> bytes:
    """Have a request be the last of its connection; one that asks for a websocket is left as it is."""
    lines = head.split(b"\r\n")
    if any(line.lower().startswith(b"upgrade:") for line in lines):
        return head
    return b"\r\n".join(_kept(lines)) + b"\r\n" + _CLOSE + b"\r\n"


def _kept(lines: list[bytes]) -> Iterator[bytes]:
    return (line for line in lines if line and not line.lower().startswith((b"connection:", b"keep-alive:")))
