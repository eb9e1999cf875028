"""STUN with what others wrote: their clients ask this server, and this client asks theirs."""

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from p2ptui import Config, Node
from p2ptui.nat.behavior import Dependence, NatType
from p2ptui.wire.stun import MessageClass, StunMessage, decode, encode
from p2ptui.wire.stun_integrity import verify_integrity
from tests.interop.programs import HOST, SECOND_HOST, free_ports, program, running, stun_node
from tests.patience import PATIENCE_S, SLOWER


async def output_of(*command: str) -> tuple[int | None, str]:
    """Run somebody's client to its end, while the node serves it."""
    process = await asyncio.create_subprocess_exec(
        *command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    try:
        said, _ = await asyncio.wait_for(process.communicate(), PATIENCE_S)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return process.returncode, said.decode(errors="replace")


# --- clients of others against this server


async def test_aioice_gathers_its_candidate_from_this_server() -> None:
    aioice = pytest.importorskip("aioice", reason="aioice is not installed")
    stun = pytest.importorskip("aioice.stun")
    port, alternate = free_ports(2)
    async with stun_node(port, alternate) as node:
        for place in (port, node.address[1]):
            connection = aioice.Connection(ice_controlling=True, stun_server=(HOST, place))
            loop = asyncio.get_running_loop()
            transport, protocol = await loop.create_datagram_endpoint(
                lambda owner=connection: aioice.ice.StunProtocol(owner), local_addr=(HOST, 0)
            )
            request = stun.Message(
                message_method=stun.Method.BINDING, message_class=stun.Class.REQUEST
            )
            answer, source = await protocol.request(request, (HOST, place))
            assert source == (HOST, place)
            assert answer.message_class is stun.Class.RESPONSE
            assert answer.transaction_id == request.transaction_id
            mapped = transport.get_extra_info("sockname")[:2]
            assert answer.attributes["XOR-MAPPED-ADDRESS"] == mapped
            assert answer.attributes["MAPPED-ADDRESS"] == mapped
            await protocol.close()
            await connection.close()


async def test_aioice_and_this_codec_read_each_other() -> None:
    stun = pytest.importorskip("aioice.stun", reason="aioice is not installed")
    ours = StunMessage(
        message_class=MessageClass.SUCCESS,
        transaction_id=bytes(range(12)),
        xor_mapped=("2001:db8::7", 40_000),
        software="p2ptui",
        fingerprint=True,
    )
    theirs = stun.parse_message(encode(ours, integrity_key=b"a key"))
    assert theirs.check_message_integrity(b"a key")
    assert theirs.attributes["XOR-MAPPED-ADDRESS"] == ("2001:db8::7", 40_000)
    assert theirs.attributes["SOFTWARE"] == "p2ptui"

    request = stun.Message(message_method=stun.Method.BINDING, message_class=stun.Class.REQUEST)
    request.attributes["USERNAME"] = "alice:bob"
    request.add_message_integrity(b"a key")
    data = bytes(request)
    assert verify_integrity(data, b"a key")
    read = decode(data)
    assert (read.username, read.transaction_id) == ("alice:bob", request.transaction_id)
    assert read.fingerprint


async def test_the_stun_client_of_debian_names_an_open_way() -> None:
    """It speaks RFC 3489, and asks for replies from the other address and the other port."""
    client = program("stun")
    port, alternate = free_ports(2)
    async with stun_node(port, alternate):
        code, said = await output_of(client, f"{HOST}:{port}", "-v")
    assert "Primary: Open" in said
    assert f"SourceAddress = {SECOND_HOST}:{port}" in said
    assert f"SourceAddress = {HOST}:{alternate}" in said
    assert f"ChangedAddress = {SECOND_HOST}:{alternate}" in said
    for test in ("test I = 1", "test II = 1", "test III = 1", "test I(2) = 1"):
        assert test in said
    assert code == 1  # its number for "open"


async def test_the_nat_discovery_of_coturn_runs_against_this_server() -> None:
    client = program("turnutils_natdiscovery")
    port, alternate = free_ports(2)
    async with stun_node(port, alternate):
        code, said = await output_of(client, "-m", "-f", "-p", str(port), HOST)
    assert code == 0
    assert "NAT with Endpoint Independent Mapping!" in said
    assert "NAT with Endpoint Independent Filtering!" in said
    assert f"Response origin: : {SECOND_HOST}:{alternate}" in said
    assert "No ALG: Mapped == XOR-Mapped" in said


@pytest.mark.parametrize("own_socket", [False, True])
async def test_the_stun_client_of_coturn_runs_against_this_server(own_socket: bool) -> None:
    """Its third request asks for the answer at another port of its own (RESPONSE-PORT)."""
    client = program("turnutils_stunclient")
    port, alternate = free_ports(2)
    async with stun_node(port, alternate) as node:
        asked = node.address[1] if own_socket else port
        code, said = await output_of(client, "-p", str(asked), HOST)
    assert code == 0
    for number in (1, 2, 3):
        assert f"RFC 5780 response {number}" in said


# --- this client against a server of others


@pytest.fixture
def coturn(tmp_path: Path) -> Iterator[tuple[int, int]]:
    """A coturn on loopback with two addresses: its two ports."""
    server = program("turnserver")
    port, alternate = free_ports(2)
    command = [
        *(server, "-n", "--stun-only", "--no-auth", "--no-tls", "--no-dtls", "--no-tcp"),
        *("--no-cli", "-L", HOST, "-L", SECOND_HOST),
        *(f"--listening-port={port}", f"--alt-listening-port={alternate}"),
        *(f"--pidfile={tmp_path}/pid", f"--log-file={tmp_path}/log", "--simple-log"),
        f"--db={tmp_path}/db",
    ]
    with running(command, tmp_path) as process:
        yield _when_ready(process, tmp_path / "log", port, alternate)


def _when_ready(
    process: subprocess.Popen[bytes], log: Path, port: int, alternate: int
) -> tuple[int, int]:
    deadline = time.monotonic() + PATIENCE_S
    while not (log.exists() and "Total General servers" in log.read_text(errors="replace")):
        assert process.poll() is None, log.read_text(errors="replace")
        assert time.monotonic() < deadline, "coturn does not come up"
        time.sleep(0.05)
    return port, alternate


async def test_this_diagnosis_runs_against_coturn(coturn: tuple[int, int]) -> None:
    port, alternate = coturn
    async with Node(Config().with_options(address=f"{HOST}:0", enable_discovery=False)) as node:
        report = await node.diagnose_nat([f"{HOST}:{port}"])
    assert report.nat_type is NatType.OPEN
    assert (report.mapping, report.filtering) == (Dependence.NONE, Dependence.NONE)
    assert report.alg is False
    assert report.servers[0].ok
    assert report.mtu == 1500
    text = "\n".join(report.evidence)
    assert f"came from {SECOND_HOST}:{alternate}" in text
    assert f"came from {HOST}:{alternate}" in text
    assert report.duration_s < 2 * SLOWER


def test_the_command_runs_against_coturn(coturn: tuple[int, int], tmp_path: Path) -> None:
    command = [sys.executable, "-m", "p2ptui", "nat", "--server", f"{HOST}:{coturn[0]}", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=True)
    report = json.loads(done.stdout)
    assert (report["nat_type"], report["udp"]) == ("open", True)
    assert report["servers"][0]["ok"]
