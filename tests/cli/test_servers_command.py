"""servers and peers where several servers share one network: who they are, and who holds whom."""

import asyncio

import pytest

from tests.broker_in_town import BrokerInTown
from tests.cli.test_commands import SERVER, World
from tests.town import Town

CAROL_ID = "ca201004-0000-4000-8000-000000000004"


class ServersWorld(World):
    """A second server shares the network of the first one, by a broker; it has a client too."""

    beta_name = "beta"

    def __init__(self, monkeypatch, capsys) -> None:
        super().__init__(monkeypatch, capsys)
        self.broker_fails = False
        # Servers of a cluster have keys, and their ids are made of them.
        self.server_options = BrokerInTown().options(name="alpha") | {"node_id": ""}

    async def _populate(self, town: Town) -> None:
        broker = BrokerInTown()
        self._monkeypatch.setattr("p2ptui.node.cluster.NatsBus", broker.bus)
        await super()._populate(town)
        options = broker.options(name=self.beta_name)
        beta = await town.start(name="other", **options)
        carol = await town.start(name="carol", node_id=CAROL_ID)
        await carol.connect(beta.address)
        await asyncio.sleep(3)
        if self.broker_fails:
            broker.kill()
            await asyncio.sleep(2)


@pytest.fixture
def world(monkeypatch, capsys):
    return ServersWorld(monkeypatch, capsys)


@pytest.mark.parametrize("named", [[SERVER], ["--join", SERVER]])
def test_the_servers_of_a_network_in_a_table(world, named):
    said = world.run("servers", *named)
    assert (said.code, said.errors) == (0, "")
    first, header, alpha, beta = said.lines
    assert first.startswith(f"server ({world_id(world, 'server')}) at {SERVER}")
    assert header.split() == ["NAME", "ID", "ADDRESS", "PEERS", "BROKER", "ROUND", "TRIP"]
    assert alpha.split()[:1] + alpha.split()[2:3] == ["alpha", SERVER]
    assert "up for 3 s" in alpha
    assert alpha.split()[3] == "3", "alice, bob and the command"
    assert beta.split()[:1] == ["beta"]
    assert beta.split()[3] == "1"
    assert "heard" in beta
    assert beta.endswith(" ms")


def world_id(world, name):
    return world._nodes[name]._own.id


def test_and_for_programs(world):
    said = world.run("servers", SERVER, "--json").json
    assert said["asked"]["id"] == world_id(world, "server")
    assert said["is_alone"] is False
    alpha, beta = said["servers"]
    assert alpha["id"] == said["asked"]["id"]
    assert (alpha["linked"], alpha["heard_s"], alpha["rtt_ms"]) == (True, None, None)
    assert (beta["name"], beta["linked"], beta["draining"]) == ("beta", None, False)
    assert beta["rtt_ms"] == pytest.approx(8, abs=1)


def test_a_broker_that_is_away(world):
    world.broker_fails = True
    said = world.run("servers", SERVER)
    assert "down for 2 s" in said.lines[2]
    note = "p2ptui: this server has no link to its broker: it may list only its own nodes\n"
    assert said.errors == world.run("peers", SERVER).errors == note


def test_a_server_that_serves_alone(world):
    world.server_options = {}
    said = world.run("servers", SERVER)
    assert (said.code, said.errors) == (0, "")
    (line,) = said.lines
    assert "serves alone, with no other server" in line
    assert world.run("servers", SERVER, "--json").json["is_alone"] is True


def test_nobody_to_ask(capsys):
    from p2ptui.cli import main

    assert main(["servers"]) == 2
    assert "name a server of the network: p2ptui servers HOST:PORT" in capsys.readouterr().err


def test_nobody_answers(world):
    said = world.run("servers", "10.0.0.77:8080", "--timeout", "1")
    assert said.code == 1
    assert said.errors.startswith("p2ptui: ")
    assert said.errors.count("\n") == 1


def test_peers_says_which_server_holds_whom(world):
    said = world.run("peers", SERVER)
    assert (said.code, said.errors) == (0, "")
    _, header, *rows = said.lines
    assert header.split()[:5] == ["NAME", "ID", "ADDRESS", "VERSION", "SERVER"]
    held = {row.split()[0]: row.split()[4] for row in rows}
    assert held == {"alice": "alpha", "bob": "alpha", "carol": "beta"}
    nodes = world.run("peers", SERVER, "--json").json["nodes"]
    found = {node["name"]: node["server"] for node in nodes}
    assert found == held
    assert all(len(node["server_id"]) == 36 for node in nodes)


def test_peers_says_nothing_of_that_where_a_server_is_alone(world):
    world.server_options = {}
    assert "SERVER" not in world.run("peers", SERVER).output
    for node in world.run("peers", SERVER, "--json").json["nodes"]:
        assert not {"server", "server_id"} & node.keys()


def test_a_name_that_would_act_on_the_terminal(world):
    world.beta_name = "b\x1b]0;x\x07\u202e"
    for command in ("servers", "peers"):
        said = world.run(command, SERVER)
        assert said.code == 0
        assert "b\\x1b]0;x" in said.output
        assert not set(said.output) & {"\x1b", "\x07", "\u202e"}
