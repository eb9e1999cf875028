"""`p2ptui nat` in process, in a simulated network: who is asked, and the forms of the report.

Everything but the sockets and the time is real.
"""

import asyncio
import json
import re
import socket
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import pytest

from p2ptui import Config, Node
from p2ptui.cli import main
from p2ptui.commands import nat, session
from p2ptui.commands.nat import WATCH_S
from p2ptui.errors import PeerTimeoutError
from tests.simulated_nat import BANNING, KINDS, LIMITING, Behaviour, Nat, Nats
from tests.town import Town
from tests.virtual_loop import run_virtual

COMMAND_HOST = "192.168.77.2"
OUTSIDE = "198.51.100.1"
SERVER, STUN = "203.0.113.1:8080", "203.0.113.1:3478"
PLAIN = "203.0.113.3:8080"
NOBODY = "203.0.113.250:3478"
KEYS = [
    "udp",
    "local",
    "mapped",
    "mapped_v6",
    "mapping",
    "filtering",
    "nat_type",
    "port_allocation",
    "hairpin",
    "lifetime_s",
    "mtu",
    "alg",
    "firewall",
    "servers",
    "confidence",
    "evidence",
    "meaning",
    "advice",
    "duration_s",
]


@dataclass
class Said:
    """What a command left behind."""

    code: int
    output: str
    errors: str

    @property
    def reports(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.output.splitlines()]

    @property
    def json(self) -> dict[str, Any]:
        (report,) = self.reports
        return report


@dataclass
class Street:
    """A command line behind a NAT, a node with STUN and one without on the other side."""

    monkeypatch: pytest.MonkeyPatch
    capsys: pytest.CaptureFixture[str]
    behaviour: Behaviour = KINDS["port-restricted-cone"]
    limit_s: float = 600.0
    server_options: Mapping[str, Any] = field(default_factory=dict)

    def run(self, *arguments: str) -> Said:
        async def program(work: Any) -> int:
            nats = Nats(Nat(OUTSIDE, {COMMAND_HOST}, self.behaviour))
            async with Town(translate=nats.translate) as town:
                stun = {"enable": True, "address": STUN, "alternate_address": "203.0.113.2"}
                await town.start(
                    "server", ("203.0.113.1", 8080), stun_server=stun, **self.server_options
                )
                await town.start("plain", ("203.0.113.3", 8080))

                def make(config: Config) -> Node:
                    return town.make_from(config.with_options(address=f"{COMMAND_HOST}:0"))

                for module in (nat, session):
                    self.monkeypatch.setattr(module, "Node", make)
                with suppress(TimeoutError):
                    async with asyncio.timeout(self.limit_s):
                        return await work
                return 130

        self.monkeypatch.setattr("p2ptui.io.loop.run", lambda work, **_: run_virtual(program(work)))
        code = main(["nat", *arguments])
        output, errors = self.capsys.readouterr()
        return Said(code, output, errors)


@pytest.fixture
def street(monkeypatch, capsys) -> Street:
    return Street(monkeypatch, capsys)


def test_the_json(street: Street) -> None:
    said = street.run("--server", STUN, "--json")
    assert (said.code, said.errors) == (0, "")
    assert list(said.json) == KEYS
    assert said.json["nat_type"] == "port-restricted-cone"
    assert said.json["mapped"].startswith(f"{OUTSIDE}:")
    assert said.json["local"].startswith(f"{COMMAND_HOST}:")
    assert said.json["servers"] == [
        {"address": STUN, "rtt_ms": pytest.approx(20), "ok": True, "error": None}
    ]
    assert said.output.isascii()


def test_the_table_has_plain_words_under_it(street: Street) -> None:
    said = street.run("--server", STUN)
    assert (said.code, said.errors) == (0, "")
    lines = [re.split(r"\s{2,}", line.strip()) for line in said.output.splitlines()]
    cells = {line[0]: line[1] for line in lines if len(line) == 2}
    assert cells["NAT type"] == "port-restricted-cone (sure)"
    assert cells["hairpin"] == "no"
    assert cells["server"] == f"{STUN}: 20.0 ms"
    text = " ".join(said.output.split())
    assert "Direct works with: open or full cone;" in text
    assert "Needs port prediction with: symmetric with ports in sequence." in text
    assert "Join the server that the other side joins." in text
    assert "mapping: " in text
    assert "\x1b" not in said.output


def test_the_markdown_says_how_to_make_it_again(street: Street) -> None:
    said = street.run("--server", STUN, "--server", NOBODY, "--markdown")
    assert said.code == 0
    assert said.output.startswith("## NAT report\n")
    assert f"Made by `p2ptui nat --server {STUN} --server {NOBODY}` in " in said.output
    assert f"| `{NOBODY}` | no answer |" in said.output


def test_a_joined_node_is_asked(street: Street) -> None:
    said = street.run("--join", SERVER, "--json")
    assert said.code == 0
    # Its STUN ports are asked as well: it has no other address.
    host = SERVER.partition(":")[0]
    asked = [server["address"] for server in said.json["servers"]]
    assert asked == [SERVER, f"{host}:3478", f"{host}:3479"]
    assert said.json["nat_type"] == "port-restricted-cone"


def test_a_joined_node_without_stun_is_no_silent_server(street: Street) -> None:
    """It would read as blocked, though the handshake has just passed."""
    said = street.run("--join", PLAIN, "--server", STUN, "--json")
    assert [server["address"] for server in said.json["servers"]] == [STUN]
    assert said.json["nat_type"] == "port-restricted-cone"


@pytest.mark.parametrize(
    "option", [("--server", STUN), ("--filter-with", STUN), ("--join", SERVER)]
)
def test_a_server_that_is_lost_by_the_test_is_told(street: Street, option: tuple[str, str]) -> None:
    """Nobody depends on it in a command's own node."""
    street.behaviour = BANNING
    said = street.run(*option, "--json")
    assert (said.code, said.errors) == (0, "")
    assert said.json["nat_type"] == "port-restricted-cone"
    assert said.json["findings"] == ["bans unasked senders"]
    assert "wait a minute" in said.json["advice"]
    table = street.run(*option).output
    assert re.search(r"^also +bans unasked senders *$", table, re.MULTILINE)


def test_that_a_server_still_answers_is_told(street: Street) -> None:
    said = street.run("--server", STUN, "--json")
    assert any(STUN in line and "still answer" in line for line in said.json["evidence"])


def test_a_limit_of_new_flows_is_told(street: Street) -> None:
    street.behaviour = LIMITING
    said = street.run("--server", STUN, "--markdown")
    assert "| also | limits new flows |" in said.output
    assert "many tries at once do not" in said.output


def test_the_server_for_the_filter_is_part_of_the_command(street: Street) -> None:
    said = street.run("--server", NOBODY, "--filter-with", STUN, "--markdown")
    assert f"Made by `p2ptui nat --server {NOBODY} --server {STUN}` in " in said.output


def test_blocked(street: Street) -> None:
    street.behaviour = KINDS["blocked"]
    said = street.run("--server", STUN, "--server", NOBODY, "--json")
    assert said.code == 0
    assert (said.json["nat_type"], said.json["udp"]) == ("blocked", False)
    assert said.json["mapping"] == said.json["filtering"] == "unknown"
    assert said.json["duration_s"] < 3


def test_a_node_without_stun_is_no_blocked_network(street: Street) -> None:
    said = street.run("--server", PLAIN, "--json")
    assert (said.json["nat_type"], said.json["udp"]) == ("unknown", True)
    assert said.json["meaning"].startswith(f"The node at {PLAIN} serves no STUN: UDP passes")
    assert "--STUN" in said.json["advice"]
    assert said.json["servers"][0]["error"] == "a node lives there, and serves no STUN"
    assert said.code == 1  # what was asked for is not known
    assert said.json["error"] == said.json["meaning"]
    assert said.errors == f"p2ptui: {said.json['error']}\n"
    assert said.json["duration_s"] < 2
    as_text = street.run("--server", PLAIN)
    assert (as_text.code, as_text.errors) == (1, "")
    assert all(line == line.rstrip() for line in as_text.output.splitlines())


def test_a_node_without_stun_beside_a_stun_server_costs_nothing(street: Street) -> None:
    said = street.run("--server", PLAIN, "--server", STUN, "--json")
    assert (said.code, said.json["nat_type"]) == (0, "port-restricted-cone")


def test_a_node_that_cannot_be_reached_is_still_blocked(street: Street) -> None:
    street.behaviour = KINDS["blocked"]
    said = street.run("--server", PLAIN, "--json")
    assert (said.json["nat_type"], said.json["udp"]) == ("blocked", False)
    assert said.code == 0  # it is an answer, and says how sure it is
    assert said.json["duration_s"] < 3


def test_the_lifetime(street: Street) -> None:
    street.behaviour = Behaviour(lifetime_s=30)
    said = street.run("--server", STUN, "--lifetime", "--json")
    assert said.json["lifetime_s"] == pytest.approx(30, rel=0.1)
    assert " --lifetime`" in street.run("--server", STUN, "--lifetime", "--markdown").output


def test_watching_makes_one_report_after_the_other(street: Street) -> None:
    street.limit_s = 3.5 * WATCH_S
    said = street.run("--server", STUN, "--watch", "--json")
    assert said.code == 130
    assert [report["nat_type"] for report in said.reports] == ["port-restricted-cone"] * 4


@pytest.mark.parametrize("form", ["--json", "--markdown"])
def test_watching_goes_on_after_an_error(street: Street, form: str) -> None:
    real, runs = Node.diagnose_nat, []

    async def sometimes(self: Node, *arguments: Any, **options: Any) -> Any:
        runs.append(1)
        if len(runs) == 2:
            raise PeerTimeoutError("it took too long")
        return await real(self, *arguments, **options)

    street.monkeypatch.setattr(Node, "diagnose_nat", sometimes)
    street.limit_s = 2.5 * WATCH_S
    said = street.run("--server", STUN, "--watch", form)
    assert said.code == 130
    assert len(runs) == 3
    if form == "--json":
        assert [report.get("error") for report in said.reports] == [None, "it took too long", None]
        assert said.errors == ""
    else:
        assert said.output.count("## NAT report") == 2
        assert said.errors == "p2ptui: it took too long\n"


def test_where_nothing_could_be_asked_it_failed(street: Street) -> None:
    async def refuse(*_: Any, **__: Any) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "unknown")

    street.monkeypatch.setattr(asyncio.SelectorEventLoop, "getaddrinfo", refuse)
    said = street.run("--server", "nowhere.invalid:3478", "--json")
    assert said.code == 1
    assert said.json["udp"] is None
    assert said.json["nat_type"] == "unknown"
    assert "could be asked at all" in said.json["meaning"]
    assert "names resolve" in said.json["advice"]


def test_a_configured_server_is_asked(street: Street, tmp_path) -> None:
    file = tmp_path / "p2ptui.toml"
    file.write_text(f'[nat_detection]\nstun_servers = ["{STUN}"]\n')
    said = street.run("-c", str(file), "--json")
    assert [server["address"] for server in said.json["servers"]] == [STUN]


def test_nobody_to_join(street: Street) -> None:
    said = street.run("--join", NOBODY)
    assert said.code == 1
    assert said.errors == f"p2ptui: no answer from {NOBODY}; is a node running there?\n"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--server", "nonsense"], "write HOST:PORT"),
        (["--server", "203.0.113.1:0"], "port 0 is no port"),
        (["--server", "0.0.0.0:3478"], "0.0.0.0"),
        (["--join", "203.0.113.1:99999"], "the port must be"),
        (["--json", "--markdown"], "not allowed with"),
        (["surplus"], "surplus"),
    ],
)
def test_wrong_usage_is_one_line(capsys, arguments: list[str], says: str) -> None:
    assert main(["nat", *arguments]) == 2
    output, errors = capsys.readouterr()
    assert output == ""
    assert errors.count("\n") == 1
    assert says in errors
