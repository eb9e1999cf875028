"""What a path of the kernel's carries is found out, upwards and downwards, and used."""

import json
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from tests.natlab.laboratory import Host, Laboratory
from tests.patience import PATIENCE_S

PORT = 9100
MEGABYTE = 1_000_000
SEND = ("python", "-m", "tests.natlab.path_runner", "send")


class Pair:
    """Two hosts with a router between them, and a node that serves at the second one."""

    def __init__(self, laboratory: Laboratory) -> None:
        self.laboratory = laboratory
        self.router = laboratory._internet
        self.one, self.other = (laboratory.public_host(ipv6=True) for _ in range(2))
        self.serving: subprocess.Popen[str] | None = None

    def serve(self, host: str = "") -> str:
        """Start the serving node; its address."""
        address = f"[{self.other.address6}]:{PORT}" if host else f"{self.other.address}:{PORT}"
        self.serving = self.other.start(
            ["python", "-m", "tests.natlab.path_runner", "serve", address],
            stdout=subprocess.PIPE,
            encoding="utf-8",
        )
        assert self.serving.stdout is not None
        assert self.serving.stdout.readline() == "ready\n"
        return address

    def send(self, address: str, *lengths: int, ceiling: int = 8972) -> dict[str, Any]:
        words = [*SEND, address, str(ceiling), *map(str, lengths)]
        done = self.one.run(words, timeout_s=2 * PATIENCE_S)
        assert done.returncode == 0, done.stderr
        said: dict[str, Any] = json.loads(done.stdout)
        return said

    def received(self, count: int) -> list[int]:
        """The lengths of so many texts that came."""
        assert self.serving is not None
        assert self.serving.stdout is not None
        return [int(self.serving.stdout.readline()) for _ in range(count)]

    def drop_above(self, payload_bytes: int, *sources: Host) -> None:
        """UDP payloads above this length vanish, if they come from there; so do IP fragments."""
        rules = "\n".join(
            f"ip saddr {source.address} udp length > {payload_bytes + 8} drop\n"
            f"ip saddr {source.address} ip frag-off & 0x3fff != 0 drop\n"
            f"ip6 saddr {source.address6} udp length > {payload_bytes + 8} drop\n"
            f"ip6 saddr {source.address6} exthdr frag exists drop"
            for source in sources
        )
        self.router.nft(
            "table inet narrow {\nchain narrowed {\n"
            f"type filter hook prerouting priority -450; policy accept;\n{rules}\n}}\n}}\n"
        )

    def set_mtu(self, mtu: int, *, silent: bool = False) -> None:
        """The MTU of the line to the serving host, at both ends."""
        port = f"line{self.other.address.split('.')[2]}"
        self.router.ip([f"link set {port} mtu {mtu}"])
        self.other.ip([f"link set eth0 mtu {mtu}"])
        if silent:
            self.router.nft(
                "table inet silent {\nchain silence {\n"
                "type filter hook output priority 0; policy accept;\n"
                "icmp type destination-unreachable drop\n"
                "icmpv6 type packet-too-big drop\n}\n}\n"
            )


@pytest.fixture
def pair(laboratory: Laboratory) -> Pair:
    return Pair(laboratory)


@pytest.mark.parametrize("limit", [1100, 1168])
@pytest.mark.parametrize("both", [False, True])
def test_a_file_arrives_where_large_datagrams_vanish(pair: Pair, limit: int, both: bool) -> None:
    address = pair.serve()
    pair.drop_above(limit, *((pair.one, pair.other) if both else (pair.one,)))

    said = pair.send(address, 20, MEGABYTE, 20, 940)

    assert [each["status"] for each in said["said"]] == ["delivered"] * 4
    assert pair.received(4) == [20, MEGABYTE, 20, 940]
    assert said["limit"] == said["size"] == limit


def test_a_file_arrives_over_ipv6_where_large_datagrams_vanish(pair: Pair) -> None:
    address = pair.serve("::")
    pair.drop_above(1100, pair.one)

    said = pair.send(address, MEGABYTE, 940)

    assert [each["status"] for each in said["said"]] == ["delivered"] * 2
    assert pair.received(2) == [MEGABYTE, 940]
    assert said["size"] == 1100


def test_a_file_passes_a_router_that_says_nothing_of_its_smaller_line(pair: Pair) -> None:
    address = pair.serve()
    pair.set_mtu(1000, silent=True)

    said = pair.send(address, 20, MEGABYTE, 940)

    assert [each["status"] for each in said["said"]] == ["delivered"] * 3
    assert pair.received(3) == [20, MEGABYTE, 940]
    assert said["size"] == said["limit"] == 972


def test_a_file_leaves_by_an_interface_that_is_smaller_than_the_base(pair: Pair) -> None:
    """The system cuts it, and the path loses the pieces."""
    address = pair.serve()
    pair.one.ip(["link set eth0 mtu 1000"])
    pair.drop_above(1472, pair.one)

    said = pair.send(address, MEGABYTE, 940)

    assert [each["status"] for each in said["said"]] == ["delivered"] * 2
    assert said["size"] == said["limit"] == 972


@pytest.mark.parametrize(("mtu", "size"), [(1500, 1472), (1280, 1252), (9000, 8972)])
def test_a_larger_path_is_found_and_used(pair: Pair, mtu: int, size: int) -> None:
    address = pair.serve()
    if mtu > 1500:
        for host in (pair.one, pair.other):
            port = f"line{host.address.split('.')[2]}"
            pair.router.ip([f"link set {port} mtu {mtu}"])
            host.ip([f"link set eth0 mtu {mtu}"])
    else:
        pair.set_mtu(mtu)

    said = pair.send(address, *[MEGABYTE] * 4)
    small = pair.send(address, *[MEGABYTE] * 4, ceiling=1200)

    assert said["size"] == size
    assert small["size"] == 1200
    assert pair.received(8) == [MEGABYTE] * 8
    assert said["limit"] is None
    if size > 1400:
        assert said["datagrams_out"] < 0.95 * small["datagrams_out"]


def test_who_takes_only_whole_datagrams_is_told_of_with_the_size(pair: Pair) -> None:
    address = (pair.other.address, PORT)
    deployed = pair.other.udp_socket(*address)
    pair.drop_above(1100, pair.one)
    sending = pair.one.start(
        [*SEND, f"{address[0]}:{PORT}", "1200", "20", "1000", "1000", "20"],
        stdout=subprocess.PIPE,
        encoding="utf-8",
    )
    deployed.settimeout(0.2)
    while sending.poll() is None:
        try:
            data, source = deployed.recvfrom(65535)
        except TimeoutError:
            continue
        for answer in answers_of_a_spec_node(json.loads(data)):
            deployed.sendto(json.dumps(answer).encode(), source)
    assert sending.stdout is not None
    said = json.loads(sending.stdout.read())

    statuses = [each["status"] for each in said["said"]]
    assert statuses == ["delivered", "timed out", "timed out", "delivered"]
    words = f"datagrams above 1100 bytes do not pass to {address[0]}:{PORT}"
    for each in said["said"][1:3]:
        assert each["reason"].endswith(words), each


def answers_of_a_spec_node(message: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """What a program of the specification answers, one without any extension."""
    head = {"id": f"answer to {message['id']}"[:60], "timestamp": 1_795_000_000}
    head |= {"sequence_number": None, "requires_ack": False, "payload": None}
    node_id = "00000000-0000-4000-8000-0000000000aa"
    match message["message_type"]:
        case "HandshakeRequest":
            info = {"id": node_id, "name": "deployed", "version": "1", "listen_addr": "0.0.0.0:1"}
            info |= {"capabilities": ["data_transfer"], "metadata": {}, "network_id": "p2p_default"}
            yield head | {
                "message_type": "HandshakeResponse",
                "payload": {"node_info": info, "success": True, "error_message": None},
                "ack_for": message["sequence_number"],
            }
        case "Ping":
            yield head | {"message_type": "Pong", "ack_for": None}
        case "Data":
            yield head | {"message_type": "Ack", "ack_for": message["sequence_number"]}
