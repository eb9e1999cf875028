"""A few pages over HTTP, bounded: whatever a client does costs it nothing but its connection."""

import asyncio
import select
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest

from p2ptui.io import small_http
from p2ptui.io.small_http import MAX_CLIENTS, MAX_REQUEST_BYTES, Answer, SmallHttp
from tests.patience import PATIENCE_S, until

GET = b"GET /page HTTP/1.1\r\nHost: x\r\nAccept: text/html\r\naccept: */*\r\n\r\n"


@asynccontextmanager
async def served(respond=lambda accept: Answer(200, accept.encode()), names=None) -> AsyncIterator:
    http = SmallHttp({"/page": respond})
    http_address = await http.open("127.0.0.1", 0, names)
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


@pytest.mark.parametrize(
    ("host", "is_served"),
    [
        ("127.0.0.1", True),
        ("127.0.0.1:9108", True),
        ("[::1]:9108", True),
        ("localhost:9108", True),
        ("LOCALHOST.", True),
        ("metrics.here:80", True),
        ("attacker.example:9108", False),
        ("localhost.attacker.example", False),
        ("127.0.0.1.attacker.example", False),
        ("", False),
        ("[", False),
        ("localhost\r\nHost: attacker.example", False),
    ],
)
async def test_a_name_that_somebody_made_mean_this_address_is_not_answered(host, is_served):
    """See DNS rebinding: the browser of a visitor asks for the name of the web page."""
    request = f"GET /page HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()
    async with served(names={"localhost", "metrics.here"}) as (_, address):
        told = await ask(address, request)
        assert (await ask(address, b"GET /page HTTP/1.0\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
    assert told.startswith(b"HTTP/1.1 200 " if is_served else b"HTTP/1.1 421 ")


async def test_what_cannot_be_answered_is_told_once_and_the_page_goes_on(caplog):
    def fail(_accept):
        raise RuntimeError("broken")

    async with served(fail) as (_, address):
        for _ in range(2):
            assert (await ask(address, GET)).startswith(b"HTTP/1.1 500 ")
    assert [record.getMessage() for record in caplog.records] == [
        "could not answer /page; this is logged once"
    ]


async def test_one_failure_does_not_hide_another(caplog):
    def fail(accept):
        raise {"a": KeyError, "b": ValueError}[accept](accept)

    http = SmallHttp({"/page": fail, "/other": fail})
    address = await http.open("127.0.0.1", 0)
    async with asyncio.timeout(PATIENCE_S):
        for path in ("page", "other", "page"):
            for accept in "ab":
                request = f"GET /{path} HTTP/1.1\r\nAccept: {accept}\r\n\r\n".encode()
                assert (await ask(address, request)).startswith(b"HTTP/1.1 500 ")
    await http.close()
    assert [record.getMessage().split()[3].strip(";") for record in caplog.records] == [
        *("/page", "/page", "/other", "/other")
    ]


@pytest.mark.parametrize("limit", ["ASK_S", "REQUEST_S"])
async def test_who_hangs_is_dropped_and_others_are_served_meanwhile(monkeypatch, limit):
    monkeypatch.setattr(small_http, limit, 0.2)
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


async def hang(http, address, count: int, request: bytes = b"") -> list:
    """Connections that say no more than this."""
    held = http.dropped + len(http._clients)
    hanging = [await asyncio.open_connection(*address) for _ in range(count)]
    for _, writer in hanging:
        writer.write(request)
    await until(lambda: http.dropped + len(http._clients) == held + count)
    return hanging


async def test_there_are_only_so_many_at_a_time_and_the_oldest_that_says_nothing_makes_room():
    async with served() as (http, address):
        hanging = await hang(http, address, MAX_CLIENTS)
        assert len(http._clients) == MAX_CLIENTS
        assert (await ask(address, GET)).startswith(b"HTTP/1.1 200 ")
        assert http.dropped == 1
        assert await rest(hanging[0][0]) == b""
        await until(lambda: len(http._clients) == MAX_CLIENTS - 1)
        for _, writer in hanging:
            writer.close()


@pytest.mark.parametrize("request_", [b"", b"GET /page HTTP/1.1\r\nA"])
async def test_a_hundred_that_say_nothing_keep_nobody_out(request_, monkeypatch):
    monkeypatch.setattr(small_http, "ASK_S", PATIENCE_S)
    async with served() as (http, address):
        hanging = await hang(http, address, 100, request_)
        for _ in range(50):
            assert (await ask(address, GET)).startswith(b"HTTP/1.1 200 ")
            hanging += await hang(http, address, 3, request_)
        assert len(http._clients) == MAX_CLIENTS
        for _, writer in hanging:
            writer.transport.abort()


async def test_a_hundred_at_once_make_nobody_wait_for_another_try():
    """What the system has no room for it drops, and the client tries again after a second."""
    async with served() as (http, address):
        loop, hanging = asyncio.get_running_loop(), []
        for _ in range(100):  # before the event loop has taken any
            sock = socket.socket()
            sock.setblocking(False)
            with suppress(BlockingIOError):
                sock.connect(address)
            hanging.append(sock)
        asker = socket.socket()
        asker.setblocking(False)
        with suppress(BlockingIOError):
            asker.connect(address)
        _, writable, _ = select.select([], [asker], [], 0.5)
        assert writable == [asker], "it is connected already"
        await loop.sock_sendall(asker, GET)
        assert (await loop.sock_recv(asker, 100)).startswith(b"HTTP/1.1 200 ")
        for sock in (*hanging, asker):
            sock.close()
    assert http.dropped >= 100 - MAX_CLIENTS


async def test_whoever_has_asked_is_not_closed_for_those_who_have_not(monkeypatch):
    monkeypatch.setattr(small_http, "ASK_S", PATIENCE_S)
    body = bytes(5_000_000)
    async with served(lambda _: Answer(200, body)) as (http, address):
        reader, writer = await asyncio.open_connection(*address, limit=1024)
        writer.write(GET)
        await until(lambda: any(client.has_asked for client in http._clients))
        hanging = await hang(http, address, 3 * MAX_CLIENTS)
        assert (await rest(reader)).endswith(body)
        for _, one in (*hanging, (reader, writer)):
            one.transport.abort()


async def test_where_all_have_asked_and_do_not_read_the_oldest_makes_room(monkeypatch):
    monkeypatch.setattr(small_http, "REQUEST_S", PATIENCE_S)
    bodies = {"full": bytes(50_000_000), "": b"told"}
    async with served(lambda accept: Answer(200, bodies[accept])) as (http, address):
        hanging = []
        for _ in range(MAX_CLIENTS):
            hanging += await hang(http, address, 1, b"GET /page HTTP/1.1\r\nAccept: full\r\n\r\n")
        await until(lambda: sum(client.has_asked for client in http._clients) == MAX_CLIENTS)
        assert (await ask(address, b"GET /page HTTP/1.1\r\n\r\n")).endswith(b"told")
        for _, writer in hanging:
            writer.transport.abort()


@pytest.mark.skipif(sys.platform != "linux", reason="needs a second loopback address")
async def test_a_host_with_many_makes_room_before_one_with_few(monkeypatch):
    monkeypatch.setattr(small_http, "ASK_S", PATIENCE_S)
    async with served() as (http, address):
        few = await asyncio.open_connection(*address, local_addr=("127.0.0.2", 0))
        await until(lambda: http._clients)
        hanging = await hang(http, address, 3 * MAX_CLIENTS)
        few[1].write(GET)
        assert (await rest(few[0])).startswith(b"HTTP/1.1 200 ")
        for _, writer in (*hanging, few):
            writer.transport.abort()


async def test_it_ends_with_clients_that_hang():
    async with served() as (http, address):
        reader, writer = await asyncio.open_connection(*address)
        writer.write(b"GET")
        await until(lambda: http._clients)
        await http.close()
        assert await rest(reader) == b""
        writer.close()
