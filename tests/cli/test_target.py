"""What a one-shot command waits for while its server is joined again."""

import asyncio
from types import SimpleNamespace

import pytest

from p2ptui.commands.target import Target
from p2ptui.core.connection import Connection, Method
from p2ptui.core.events import Path, PeerStatus, SendResult, SendStatus
from p2ptui.wire.message import Capability
from tests.virtual_loop import run_virtual

SERVER = ("192.0.2.1", 8080)
HANDSHAKE_S = 2.0


class Rejoining:
    """A node that shakes hands with its server for a while."""

    def __init__(self) -> None:
        self._began = asyncio.get_running_loop().time()
        self.sent_at: list[float] = []

    @property
    def _age_s(self) -> float:
        return asyncio.get_running_loop().time() - self._began

    @property
    def peers(self) -> list[SimpleNamespace]:
        is_over = self._age_s >= HANDSHAKE_S
        status = PeerStatus.AUTHENTICATED if is_over else PeerStatus.HANDSHAKING
        return [SimpleNamespace(status=status, address=SERVER)]

    async def send_routed(self, node_id, payload, timeout_s):
        self.sent_at.append(self._age_s)
        assert timeout_s <= 10.0 - self._age_s + 0.01
        return SendResult(SendStatus.DELIVERED, 1, None, 0)


def test_a_server_with_which_it_still_shakes_hands_is_not_joined_yet():
    async def story():
        node = Rejoining()
        target = Target(node, "id", "other", SERVER, is_peer=False, began=0.0)
        assert (await target.send("hello", 10.0)).delivered
        (sent_at,) = node.sent_at
        assert HANDSHAKE_S <= sent_at <= HANDSHAKE_S + 0.5

    run_virtual(story())


@pytest.mark.parametrize("path", [Path.RELAY, Path.DIRECT])
def test_a_session_that_came_late_tells_how_it_is_reached(path):
    """What was true when the command set out to reach it may be false when its answers come."""
    connection = Connection(Method.RELAY, reason="both are in one network")
    late = SimpleNamespace(
        node_id="id",
        status=PeerStatus.AUTHENTICATED,
        path=path,
        address=("192.0.2.2", 8080),
        connection=connection,
    )
    node = SimpleNamespace(peers=[])
    target = Target(
        node,
        "id",
        "other",
        SERVER,
        is_peer=False,
        began=0.0,
        failure="no answer from it",
        capabilities=(Capability.ROUTING,),
    )
    assert (target.path, target.address) == (Path.RELAY, SERVER)
    assert target.connection.reason == "no answer from it"
    node.peers.append(late)
    assert (target.path, target.address) == (path, late.address)
    assert target.connection is connection
