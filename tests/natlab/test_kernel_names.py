"""Names, refused ports and listening addresses as a kernel has them, with the real resolver.

`/etc/netns/NAME/hosts` is `/etc/hosts` for what `ip netns exec NAME` starts.
"""

import json
import re
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.natlab.diagnosing import STUN_PORT, start_node
from tests.natlab.laboratory import Host, Laboratory
from tests.natlab.rules import Kind
from tests.patience import PATIENCE_S, SLOWER

AT_ONCE_S = 3.0 * SLOWER
"""What a command takes that meets no silence, its start included; a silence takes ten seconds."""

LOOPBACK = "127.0.0.1 localhost\n::1 localhost\n"

ETC = Path("/etc/netns")


class Site:
    """A laboratory, and what the names in it mean."""

    def __init__(self, laboratory: Laboratory) -> None:
        self.laboratory = laboratory
        self._folders: list[Path] = []

    def close(self) -> None:
        for folder in self._folders:
            shutil.rmtree(folder, ignore_errors=True)

    def name(self, host: Host, name: str, *addresses: str) -> None:
        """What a name means on a host, in this order of the file."""
        folder = ETC / host.name
        folder.mkdir(parents=True, exist_ok=True)
        self._folders.append(folder)
        lines = "".join(f"{address} {name}\n" for address in addresses)
        (folder / "hosts").write_text(LOOPBACK + lines, "ascii")

    def run(self, host: Host, *argv: str) -> "Ran":
        began = time.monotonic()
        done = host.run(["ip", "netns", "exec", host.name, "p2ptui", *argv])
        return Ran(done, time.monotonic() - began)

    def start(self, host: Host, *argv: str) -> "Running":
        return Running(
            host.start(
                ["ip", "netns", "exec", host.name, "p2ptui", "--no-ui", *argv],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                encoding="utf-8",
            )
        )

    def serve(self, host: Host, address: str, *argv: str) -> "Running":
        running = self.start(host, "--enable-discovery", "false", "--address", address, *argv)
        running.wait_for("is listening on")
        return running


class Ran:
    """A command that has ended."""

    def __init__(self, done: subprocess.CompletedProcess[str], took_s: float) -> None:
        self.code, self.out, self.err = done.returncode, done.stdout, done.stderr
        self.took_s = took_s

    @property
    def json(self) -> Any:
        assert self.code == 0, self.err
        return json.loads(self.out)

    @property
    def line(self) -> str:
        """The one line of what went wrong."""
        assert self.code == 1, (self.code, self.out, self.err)
        assert self.err.count("\n") == 1, self.err
        return self.err.rstrip()


class Running:
    """A node without a screen."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process
        self._lines: list[str] = []

    def wait_for(self, pattern: str) -> str:
        """The first line of the log, from now on, that fits."""
        assert self._process.stderr is not None
        until = time.monotonic() + PATIENCE_S
        while time.monotonic() < until:
            line = self._process.stderr.readline()
            if not line:
                break
            self._lines.append(line)
            if re.search(pattern, line):
                return line
        raise AssertionError(f"{pattern!r} is not in the log: {''.join(self._lines)}")


@pytest.fixture(scope="module")
def site(requires_laboratory: None) -> Iterator[Site]:
    with Laboratory() as laboratory:
        opened = Site(laboratory)
        try:
            yield opened
        finally:
            opened.close()


@pytest.fixture(scope="module")
def server(site: Site) -> Host:
    """A node at an IPv4 and an IPv6 address."""
    host = site.laboratory.server(ipv6=True)
    site.serve(host, "[::]:8080", "--name", "server")
    return host


@pytest.fixture(scope="module")
def client(site: Site) -> Host:
    return site.laboratory.public_host(ipv6=True)


@pytest.fixture(scope="module")
def dead(site: Site) -> Host:
    """A host that drops all that comes."""
    host = site.laboratory.public_host(ipv6=True)
    host.nft("table inet t { chain c { type filter hook input priority 0; policy drop; }\n }\n")
    return host


def without_ipv4(host: Host) -> Host:
    assert host.run(["ip", "-4", "address", "flush", "dev", "eth0"]).returncode == 0
    return host


def ping(site: Site, host: Host, target: str, *more: str) -> Ran:
    return site.run(host, "ping", target, "-n", "1", "--json", *more)


# A name is all its addresses.


def test_a_name_whose_first_address_is_dead(site: Site, server: Host, client: Host, dead: Host):
    site.name(client, "server.example", dead.address, server.address)
    ran = ping(site, client, "server.example:8080")
    assert ran.json["address"] == f"{server.address}:8080"
    assert ran.took_s < AT_ONCE_S
    for command in (["send", "server.example:8080", "hello"], ["peers", "server.example:8080"]):
        ran = site.run(client, *command)
        assert ran.code == 0, ran.err
        assert ran.took_s < AT_ONCE_S


def test_a_name_whose_first_family_is_dead(site: Site, server: Host, client: Host, dead: Host):
    assert server.address6
    assert dead.address6
    for wrong, right in ((dead.address6, server.address), (dead.address, server.address6)):
        site.name(client, "server.example", wrong, right)
        ran = ping(site, client, "server.example:8080")
        assert right in ran.json["address"]
        assert ran.took_s < AT_ONCE_S


def test_both_families_of_one_server_are_one_session(site: Site, server: Host, client: Host):
    assert server.address6
    site.name(client, "server.example", server.address, server.address6)
    ran = ping(site, client, "server.example:8080")
    assert ran.json["received"] == 1
    assert ran.took_s < AT_ONCE_S


@pytest.mark.parametrize("lost", ["ip", "ip6"])
def test_where_no_answer_comes_back_by_one_family_the_session_is_with_the_other(
    site: Site, server: Host, lost: str
):
    """Both requests have arrived: the second one is the same attempt, and not another's claim."""
    assert server.address6
    host = site.laboratory.public_host(ipv6=True)
    source = {"ip": server.address, "ip6": server.address6}
    right = source["ip6" if lost == "ip" else "ip"]
    host.nft(
        "table inet t { chain c { type filter hook input priority 0;"
        f" {lost} saddr {source[lost]} drop; }}\n }}\n"
    )
    site.name(host, "server.example", source[lost], right)
    ran = ping(site, host, "server.example:8080")
    assert right in ran.json["address"]
    assert ran.took_s < AT_ONCE_S
    ran = site.run(host, "send", "server.example:8080", "hello")
    assert ran.code == 0, ran.err
    assert ran.took_s < AT_ONCE_S


def test_a_machine_that_has_ipv6_only(site: Site, server: Host):
    assert server.address6
    host = without_ipv4(site.laboratory.public_host(ipv6=True))
    site.name(host, "server.example", server.address, server.address6)
    ran = ping(site, host, "server.example:8080")
    assert ran.json["address"] == f"[{server.address6}]:8080"
    assert ran.took_s < AT_ONCE_S
    ran = ping(site, host, f"{server.address}:8080")
    assert "this machine has no IPv4 network that leads there" in ran.line


def test_a_machine_that_has_no_ipv6_at_all(site: Site, server: Host):
    assert server.address6
    host = site.laboratory.public_host()
    host.sysctl("ipv6/conf/all/disable_ipv6", 1)
    site.name(host, "server.example", server.address6, server.address)
    ran = ping(site, host, "server.example:8080")
    assert ran.json["address"] == f"{server.address}:8080"
    assert ran.took_s < AT_ONCE_S


def test_localhost_is_where_the_node_is(site: Site):
    for address in ("[::1]:8080", "127.0.0.1:8080"):
        host = site.laboratory.public_host()
        site.name(host, "unused.example", "192.0.2.1")
        site.serve(host, address)
        ran = ping(site, host, "localhost:8080")
        assert ran.json["address"] == address
        assert ran.took_s < AT_ONCE_S


def test_a_diagnosis_asks_each_address_of_a_name(
    site: Site, client: Host, dead: Host, tmp_path: Path
):
    stun = site.laboratory.server()
    start_node(stun, tmp_path, other_host=stun.addresses[1])
    site.name(client, "stun.example", dead.address, stun.address)
    ran = site.run(client, "nat", "--server", f"stun.example:{STUN_PORT}", "--json")
    assert ran.json["udp"] is True
    assert ran.json["nat_type"] == "open"
    ran = site.run(client, "nat", "--join", "stun.example:8080", "--json")
    assert ran.json["udp"] is True


def test_a_diagnosis_on_a_machine_that_has_ipv6_only(site: Site, server: Host):
    """The node answers STUN at its own port where it serves it."""
    stun = site.laboratory.public_host(ipv6=True)
    assert stun.address6
    site.serve(stun, "[::]:8080", "--STUN")
    host = without_ipv4(site.laboratory.public_host(ipv6=True))
    site.name(host, "stun.example", stun.address, stun.address6)
    ran = site.run(host, "nat", "--server", "stun.example:8080", "--json")
    assert ran.json["udp"] is True
    assert ran.json["mapped"].startswith(f"[{host.address6}]:")
    assert [server["ok"] for server in ran.json["servers"]] == [False, True]


def test_a_server_that_is_joined_by_name(site: Site, server: Host, client: Host, dead: Host):
    site.name(client, "server.example", dead.address, server.address)
    node = site.start(client, "--join", "server.example:8080", "--name", "joiner")
    node.wait_for(r"is listening on \[::\]:\d+,")
    node.wait_for("joined server.example:8080")
    names = [
        node["name"]
        for node in site.run(client, "peers", "server.example:8080", "--json").json["nodes"]
    ]
    assert "joiner" in names


def test_files_are_received_by_way_of_a_name(
    site: Site, server: Host, client: Host, dead: Host, tmp_path: Path
):
    site.name(client, "server.example", dead.address, server.address)
    words = f"receive --into {tmp_path} --join server.example:8080 --name keeper --once"
    receiving = client.start(
        ["ip", "netns", "exec", client.name, "p2ptui", *words.split()],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
    )
    assert receiving.stdout is not None
    assert "receiving files" in receiving.stdout.readline()
    note = tmp_path / "note"
    note.write_text("hello")
    (tmp_path / "out").mkdir()
    ran = site.run(client, "send", "keeper", "--join", "server.example:8080", "--file", str(note))
    assert ran.code == 0, ran.err


def test_partners_whose_names_have_both_versions_help_where_the_nats_are(
    site: Site, tmp_path: Path
):
    hosts = [site.laboratory.public_host(ipv6=True) for _ in range(2)]
    nodes = []
    for host, other in zip(hosts, reversed(hosts), strict=True):
        site.name(host, "other.example", str(other.address6), other.address)
        path = tmp_path / f"{host.name}.toml"
        path.write_text('[stun_server]\nenable = true\npartner = "other.example:8080"\n')
        nodes.append(site.start(host, "-c", str(path), "-a", "[::]:8080"))
    for node in nodes:
        node.wait_for("joined other.example:8080")
    host = site.laboratory.nat(Kind.FULL_CONE).host()
    until = time.monotonic() + PATIENCE_S
    while time.monotonic() < until:
        ran = site.run(host, "nat", "--server", f"{hosts[0].address}:{STUN_PORT}", "--json")
        if ran.json["nat_type"] != "unknown":
            break
    assert ran.json["nat_type"] == "full-cone", ran.json["evidence"]


# Joining outward.


def joined(site: Site, server: Host, argv: Sequence[str]) -> str:
    host = site.laboratory.public_host(ipv6=True)
    node = site.start(host, *argv)
    line = node.wait_for("is listening on")
    node.wait_for("joined")
    return line


def test_who_joins_a_server_elsewhere_needs_no_further_option(
    site: Site, server: Host, tmp_path: Path
):
    assert server.address6
    four = joined(site, server, ["--join", f"{server.address}:8080"])
    assert re.search(r"is listening on 0\.0\.0\.0:\d+,", four)
    six = joined(site, server, ["--join", f"[{server.address6}]:8080"])
    assert re.search(r"is listening on \[::\]:\d+,", six)
    path = tmp_path / "node.toml"
    path.write_text(f'[server]\njoin = ["{server.address}:8080"]\n')
    joined(site, server, ["-c", str(path)])


def test_an_address_that_was_given_is_kept_and_the_line_names_the_option(site: Site, server: Host):
    host = site.laboratory.public_host(ipv6=True)
    assert server.address6
    for given, target, option in (
        ("127.0.0.1:8080", f"{server.address}:8080", "--address 0.0.0.0:8080 to reach others"),
        ("[::1]:8081", f"[{server.address6}]:8080", "--address '[::]:8081' to reach others"),
        ("0.0.0.0:8082", f"[{server.address6}]:8080", "--address '[::]:8082' to reach both"),
    ):
        node = site.start(host, "--address", given, "--join", target)
        line = node.wait_for("cannot join")
        assert option in line
        assert "Invalid argument" not in line


def test_without_a_server_elsewhere_a_node_listens_on_this_machine(site: Site):
    host = site.laboratory.public_host()
    line = site.start(host).wait_for("is listening on")
    assert "is listening on 127.0.0.1:8080," in line


# What the system knows is told.


def test_a_closed_port_is_told_at_once(site: Site, client: Host, server: Host):
    for at in (f"{server.address}:9999", f"[{server.address6}]:9999"):
        for command in (
            ["ping", at],
            ["send", at, "hello"],
            ["peers", at],
            ["ping", "somebody", "--join", at],
            ["receive", "--join", at],
            ["nat", "--join", at],
        ):
            ran = site.run(client, *command)
            assert ran.line == (
                f"p2ptui: {at} refused: nothing listens there; is a node running there?"
            )
            assert ran.took_s < AT_ONCE_S


def test_one_closed_port_of_two_ends_that_attempt_only(site: Site, client: Host, server: Host):
    closed = site.laboratory.public_host()
    site.name(client, "server.example", closed.address, server.address)
    ran = ping(site, client, "server.example:8080")
    assert ran.json["address"] == f"{server.address}:8080"
    site.name(client, "closed.example", closed.address, closed.address6 or server.address)
    ran = ping(site, client, "closed.example:9998")
    assert ran.line.count("refused: nothing listens there") == 2
    assert ran.took_s < AT_ONCE_S


def test_a_firewall_on_the_way_is_named(site: Site, server: Host):
    nat = site.laboratory.nat(Kind.FULL_CONE)
    host = nat.host()
    nat.nft(
        "table ip t { chain c { type filter hook forward priority 0; udp dport 7777 reject; }\n }\n"
    )
    ran = site.run(host, "ping", f"{server.address}:7777")
    assert f"was refused by {nat.lan_address} on the way; a firewall there" in ran.line
    assert ran.took_s < AT_ONCE_S


def test_a_firewall_of_this_machine_is_told(site: Site, server: Host):
    host = site.laboratory.public_host()
    host.nft(
        "table ip t { chain c { type filter hook output priority 0; meta l4proto udp drop; }\n }\n"
    )
    ran = site.run(host, "ping", f"{server.address}:8080")
    assert ran.line == (
        f"p2ptui: cannot send to {server.address}:8080: a firewall of this machine forbids it;"
        " allow UDP to that address"
    )
    assert ran.took_s < AT_ONCE_S


def test_no_way_there_is_told(site: Site, server: Host):
    host = site.laboratory.public_host()
    host.ip(["route del default"])
    words = {
        "unreachable": "there is no way to that host",
        "prohibit": "a rule of this machine forbids it",
        "blackhole": "this machine sends nothing to that address",
    }
    ran = site.run(host, "ping", f"{server.address}:8080")
    assert "this machine has no IPv4 network that leads there" in ran.line
    for kind, said in words.items():
        host.ip([f"route replace {kind} {server.address}/32"])
        ran = site.run(host, "ping", f"{server.address}:8080")
        assert f"cannot send to {server.address}:8080: {said}; " in ran.line
        assert "Invalid argument" not in ran.line


def test_a_broadcast_address_is_told(site: Site, client: Host):
    broadcast = client.address.rpartition(".")[0] + ".255"
    ran = site.run(client, "ping", f"{broadcast}:8080", "--timeout", "1")
    assert "Permission denied" not in ran.line


# What is said of the way there.


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("icmp type host-unreachable", "host unreachable"),
        ("icmp type net-unreachable", "network unreachable"),
        ("icmp type admin-prohibited", "administratively prohibited"),
        ("icmp type host-prohibited", "administratively prohibited"),
        ("icmpv6 type no-route", "network unreachable"),
        ("icmpv6 type addr-unreachable", "host unreachable"),
        ("icmpv6 type admin-prohibited", "administratively prohibited"),
    ],
)
def test_what_is_said_on_the_way_is_named(site: Site, client: Host, said: str, words: str):
    host = site.laboratory.public_host(ipv6=True)
    host.nft(
        "table inet t { chain c { type filter hook input priority 0;"
        f" udp dport 8080 reject with {said}; }}\n }}\n"
    )
    at = f"[{host.address6}]:8080" if "v6" in said else f"{host.address}:8080"
    # What may pass is waited for, and what is forbidden is not: however busy the machine is.
    may_pass = "unreachable" in words
    wait_s = 4 if may_pass else PATIENCE_S
    ran = ping(site, client, at, "--timeout", f"{wait_s:g}")
    assert f"{at} is not reachable: " in ran.line
    assert f"({words})" in ran.line
    assert (ran.took_s > wait_s) is may_pass


def test_an_address_that_nobody_has_is_called_so(site: Site, client: Host):
    nobody = client.address.rpartition(".")[0] + ".199"
    ran = ping(site, client, f"{nobody}:8080", "--timeout", "6")
    assert f"{nobody}:8080 is not reachable: nobody on the network of this machine" in ran.line


def test_where_ipv6_is_switched_off_that_is_said(site: Site, server: Host):
    host = site.laboratory.public_host(ipv6=True)
    assert host.run(["sysctl", "-qw", "net.ipv6.conf.all.disable_ipv6=1"]).returncode == 0
    ran = ping(site, host, f"[{server.address6}]:8080")
    assert "this machine has no IPv6 address; use an IPv4 address of that host" in ran.line
    assert ran.took_s < AT_ONCE_S
