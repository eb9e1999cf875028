"""As much HTTP as a scraper and a health check need: one small GET a connection, and its answer.

It shares the event loop with the node, so everything is bounded: connections, bytes of a request,
and seconds, in which a client has to ask and to take the answer.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Final, NamedTuple

from p2ptui.tagged import tagged

log = logging.getLogger("p2ptui.http")

MAX_CLIENTS: Final = 16
"""Connections at a time; one more is closed at once."""
MAX_REQUEST_BYTES: Final = 8192
"""Request line and headers."""
REQUEST_S: Final = 10.0
"""From the connection to the last byte of the answer."""

_REASONS: Final = {
    200: "OK",
    400: "Bad Request",
    404: "Not Found",
    405: "Method Not Allowed",
    431: "Request Header Fields Too Large",
    500: "Internal Server Error",
    503: "Service Unavailable",
}
_PLAIN: Final = "text/plain; charset=utf-8"


class Answer(NamedTuple):
    """What is sent back."""

    status: int
    body: bytes
    type: str = _PLAIN
    allow: str = ""
    """The methods that there are, where another one was used."""


Respond = Callable[[str], Answer]
"""Answers a GET; its argument is what the client accepts, the header's value."""


class SmallHttp:
    """An HTTP server for a few pages, each made anew when it is asked for.

    Args:
        pages: What answers for each path; called in the event loop, so that it must be quick.
    """

    def __init__(self, pages: Mapping[str, Respond]) -> None:
        self._pages = pages
        self._server: asyncio.Server | None = None
        self._clients: set[asyncio.StreamWriter] = set()
        self.dropped = 0
        """Connections closed at once, since there were too many."""
        self._has_failed = False

    async def open(self, host: str, port: int) -> tuple[str, int]:
        """Listen at a literal address; the address that it is, with the port that was taken.

        Raises:
            OSError: The address cannot be taken.
        """
        self._server = await asyncio.start_server(
            self._serve, host, port, limit=MAX_REQUEST_BYTES, backlog=MAX_CLIENTS
        )
        return self._server.sockets[0].getsockname()[:2]  # type: ignore[no-any-return]

    async def close(self) -> None:
        """Listen no more, and end what is under way."""
        if self._server is None:
            return
        self._server.close()
        for writer in list(self._clients):
            writer.transport.abort()
        with suppress(TimeoutError):
            async with asyncio.timeout(1.0):
                await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._clients) >= MAX_CLIENTS:
            self.dropped += 1
            writer.transport.abort()
            return
        self._clients.add(writer)
        try:
            async with asyncio.timeout(REQUEST_S):
                answer, is_head = await self._read(reader)
                writer.write(_written(answer, is_head=is_head))
                await writer.drain()
                writer.close()
                await writer.wait_closed()
        except (OSError, TimeoutError, asyncio.IncompleteReadError):
            pass  # it hung, or went away: that is its own affair
        finally:
            self._clients.discard(writer)
            if not writer.is_closing() or writer.transport.get_write_buffer_size():
                writer.transport.abort()

    async def _read(self, reader: asyncio.StreamReader) -> tuple[Answer, bool]:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.LimitOverrunError:
            return _said(431, f"a request may be at most {MAX_REQUEST_BYTES} bytes"), False
        line, *headers = head.decode("latin-1").split("\r\n")
        method, _, rest = line.partition(" ")
        target, _, version = rest.partition(" ")
        if not version.startswith("HTTP/1."):
            return _said(400, "this is not HTTP/1.1"), False
        if method not in ("GET", "HEAD"):
            return _said(405, "only GET and HEAD are served")._replace(allow="GET, HEAD"), False
        return self._answer(target.partition("?")[0], headers), method == "HEAD"

    def _answer(self, path: str, headers: list[str]) -> Answer:
        respond = self._pages.get(path)
        if respond is None:
            return _said(404, f"no such page; choose one of {', '.join(self._pages)}")
        fields = (header.partition(":") for header in headers)
        accept = ",".join(value.strip() for name, _, value in fields if name.lower() == "accept")
        try:
            return respond(accept)
        except Exception:  # a mistake of this program: the node goes on
            if not self._has_failed:
                log.exception(
                    "could not answer %s; this is logged once",
                    path,
                    extra=tagged("page_failed", page=path),
                )
            self._has_failed = True
            return _said(500, "internal error; see the log")


def _said(status: int, words: str) -> Answer:
    return Answer(status, f"{words}\n".encode())


def _written(answer: Answer, *, is_head: bool) -> bytes:
    lines = [
        f"HTTP/1.1 {answer.status} {_REASONS[answer.status]}",
        f"Content-Type: {answer.type}",
        f"Content-Length: {len(answer.body)}",
        "Cache-Control: no-store",
        "X-Content-Type-Options: nosniff",
        *([f"Allow: {answer.allow}"] if answer.allow else []),
        "Connection: close",
        "",
        "",
    ]
    return "\r\n".join(lines).encode("latin-1") + (b"" if is_head else answer.body)
