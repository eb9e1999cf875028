"""A command that knows several servers asks each, before it says that there is no such node."""

import socket

import pytest

from p2ptui.cli import main
from tests.cli.test_commands import ALICE_ID, BOB_ID, COMMAND_HOST, SERVER, SERVER_ID, World
from tests.town import Town
from tests.virtual_loop import VirtualLoop

OTHER_ID = "5e5e0002-0000-4000-8000-000000000002"
CAROL_ID = "ca201004-0000-4000-8000-000000000004"
OTHER = "10.0.0.5:8080"
CAROL = "10.0.0.6:8080"
NAME = "servers.example:8080"
COMMANDS = [["ping", "-n", "1"], ["send", "hello"]]


class TwoServers(World):
    """Its second server has a client that the first one does not know, and the other way round."""

    second_bob = False

    async def _populate(self, town: Town) -> None:
        await super()._populate(town)
        server = await town.start(name="other", node_id=OTHER_ID)
        carol = await town.start(name="carol", node_id=CAROL_ID)
        await carol.connect(server.address)
        if self.second_bob:
            bob = await town.start(name="bob", node_id="b0b00009-0000-4000-8000-000000000009")
            await bob.connect(server.address)


@pytest.fixture
def world(monkeypatch, capsys):
    return TwoServers(monkeypatch, capsys)


@pytest.fixture
def names(monkeypatch):
    """The addresses of each host name."""
    names = {"servers.example": ["10.0.0.2", "10.0.0.5"]}

    async def getaddrinfo(self, host, port, **options):
        if host not in names:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [(socket.AF_INET, socket.SOCK_DGRAM, 17, "", (one, port)) for one in names[host]]

    monkeypatch.setattr(VirtualLoop, "getaddrinfo", getaddrinfo, raising=False)
    return names


def told(command: list[str], target: str, *servers: str) -> list[str]:
    name, *rest = command
    joined = [word for server in servers for word in ("--join", server)]
    return [name, target, *rest, *joined]


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("target", ["alice", "carol", ALICE_ID, CAROL_ID, "ca201", OTHER_ID])
@pytest.mark.parametrize("turned", [False, True])
def test_one_name_with_two_servers(world, names, command, target, turned):
    if turned:
        names["servers.example"].reverse()
    said = world.run(*told(command, target, NAME))
    assert (said.code, said.errors) == (0, "")
    assert said.took_s < 1


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("target", ["bob", "carol"])
@pytest.mark.parametrize("servers", [(SERVER, OTHER), (OTHER, SERVER)])
def test_every_server_that_was_given_is_asked(world, command, target, servers):
    said = world.run(*told(command, target, *servers))
    assert (said.code, said.errors) == (0, "")
    assert said.took_s < 1


def test_the_way_by_the_second_server_carries_what_the_first_cannot(world):
    world.cut = [(COMMAND_HOST, CAROL)]
    said = world.run("ping", "carol", "--join", SERVER, "--join", OTHER, "-n", "2", "--json")
    assert (said.code, said.json["path"], said.json["address"]) == (0, "relay", OTHER)


def test_the_server_that_was_given_first_decides_whom_a_name_means(world):
    world.second_bob = True
    said = world.run("ping", "bob", "--join", SERVER, "--join", OTHER, "-n", "1", "--json")
    assert (said.code, said.json["node_id"]) == (0, BOB_ID)


@pytest.mark.parametrize("dead", ["10.0.0.77:8080", "gone.example:8080"])
@pytest.mark.parametrize("first", [True, False])
def test_a_dead_server_beside_one_that_lives(world, names, dead, first):
    servers = (dead, OTHER) if first else (OTHER, dead)
    said = world.run(*told(COMMANDS[0], "carol", *servers))
    assert (said.code, said.errors) == (0, "")
    assert said.took_s < 1


def test_whom_no_server_knows(world, names):
    said = world.run("ping", "nobody", "--join", NAME)
    assert said.errors == "p2ptui: no node is called 'nobody' or has an id that begins so\n"
    assert said.took_s < 1
    unknown = "00000000-0000-4000-8000-000000000009"
    said = world.run("ping", unknown, "--join", SERVER, "--join", OTHER)
    words = f"the servers at {SERVER} and {OTHER} do not know node {unknown}"
    assert said.errors == f"p2ptui: {words}\n"


def test_a_server_that_could_not_be_asked_is_told(world):
    said = world.run("ping", "nobody", "--join", SERVER, "--join", "10.0.0.77:8080")
    assert said.errors == (
        "p2ptui: no node is called 'nobody' or has an id that begins so;"
        " no answer from 10.0.0.77:8080; is a node running there?\n"
    )
    assert said.took_s < 4


def test_one_server_given_twice_is_asked_once(world):
    said = world.run("ping", "nobody", "--join", SERVER, "--join", SERVER)
    assert said.errors == "p2ptui: no node is called 'nobody' or has an id that begins so\n"
    assert said.took_s < 1


def test_several_that_fit_at_one_server_are_not_looked_for_at_the_next(world):
    world.server_options = {"node_id": "b0b00009-0000-4000-8000-000000000009"}
    said = world.run("send", "b0b", "hello", "--join", SERVER, "--join", OTHER)
    assert said.code == 1
    assert "'b0b' fits 2 nodes: " in said.errors


def test_the_first_server_may_be_the_target(world):
    said = world.run("ping", "server", "--join", OTHER, "--join", SERVER, "-n", "1", "--json")
    assert (said.code, said.json["node_id"]) == (0, SERVER_ID)


def test_a_diagnosis_joins_one_server(world, capsys):
    assert main(["nat", "--join", SERVER, "--join", OTHER]) == 2
    errors = capsys.readouterr().err
    assert errors == "p2ptui nat: --join may be given only once; see p2ptui nat -h\n"
