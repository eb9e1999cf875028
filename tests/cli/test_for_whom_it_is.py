"""What is sent reaches the node that the user means, or nobody: who else answers is refused."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from p2ptui import Node
from p2ptui.commands import session
from p2ptui.core.events import DataReceived
from p2ptui.node.known_nodes_store import KnownNodesStore
from tests.cli.test_commands import Said
from tests.cli.test_trust_told import SERVER, WALL_S, Lasting
from tests.node.test_acquaintances import Street
from tests.town import Town, taken

WHO = "10.0.0.3:8080"
OF_KEYS = "0badc0de-1abd-8738-b545-74297a8e3db5"

Making = Callable[["Place", Town], Awaitable[Node]]


class Place(Lasting):
    """A server, and one node beside it that somebody asks for."""

    def __init__(self, monkeypatch: Any, capsys: Any, folder: Path) -> None:
        super().__init__(monkeypatch, capsys, folder)
        self.make: Making = bob
        self.who = ""

    async def _populate(self, town: Town) -> None:
        server = await town.start("server", security={"identity": self.key("server")})
        who = await self.make(self, town)
        self.who = who.id
        self.inboxes["who"] = who.events()
        self._nodes = {"server": server, "who": who}
        await who.connect(server.address)
        await asyncio.sleep(1)

    @property
    def came(self) -> list[Any]:
        """What came to it; an offer to show keys gives nothing away."""
        came = [one.payload for one in taken(self.inboxes["who"], DataReceived)]
        return [one for one in came if not (isinstance(one, dict) and "exchange" in one)]

    def meet_bob(self, *, verified: bool = True) -> str:
        """The user meets the true bob; what his id is."""
        self.make = bob
        assert self.run("ping", "bob", "--join", SERVER, "-n", "1").code == 0
        if verified:
            KnownNodesStore(lambda: WALL_S, self.file).trust("bob")
        return self.id_of("bob")

    def refused(self, *arguments: str) -> Said:
        """It is refused in one line, and nothing comes."""
        said = self.run(*arguments)
        assert said.code == 1
        assert self.came == []
        assert said.errors.count("\n") == 1
        assert said.errors.startswith("p2ptui: not sent: ")
        return said


async def bob(place: Place, town: Town) -> Node:
    return await town.start("bob", security={"identity": place.key("bob")})


async def bob_in_the_open(_place: Place, town: Town) -> Node:
    return await town.start("bob", secured=False)


async def bob_for_once(_place: Place, town: Town) -> Node:
    return await town.start("bob", security={"ephemeral": True})


async def beside_mallory(place: Place, town: Town) -> Node:
    """Another node of the user who came as bob before."""
    place.key("mallory")
    return await Street(town, place.file.parent).start("mallory", name="bob", beside=True)


async def mallory_as_bob(place: Place, town: Town) -> Node:
    return await town.start("bob", security={"identity": place.key("mallory")})


def with_id(node_id: str, name: str = "carol") -> Making:
    async def make(_place: Place, town: Town) -> Node:
        return await town.start(name, secured=False, node_id=node_id)

    return make


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch, capsys: Any, tmp_path: Path) -> Place:
    assert session.Node is not None
    return Place(monkeypatch, capsys, tmp_path)


@pytest.mark.parametrize("impostor", [bob_in_the_open, bob_for_once, mallory_as_bob])
@pytest.mark.parametrize("what", ["text", "file"])
def test_who_takes_the_name_of_a_known_node_gets_nothing(
    place: Place, tmp_path: Path, impostor: Making, what: str
) -> None:
    bob_id = place.meet_bob()
    place.make = impostor
    (tmp_path / "notes").write_text("secret")
    given = ("secret",) if what == "text" else ("--file", str(tmp_path / "notes"))
    said = place.refused("send", "bob", *given, "--join", SERVER)
    assert bob_id in said.errors
    assert impostor is bob_in_the_open or place.who in said.errors
    said = place.refused("send", "bob", *given, "--join", SERVER, "--json")
    assert said.json["delivered"] is False
    assert said.json["error"].startswith("not sent: ")
    said = place.run("ping", "bob", "--join", SERVER, "-n", "1")
    assert said.code == 0  # it is shown who that is
    place.make = bob
    assert place.run("send", "bob", *given, "--join", SERVER).code == 0
    assert len(place.came) == 1


@pytest.mark.parametrize("impostor", [mallory_as_bob, beside_mallory])
@pytest.mark.parametrize("is_cut", [False, True])
def test_who_came_once_under_a_known_name_gets_nothing_sent_to_it(
    place: Place, impostor: Making, is_cut: bool
) -> None:
    bob_id = place.meet_bob()
    place.make = mallory_as_bob
    said = place.run("ping", "bob", "--join", SERVER, "-n", "1")
    assert "bob is not the bob of before" in said.errors
    place.make = impostor
    place.cut = [("10.0.0.250", "10.0.0.3")] if is_cut else []
    for ref in ("bob", place.id_of("mallory") if impostor is mallory_as_bob else "bob"):
        assert bob_id in place.refused("send", ref, "x", "--join", SERVER).errors
    if not is_cut:
        said = place.run("ping", "bob", "--join", SERVER, "-n", "1")
        assert "bob is not the bob of before" in said.errors


def test_who_is_reached_by_way_of_others_only_is_the_node_that_is_meant(place: Place) -> None:
    bob_id = place.meet_bob()
    place.cut = [("10.0.0.250", "10.0.0.3")]
    for impostor in (bob_in_the_open, bob_for_once):
        place.make = impostor
        assert bob_id in place.refused("send", "bob", "x", "--join", SERVER).errors
    place.make = bob
    assert place.run("send", "bob", "x", "--join", SERVER).code == 0
    assert place.came == ["x"]


@pytest.mark.parametrize("digits", [3, 8])
def test_the_beginning_of_the_id_of_a_known_node_means_that_node(place: Place, digits: int) -> None:
    bob_id = place.meet_bob()
    foreign = f"{bob_id[:8]}-0000-4000-8000-000000000001"
    place.make = with_id(foreign)
    said = place.refused("send", bob_id[:digits], "x", "--join", SERVER)
    assert bob_id in said.errors
    assert foreign in said.errors
    # A name that looks like it is no more than a name.
    place.make = with_id("c0000000-0000-4000-8000-000000000001", name=bob_id[:8])
    assert bob_id in place.refused("send", bob_id[:8], "x", "--join", SERVER).errors
    place.make = bob
    assert place.run("send", bob_id[:digits], "x", "--join", SERVER).code == 0


def test_another_key_at_an_address_gets_nothing(place: Place) -> None:
    assert place.run("send", WHO, "x").code == 0
    place.make = mallory_as_bob
    said = place.refused("send", WHO, "x")
    assert "10.0.0.3:8080 is not the node of before" in said.errors
    said = place.refused("send", WHO, "x", "--json")
    assert said.json["trust"] == "changed"
    assert "10.0.0.3:8080 is not the node of before" in said.json["advice"]


@pytest.mark.parametrize("who", [bob_in_the_open, bob_for_once, bob, mallory_as_bob])
def test_a_first_meeting_goes_on_as_ever(place: Place, who: Making) -> None:
    place.make = who
    said = place.run("send", "bob", "x", "--join", SERVER, "--json")
    assert (said.code, said.errors) == (0, "")
    assert place.came == ["x"]
    assert said.json["trust"] == ("open" if who is bob_in_the_open else "new")


@pytest.mark.parametrize("ref", [OF_KEYS, OF_KEYS[:8], OF_KEYS[:2]])
def test_who_is_named_by_an_id_of_keys_has_to_show_them(place: Place, ref: str) -> None:
    place.make = with_id(OF_KEYS)
    said = place.refused("send", ref, "x", "--join", WHO)
    assert "claims an id that is made from keys, and has not shown them" in said.errors
    # By its name it is an open node as any; what is odd about it is said.
    said = place.run("send", "carol", "x", "--join", WHO, "--json")
    assert (said.code, said.json["trust"]) == (0, "open")
    assert said.json["advice"] in said.errors
    assert "has not shown them" in said.json["advice"]
