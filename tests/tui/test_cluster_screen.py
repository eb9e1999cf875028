"""What the screen shows of the servers of a network: of one of them, and of a node at one."""

import asyncio

import pytest

from p2ptui.errors import UnknownPeerError
from tests.broker_in_town import BrokerInTown
from tests.tui.stage import Stage, play

BETA = "10.0.2.1"


@pytest.fixture
def broker(monkeypatch: pytest.MonkeyPatch) -> BrokerInTown:
    broker = BrokerInTown()
    monkeypatch.setattr("p2ptui.node.cluster.NatsBus", broker.bus)
    return broker


async def meet(stage: Stage, broker: BrokerInTown, size: tuple[int, int] = (120, 40)) -> None:
    """Alice is a server with bob, and beta is another one with carol and dave."""
    stage.alice_name = "alpha"
    await stage.open(size, **broker.options(name="alpha"))
    beta = await stage.node("beta", BETA, **broker.options(name="be\x1bta"))
    await stage.friend("bob", 1)
    for number, name in enumerate(("carol", "dave")):
        node = await stage.node(name, f"10.0.3.{number + 1}")
        await node.connect(beta.address)
    await stage.wait(4)


def line_of(stage: Stage, word: str) -> str:
    return next(line for line in stage.lines() if word in line)


def test_a_server_shows_the_others_and_whom_they_hold(broker: BrokerInTown) -> None:
    async def story(stage: Stage) -> None:
        await meet(stage, broker)
        lines = stage.lines()
        assert "2 servers" in lines[0]
        carol = line_of(stage, "carol")
        assert "◦" in carol
        assert "elsewhere" in carol
        assert "at be\\x1bta" in carol
        statistics = stage.app.statistics.facts.plain
        assert "broker       up for " in statistics
        assert "servers      1 other: be\\x1bta" in statistics
        assert "elsewhere    2 nodes" in statistics
        assert "handed over  0 out, 0 in" in statistics
        assert "\x1b" not in stage.text()

        broker.kill()
        await stage.wait(2)
        assert "broker down" in stage.lines()[0]
        assert "down for " in stage.app.statistics.facts.plain
        assert "bob" in stage.text()
        broker.start()
        await stage.wait(3)
        assert "2 servers" in stage.lines()[0]

    play(story)


def test_the_command_prints_the_servers(broker: BrokerInTown) -> None:
    async def story(stage: Stage) -> None:
        await meet(stage, broker)
        await stage.type("servers")
        header = line_of(stage, "NAME ")
        assert "BROKER" in header
        assert "alpha (this node)" in line_of(stage, "(this node)")
        assert "be\\x1bta" in line_of(stage, "heard ")
        broker.kill()
        await stage.wait(2)
        assert "is away: there is no broker at" in stage.text()

    play(story)


@pytest.mark.parametrize("size", [(80, 24), (40, 10)])
def test_in_a_narrow_terminal_they_stand_below_each_other(
    broker: BrokerInTown, size: tuple[int, int]
) -> None:
    async def story(stage: Stage) -> None:
        await meet(stage, broker, size)
        await stage.type("servers")
        assert "alpha (this node)" in stage.text()
        assert "NAME " not in stage.text()

    play(story)


def test_a_node_elsewhere_in_full(broker: BrokerInTown) -> None:
    async def story(stage: Stage) -> None:
        await meet(stage, broker)
        await stage.type("peers carol")
        await stage.pilot.press("enter")
        await stage.wait()
        text = stage.text()
        assert "held by" in text
        assert "10.0.3.1:8080" in text
        assert "elsewhere" in text
        await stage.pilot.press("escape")
        said = await stage.type("ping carol")
        assert said.startswith("carol is at be\\x1bta, another server: ")
        assert stage.app.roster.shell_target(stage.app.roster.find("carol")) == ()

    play(story)


def test_a_client_shows_which_server_is_its_home(broker: BrokerInTown) -> None:
    async def story(stage: Stage) -> None:
        one = await stage.node("one", BETA, **broker.options())
        await stage.node("two", "10.0.2.2", **broker.options())
        await stage.open(join=[f"{BETA}:8080"])
        await stage.wait(8)
        assert stage.alice.home == one.id
        assert "home one" in stage.lines()[0]
        assert "home         one" in stage.app.statistics.facts.plain
        assert "servers      1 other" in stage.app.statistics.facts.plain
        await stage.type("servers")
        assert "one (home)" in stage.text()
        assert "10.0.2.2:8080" in stage.text()
        await stage.pilot.press("escape")
        await stage.type("peers one")
        await stage.pilot.press("enter")
        await stage.wait()
        assert "the home of this node" in stage.text()

    play(story)


def test_a_client_knows_the_servers_by_their_names(broker: BrokerInTown) -> None:
    async def story(stage: Stage) -> None:
        await stage.node("one", BETA, **broker.options(name="north"))
        two = await stage.node("two", "10.0.2.2", **broker.options(name="so\x1buth"))
        await stage.open(join=[f"{BETA}:8080"])
        await stage.wait(8)
        assert "home north" in stage.lines()[0]
        await stage.type("servers")
        await stage.wait(2)
        home, other = line_of(stage, "north (home)"), line_of(stage, "so\\x1buth")
        assert "up for " in home
        assert "heard " in other
        names = {server.id: server.name for server in stage.alice.network_servers()}
        assert names[two.id] == "so\x1buth"

        three = await stage.node("three", "10.0.2.3", **broker.options(name="east"))
        await stage.wait(8)
        assert "10.0.2.3:8080" in line_of(stage, "east")
        await three.close()
        broker.kill()
        await stage.wait(8)
        assert "down for " in line_of(stage, "north (home)")

    play(story)


def test_a_client_connects_to_another_server_by_its_name(broker: BrokerInTown) -> None:
    async def story(stage: Stage) -> None:
        await stage.node("one", BETA, **broker.options(name="north"))
        two = await stage.node("two", "10.0.2.2", **broker.options(name="south"))
        await stage.open(join=[f"{BETA}:8080"])
        await stage.wait(8)
        said = await stage.type("ping south")
        where = "connect to it first, at 10.0.2.2:8080"
        assert said == f"south ({two.id}) is another server of the network; {where}"
        assert (await stage.type("connect south")).startswith("connected to two at 10.0.2.2:8080")
        assert (await stage.type(f"ping {two.id}")).startswith("two: 4 of 4 answered")

    play(story)


def test_a_node_does_not_say_that_nobody_is_there_while_its_server_is_cut_off(
    broker: BrokerInTown,
) -> None:
    async def story(stage: Stage) -> None:
        await stage.node("one", BETA, **broker.options(name="north"))
        await stage.open(join=[f"{BETA}:8080"])
        await stage.wait(4)
        broker.kill()
        await stage.wait(7)
        for command in (
            "connect carol",
            "ping carol",
            "connect ca201004-0000-4000-8000-000000000004",
        ):
            said = await stage.type(command)
            assert "the server currently has no link to the other servers" in said

    play(story)


def test_nor_does_a_server_that_is_cut_off(broker: BrokerInTown) -> None:
    async def story(stage: Stage) -> None:
        await meet(stage, broker)
        assert "(this node)" not in await stage.type("ping beta")
        assert "is another server of the network" in await stage.type("ping be\x1bta")
        broker.kill()
        await stage.wait(7)
        said = await stage.type("ping carol")
        assert "this server currently has no link to the other servers" in said

    play(story)


def test_a_server_alone_shows_nothing_of_it() -> None:
    async def story(stage: Stage) -> None:
        await stage.open()
        await stage.friend("bob", 1)
        await stage.wait(2)
        assert "server" not in stage.lines()[0]
        assert "broker" not in stage.app.statistics.facts.plain
        await stage.type("servers")
        assert "No other servers of this network are known." in stage.text()

    play(story)


def test_many_nodes_elsewhere_are_shown_in_part(
    broker: BrokerInTown, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("p2ptui.node.others.SHOWN_ELSEWHERE", 3)

    async def story(stage: Stage) -> None:
        await meet(stage, broker)
        for number in range(6):
            node = await stage.node(f"eve-{number}", f"10.0.4.{number + 1}")
            await node.connect((BETA, 8080))
        await stage.wait(3)
        shown = set(stage.app.peers.list.keys)
        assert len(shown) == 1 + 3
        await asyncio.sleep(40)  # all entries are put again
        await stage.wait()
        assert set(stage.app.peers.list.keys) == shown
        assert "8 nodes" in stage.app.statistics.facts.plain
        roster = stage.app.roster
        hidden = [f"eve-{number}" for number in range(6)]
        found = [roster.find(name) for name in hidden]
        assert [node.name for node in found] == hidden, "also those that are not shown"
        assert len({node.node_id for node in found} - shown) >= 3
        for node in found:
            assert roster.find(node.node_id) == roster.find(node.node_id[:13].upper()) == node
        with pytest.raises(UnknownPeerError, match="no node is called"):
            roster.find("eve")

    play(story)
