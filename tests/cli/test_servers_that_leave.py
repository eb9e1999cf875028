"""A server that says goodbye while a command works by way of it, and comes back."""

import asyncio

import pytest

from tests.cli.test_commands import ALICE_ID, SERVER, SERVER_ID, World
from tests.town import Town


class Restarting(World):
    """Its server is restarted, with a goodbye."""

    after_s = 0.05
    down_s: float = 1.0
    comes_back = True

    async def _populate(self, town: Town) -> None:
        self._town = town
        await super()._populate(town)

    async def _leave(self) -> None:
        await asyncio.sleep(self.after_s)
        await self._nodes["server"].close("restarting")
        if not self.comes_back:
            return
        await asyncio.sleep(self.down_s)
        options = {"name": "server", "node_id": SERVER_ID} | self.server_options
        address = ("10.0.0.2", 8080)
        self._nodes["server"] = server = await self._town.start(address=address, **options)
        for name in ("alice", "bob"):
            await self._nodes[name].connect(server.address)


@pytest.fixture
def world(monkeypatch, capsys):
    return Restarting(monkeypatch, capsys)


@pytest.mark.parametrize("relays", [True, False])
@pytest.mark.parametrize("after_s", [0.03, 0.05, 0.07, 0.09, 0.12, 0.2, 0.4])
def test_a_file_arrives_though_the_server_is_restarted(world, tmp_path, after_s, relays):
    world.server_options = {"allow_symmetric_nat_relay": relays}
    world.after_s = after_s
    file = tmp_path / "large"
    file.write_bytes(bytes(700_000))
    said = world.run("send", ALICE_ID, "--join", SERVER, "--file", str(file), "--timeout", "20")
    assert (said.code, said.errors) == (0, "")
    assert said.took_s < 8


@pytest.mark.parametrize("relays", [True, False])
def test_a_ping_goes_on_when_the_server_is_back(world, relays):
    world.server_options = {"allow_symmetric_nat_relay": relays}
    world.after_s = 1.5
    said = world.run("ping", ALICE_ID, "--join", SERVER, "-n", "8", "--timeout", "3", "--json")
    assert said.code == 0
    assert said.json["received"] >= 5


def test_a_server_that_does_not_come_back_is_told_in_time(world):
    world.comes_back, world.after_s = False, 0.03
    said = world.run("send", ALICE_ID, "--join", SERVER, "--timeout", "4", "hello")
    assert said.code == 1
    assert said.errors == f"p2ptui: the server at {SERVER} has left meanwhile; try again\n"
    assert said.took_s <= 4.5
