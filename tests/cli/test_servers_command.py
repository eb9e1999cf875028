"""servers and peers where several servers share one network: who they are, and who holds whom."""

import asyncio

import pytest

from tests.broker_in_town import BrokerInTown
from tests.cli.test_commands import SERVER, World
from tests.town import Town

BETA = "10.0.0.5:8080"
CAROL_ID = "ca201004-0000-4000-8000-000000000004"


class ServersWorld(World):
    """A second server shares the network of the first one, by a broker; it has a client too."""

    beta_name = "beta"
    beta_address = ""

    def __init__(self, monkeypatch, capsys) -> None:
        super().__init__(monkeypatch, capsys)
        self.broker_fails = False
        self.fails_for_s = 2.0
        self.beta_id = ""
        # Servers of a cluster have keys, and their ids are made of them.
        self.server_options = BrokerInTown().options(name="alpha") | {"node_id": ""}

    async def _populate(self, town: Town) -> None:
        broker = BrokerInTown()
        self._monkeypatch.setattr("p2ptui.node.cluster.NatsBus", broker.bus)
        await super()._populate(town)
        options = broker.options(name=self.beta_name, address=self.beta_address)
        beta = await town.start(name="other", **options)
        self.beta_id = beta.id
        carol = await town.start(name="carol", node_id=CAROL_ID)
        await carol.connect(beta.address)
        await asyncio.sleep(3)
        if self.broker_fails:
            broker.kill()
            await asyncio.sleep(self.fails_for_s)


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


WITHOUT_LINK = (
    "it currently has no link to the other servers, and one of them may have the node: try again"
    " later, or ask another server"
)


@pytest.mark.parametrize("command", [["ping", "-n", "1"], ["send", "hello"]])
@pytest.mark.parametrize(
    ("target", "says"),
    [
        ("carol", "knows no node that is called 'carol' or has an id that begins so"),
        (CAROL_ID, f"does not know node {CAROL_ID}"),
    ],
)
def test_a_server_without_a_broker_does_not_say_that_there_is_no_such_node(
    world, command, target, says
):
    world.broker_fails, world.fails_for_s = True, 7.0
    name, *rest = command
    said = world.run(name, target, *rest, "--join", SERVER)
    words = f"the server at {SERVER} {says}; {WITHOUT_LINK}"
    assert (said.code, said.errors) == (1, f"p2ptui: {words}\n")
    as_json = world.run(name, target, *rest, "--join", SERVER, "--json")
    assert (as_json.code, as_json.json["error"]) == (1, words)
    assert said.took_s < 1


def test_a_node_that_was_there_before_the_broker_failed(world):
    world.broker_fails, world.fails_for_s = True, 1.0
    said = world.run("send", "carol", "hello", "--join", SERVER)
    assert said.code == 1
    note = f"carol is at another server, and the server at {SERVER} currently has no link to it"
    assert said.errors.startswith(f"p2ptui: {note}\np2ptui: not known whether it arrived at carol")


@pytest.mark.parametrize("target", ["beta", "BETA", "BETA[:8]"])
def test_another_server_is_reached_by_its_name_or_id(world, target):
    if target != "beta":
        world.run("servers", SERVER)  # ids of a world are the same each time
        target = {"BETA": world.beta_id, "BETA[:8]": world.beta_id[:8]}[target]
    said = world.run("ping", target, "-n", "1", "--join", SERVER, "--json").json
    assert (said["node_id"], said["address"], said["path"]) == (world.beta_id, BETA, "direct")
    assert world.run("send", target, "hello", "--join", SERVER).code == 0


def test_another_server_that_does_not_say_where_it_is(world):
    world.beta_address = "240.0.0.1:8080"  # nobody goes there
    for command in (["ping", "beta", "-n", "1"], ["send", "beta", "hello"]):
        said = world.run(*command, "--join", SERVER)
        assert said.code == 1
        assert said.errors == (
            f"p2ptui: beta ({world.beta_id}) is another server of the network, and its address"
            " is not known: set cluster.address there\n"
        )


def test_the_server_that_is_asked_goes_by_its_name_among_servers_too(world):
    for name in ("alpha", "server"):
        said = world.run("ping", name, "-n", "1", "--join", SERVER, "--json")
        assert (said.code, said.json["node_id"]) == (0, world_id(world, "server"))


def test_a_name_of_a_node_and_of_a_server_is_not_guessed(world):
    world.beta_name = "bob"
    said = world.run("ping", "bob", "--join", SERVER)
    assert said.code == 1
    assert "'bob' fits 2 nodes: " in said.errors


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
