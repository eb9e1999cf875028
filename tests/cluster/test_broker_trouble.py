"""What can stand between a server and its broker: one clear line each, and another try."""

import asyncio
import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from brokers import Broker, needs_broker, until
from certificates import Certificates, certificates, operated
from members import Member

from p2ptui.core.cluster.bus import Put

pytestmark = needs_broker

Join = Callable[..., Member]
MakeBroker = Callable[..., Broker]

USERS = """
authorization { users = [
  { user: "net", password: "r@ght", permissions: {
      publish: ["$JS.API.>", "$KV.p2ptui_net.>", "p2ptui.net.>"],
      subscribe: ["_INBOX.>", "p2ptui.net.>"] } }
  { user: "mute", password: "right", permissions: {
      publish: ["$JS.API.INFO"], subscribe: ["_INBOX.>", "p2ptui.net.>"] } }
] }
"""


def lines_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name != "asyncio"]


async def test_a_broker_that_is_away_at_start_is_found_when_it_comes(
    make_broker: MakeBroker, join: Join, caplog: pytest.LogCaptureFixture
) -> None:
    broker = make_broker().start()
    broker.kill()
    member = join(broker.url)
    assert "start nats-server -js there" in await member.in_trouble("there is no broker at")
    assert not member.told
    broker.start()
    await member.complete()
    assert len(lines_of(caplog)) == 1


async def test_wrong_credentials(
    make_broker: MakeBroker, join: Join, caplog: pytest.LogCaptureFixture
) -> None:
    broker = make_broker(USERS).start()
    member = join(f"nats://net:wr0ng@{broker.host}")
    text = await member.in_trouble("refuses this server")
    assert "cluster.credentials" in text
    right = join(f"nats://net:r%40ght@{broker.host}")
    await right.complete()
    right.do(Put("k", b"v", 0))
    await right.tells("put", "k", 1)
    assert len(lines_of(caplog)) == 1
    assert "wr0ng" not in caplog.text
    assert "@" not in right.bus.status().broker.replace("***@", "")


async def test_what_the_account_may_not_do_is_named(make_broker: MakeBroker, join: Join) -> None:
    broker = make_broker(USERS).start()
    member = join(f"nats://mute:right@{broker.host}")
    text = await member.in_trouble("does not permit")
    assert "to publish (subject, in lower case: $js.api.stream.info.kv_p2ptui_net)" in text
    assert "docs/cluster.md" in text


async def test_a_broker_without_jetstream(
    make_broker: MakeBroker, join: Join, caplog: pytest.LogCaptureFixture
) -> None:
    broker = make_broker(jetstream=False).start()
    member = join(broker.url)
    assert "nats-server -js" in await member.in_trouble("has no JetStream")
    assert not member.told
    broker.kill()
    broker.start(jetstream=True)
    await member.complete()
    assert len(lines_of(caplog)) == 1


async def test_a_name_is_looked_up_where_it_can_be_ended(
    join: Join, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the library looks up outlives it in uvloop, and its failure goes to nobody."""
    monkeypatch.setattr("nats.aio.client.Client.connect", None)
    member = join("nats://no.such.host.invalid:4222")
    assert "check cluster.servers" in await member.in_trouble("was not found")


async def test_a_bucket_for_another_heartbeat(broker: Broker, join: Join) -> None:
    first = join(broker.url, "a")
    await first.complete()
    second = join(broker.url, "b", heartbeat=10)
    text = await second.in_trouble("is configured differently")
    here = text.index("expire after 90 s, not 30 s; set cluster.heartbeat = 30.0 here")
    everywhere = text.index("or, to change it everywhere, stop all servers")
    assert here < everywhere < text.index("nats kv del p2ptui_net")
    assert not second.told


async def test_a_broker_without_room(make_broker: MakeBroker, join: Join) -> None:
    broker = make_broker(disk="10MB").start()
    member = join(broker.url, max_nodes=20_000)
    assert "lower that" in await member.in_trouble("has no room for 20480000 bytes")


async def test_a_client_library_that_is_missing(
    join: Join, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delitem(sys.modules, "p2ptui.io.nats_link", raising=False)
    monkeypatch.delattr("p2ptui.io.nats_link", raising=False)
    for name in [name for name in sys.modules if name.partition(".")[0] == "nats"]:
        monkeypatch.setitem(sys.modules, name, None)
    member = join("nats://127.0.0.1:1")
    assert "pip install '.[cluster]'" in await member.in_trouble("not installed")
    assert len(lines_of(caplog)) == 1


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (None, "No such file"),
        ("", "neither .creds"),
        ("-----BEGIN NATS USER JWT-----\n", "neither .creds"),
    ],
)
async def test_credentials_that_are_none(
    join: Join, tmp_path: Path, text: str | None, says: str
) -> None:
    path = tmp_path / "own.creds"
    if text is not None:
        path.write_text(text)
    member = join("nats://127.0.0.1:1", credentials=str(path))
    assert says in await member.in_trouble(f"cluster.credentials: {path}")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="named pipes are of POSIX systems")
@pytest.mark.parametrize("name", ["credentials", "tls_ca", "tls_cert"])
async def test_a_file_that_is_a_pipe_keeps_nobody_waiting(
    join: Join, tmp_path: Path, name: str
) -> None:
    path = tmp_path / "named"
    os.mkfifo(path)
    named = {name: str(path)} | ({"tls_key": str(path)} if name == "tls_cert" else {})
    member = join("tls://127.0.0.1:1", **named)
    assert "it is a pipe or a device" in await member.in_trouble(f"cluster.{name}: {path}")


async def test_a_key_instead_of_a_password(
    make_broker: MakeBroker, join: Join, tmp_path: Path
) -> None:
    nkeys = pytest.importorskip("nkeys")
    seed = nkeys.encode_seed(bytes(range(32)), nkeys.PREFIX_BYTE_USER)
    public = nkeys.from_seed(bytearray(seed)).public_key.decode()
    path = tmp_path / "own.nk"
    path.write_bytes(seed + b"\n")
    broker = make_broker(f'authorization {{ users = [ {{ nkey: "{public}" }} ] }}').start()
    await join(broker.url, credentials=str(path)).complete()


async def test_credentials_of_an_operator(
    make_broker: MakeBroker, join: Join, tmp_path: Path
) -> None:
    broker = make_broker(operated(tmp_path / "own.creds")).start()
    await join(broker.url, credentials=str(tmp_path / "own.creds")).complete()
    nobody = join(broker.url, "b")
    assert "cluster.credentials" in await nobody.in_trouble("refuses this server")


@pytest.fixture
def tls(make_broker: MakeBroker, tmp_path: Path) -> tuple[Broker, Certificates]:
    files = certificates(tmp_path)
    config = f'tls {{ cert_file: "{files.cert}", key_file: "{files.key}", timeout: 5 }}'
    return make_broker(config).start(), files


async def test_tls(tls: tuple[Broker, Certificates], join: Join) -> None:
    broker, files = tls
    url = f"tls://{broker.host}"
    await join(url, tls_ca=str(files.ca)).complete()
    untrusted = join(url, "b")
    assert "cluster.tls_ca" in await untrusted.in_trouble("is not trusted")
    no_file = join(url, "c", tls_ca=str(files.ca) + "x")
    assert "holds no certificates" in await no_file.in_trouble("cluster.tls_ca")
    no_pair = join(url, "d", tls_cert=str(files.ca), tls_key=str(files.key))
    assert "cannot be used" in await no_pair.in_trouble("cluster.tls_cert")


async def test_nothing_is_said_to_a_broker_without_tls_where_it_is_wanted(
    broker: Broker, join: Join
) -> None:
    member = join(f"tls://user:secret@{broker.host}")
    assert "nothing was sent" in await member.in_trouble("does not speak TLS")


async def test_who_is_no_broker(join: Join, caplog: pytest.LogCaptureFixture) -> None:
    endless = b"INFO {}\r\nPONG\r\nMSG a 1 9999999999\r\n"
    refusal = b"INFO {}\r\n-ERR 'no'\r\n"
    greetings = iter([b"SSH-2.0-x\r\n", b"INFO []\r\n", refusal, endless])
    served = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        served.append(greeting := next(greetings, b""))
        writer.write(greeting)
        if greeting == endless:
            await reader.read()  # until the other side ends it
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        member = join(f"nats://127.0.0.1:{port}")
        await until(lambda: len(served) > 4)
    assert not member.told
    assert caplog.get_records("call")[0].levelno == logging.WARNING
    assert all(record.exc_info is None for record in caplog.records)
