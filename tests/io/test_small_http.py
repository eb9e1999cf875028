"""A few pages over HTTP, bounded: whatever a client does costs it nothing but its connection."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from p2ptui.io import small_http
from p2ptui.io.small_http import MAX_CLIENTS, MAX_REQUEST_BYTES, Answer, SmallHttp
from tests.patience import PATIENCE_S, until

GET = b"GET /page HTTP/1.1\r\nHost: x\r\nAccept: text/html\r\naccept: */*\r\n\r\n"


@asynccontextmanager
async def served(respond=lambda accept: Answer(200, accept.encode())) -> AsyncIterator:
    http = SmallHttp({"/page": respond})
    http_address = await http.open("127.0.0.1", 0)
    try:
        async with asyncio.timeout(PATIENCE_S):
            yield http, http_address
    finally:
        await http.close()


async def ask(address, request: bytes) -> bytes:
    reader, writer = await asyncio.open_connection(*address)
    writer.write(request)
    try:
        return await rest(reader)
    finally:
        writer.close()


async def rest(reader: asyncio.StreamReader) -> bytes:
    """All that comes until the other side has closed, politely or not."""
    try:
        return await reader.read()
    except ConnectionResetError:
        return b""


@pytest.mark.parametrize(
    ("request_", "status", "body"),
    [
        (GET, b"200 OK", b"text/html,*/*"),
        (GET.replace(b"/page", b"/page?a=b"), b"200 OK", b"text/html,*/*"),
        (GET.replace(b"GET", b"HEAD"), b"200 OK", b""),
        (GET.replace(b"/page", b"/"), b"404 Not Found", b"no such page; choose one of /page\n"),
        (
            GET.replace(b"GET", b"POST"),
            b"405 Method Not Allowed",
            b"only GET and HEAD are served\n",
        ),
        (b"\x16\x03\x01\r\n\r\n", b"400 Bad Request", b"this is not HTTP/1.1\n"),
        (b"GET /page\r\n\r\n", b"400 Bad Request", b"this is not HTTP/1.1\n"),
        (
            GET[:-2] + b"a" * MAX_REQUEST_BYTES * 2 + b"\r\n\r\n",
            b"431 Request Header Fields Too Large",
            b"a request may be at most 8192 bytes\n",
        ),
    ],
)
async def test_a_request_and_its_answer(request_, status, body):
    async with served() as (_, address):
        head, _, told = (await ask(address, request_)).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 " + status + b"\r\n")
    assert told == body
    assert (b"\r\nAllow: GET, HEAD" in head) == status.startswith(b"405")


async def test_what_cannot_be_answered_is_told_once_and_the_page_goes_on(caplog):
    def fail(_accept):
        raise RuntimeError("broken")

    async with served(fail) as (_, address):
        for _ in range(2):
            assert (await ask(address, GET)).startswith(b"HTTP/1.1 500 ")
    assert [record.getMessage() for record in caplog.records] == [
        "could not answer /page; this is logged once"
    ]


async def test_who_hangs_is_dropped_and_others_are_served_meanwhile(monkeypatch):
    monkeypatch.setattr(small_http, "REQUEST_S", 0.2)
    async with served() as (http, address):
        reader, writer = await asyncio.open_connection(*address)
        writer.write(GET[:10])
        assert (await ask(address, GET)).startswith(b"HTTP/1.1 200 ")
        assert await reader.read() == b""
        writer.close()
        assert not http._clients


async def test_who_does_not_read_is_dropped(monkeypatch):
    monkeypatch.setattr(small_http, "REQUEST_S", 0.2)
    async with served(lambda _: Answer(200, bytes(50_000_000))) as (http, address):
        reader, writer = await asyncio.open_connection(*address, limit=1024)
        writer.write(GET)
        await reader.read(1)
        await until(lambda: not http._clients)
        writer.transport.abort()


async def test_there_are_only_so_many_at_a_time():
    async with served() as (http, address):
        hanging = [await asyncio.open_connection(*address) for _ in range(MAX_CLIENTS)]
        await until(lambda: len(http._clients) == MAX_CLIENTS)
        assert await ask(address, GET) == b""
        assert http.dropped == 1
        hanging.pop()[1].close()
        await until(lambda: len(http._clients) < MAX_CLIENTS)
        assert (await ask(address, GET)).startswith(b"HTTP/1.1 200 ")
        for _, writer in hanging:
            writer.close()


async def test_it_ends_with_clients_that_hang():
    async with served() as (http, address):
        reader, writer = await asyncio.open_connection(*address)
        writer.write(b"GET")
        await until(lambda: http._clients)
        await http.close()
        assert await rest(reader) == b""
        writer.close()
