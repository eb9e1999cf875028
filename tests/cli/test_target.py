"""What a one-shot command waits for while its server is joined again."""

import asyncio
from types import SimpleNamespace

from p2ptui.commands.target import Target
from p2ptui.core.events import PeerStatus, SendResult, SendStatus
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
