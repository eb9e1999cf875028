"""As much HTTP as a scraper and a health check need: one small GET per connection, and its answer.

It shares the event loop with the node, so everything is bounded: connections, bytes of a request,
and the seconds in which a client has to ask and read the answer. A silent client keeps nobody out:
the next one takes its place.
"""

import asyncio
import logging
import socket
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from ipaddress import ip_address
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from p2ptui.tagged import tagged

log = logging.getLogger("p2ptui.http")

MAX_CLIENTS: Final = 16
"""Connections at a time; a further one takes the place of another, see `_make_room`."""
BACKLOG: Final = 128
"""Connections that the system holds until the event loop has its turn. One that finds no room is
only retried after a second, too late for an impatient health check.
"""
ACCEPTED_AT_ONCE: Final = 4
"""Connections accepted in one turn of the event loop, during which the node's datagrams wait."""
MAX_REQUEST_BYTES: Final = 8192
"""Request line and headers."""
ASK_S: Final = 2.0
"""From the connection to the last byte of the request."""
REQUEST_S: Final = 10.0
"""From the connection to the last byte of the answer."""

_REASONS: Final = {
    200: "OK",
    400: "Bad Request",
    404: "Not Found",
    405: "Method Not Allowed",
    421: "Misdirected Request",
    431: "Request Header Fields Too Large",
    500: "Internal Server Error",
    503: "Service Unavailable",
}
_PLAIN: Final = "text/plain; charset=utf-8"


class Answer(NamedTuple):
    """The response."""

    status: int
    body: bytes
    type: str = _PLAIN
    allow: str = ""
    """The methods that exist, if another one was used."""


Respond = Callable[[str], Answer]
"""Answers a GET; its argument is the value of the client's Accept header."""


class _Client:
    """A connected client."""

    __slots__ = ("has_asked", "host", "writer")

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self.writer = writer
        self.host = str((writer.get_extra_info("peername") or ("",))[0])
        self.has_asked = False


class SmallHttp:
    """An HTTP server for a few pages, each made anew when it is asked for.

    Args:
        pages: The function that answers for each path; called in the event loop, so it must be
            quick.
    """

    def __init__(self, pages: Mapping[str, Respond]) -> None:
        self._pages = pages
        self._server: asyncio.Server | None = None
        self._clients: list[_Client] = []
        """The oldest first."""
        self.dropped = 0
        """Connections that were closed to make room for others."""
        self._names: Collection[str] | None = None
        self._told: set[tuple[str, type[Exception]]] = set()
        """Which pages have failed, and how: each is reported once. No more than this code can
        raise.
        """

    async def open(
        self, host: str, port: int, names: Collection[str] | None = None
    ) -> tuple[str, int]:
        """Listen at a literal address; return the address, with the actual port.

        Args:
            host: The address.
            port: The port; 0: any free one.
            names: Host names, in lower case, that clients may ask for besides IP addresses; None:
                any. A web page elsewhere can make its own name resolve to this address, and could
                then read the answers in its visitor's browser (DNS rebinding).

        Raises:
            OSError: The address cannot be taken.
        """
        self._names = names
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        sock = socket.create_server((host, port), family=family)
        self._server = await asyncio.start_server(
            self._serve, sock=sock, limit=MAX_REQUEST_BYTES, backlog=ACCEPTED_AT_ONCE
        )
        sock.listen(BACKLOG)  # asyncio takes one number for both
        return self._server.sockets[0].getsockname()[:2]  # type: ignore[no-any-return]

    async def close(self) -> None:
        """Stop listening, and end what is under way."""
        if self._server is None:
            return
        self._server.close()
        for client in self._clients:
            client.writer.transport.abort()
        with suppress(TimeoutError):
            async with asyncio.timeout(1.0):
                await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._make_room()
        client = _Client(writer)
        self._clients.append(client)
        try:
            async with asyncio.timeout(REQUEST_S):
                async with asyncio.timeout(ASK_S):
                    answer, is_head = await self._read(reader)
                client.has_asked = True
                writer.write(_written(answer, is_head=is_head))
                await writer.drain()
                writer.close()
                await writer.wait_closed()
        except (OSError, TimeoutError, asyncio.IncompleteReadError):
            pass  # it hung, or went away: that is the client's own affair
        finally:
            if client in self._clients:
                self._clients.remove(client)
            if not writer.is_closing() or writer.transport.get_write_buffer_size():
                writer.transport.abort()

    def _make_room(self) -> None:
        """If there are too many connections, close the one that has waited longest: one that has
        not asked for anything, and among those, one of the host that has the most.
        """
        if len(self._clients) < MAX_CLIENTS:
            return
        hosts = Counter(client.host for client in self._clients)
        least = min(self._clients, key=lambda one: (one.has_asked, -hosts[one.host]))
        self._clients.remove(least)
        self.dropped += 1
        least.writer.transport.abort()

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
        if self._names is not None:
            for host in _values("host", headers):
                if not _is_of(host, self._names):
                    return _said(421, "ask for it by its IP address, or as localhost")
        respond = self._pages.get(path)
        if respond is None:
            return _said(404, f"no such page; choose one of {', '.join(self._pages)}")
        accept = ",".join(_values("accept", headers))
        try:
            return respond(accept)
        except Exception as error:  # a mistake of this program: the node goes on
            failure = path, type(error)
            if failure not in self._told:
                self._told.add(failure)
                log.exception(
                    "could not answer %s; this is logged once",
                    path,
                    extra=tagged("page_failed", page=path),
                )
            return _said(500, "internal error; see the log")


def _values(name: str, headers: list[str]) -> list[str]:
    """The values of a header, in lower case, each time that it occurs."""
    fields = (header.partition(":") for header in headers)
    return [value.strip() for field, _, value in fields if field.strip().lower() == name]


def _is_of(host: str, names: Collection[str]) -> bool:
    """Whether a Host header holds an IP address, or one of these names."""
    try:
        name = (urlsplit(f"//{host}").hostname or "").rstrip(".")
        return name in names or bool(ip_address(name))
    except ValueError:
        return False


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
