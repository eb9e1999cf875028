"""What the commands do to the node; each tells its result in one line, or raises why not."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

from p2ptui.core.events import SendResult, SendStatus
from p2ptui.errors import LocalError, P2PError
from p2ptui.node import Node, PeerView
from p2ptui.text import printable
from p2ptui.verbs import Command
from p2ptui.wire.address import format_address

Progress: TypeAlias = Callable[[str], None]


class Executor:
    """Carries out the commands that need nothing but the node.

    Args:
        node: The node.
        selected: The peer that is meant when none is named.
    """

    def __init__(self, node: Node, selected: Callable[[], PeerView | None]) -> None:
        self._node = node
        self._selected = selected
        self._actions: dict[str, Callable[[Command, Progress], Awaitable[str]]] = {
            "connect": self._connect,
            "disconnect": self._disconnect,
            "ping": self._ping,
            "send": self._send,
            "broadcast": self._broadcast,
            "relay": self._relay,
            "discover": self._discover,
        }

    def handles(self, name: str) -> bool:
        """Whether a verb is carried out here."""
        return name in self._actions

    async def run(self, command: Command, progress: Progress) -> str:
        """Carry out a command.

        Args:
            command: What was asked for.
            progress: Told how it goes, while it takes long.

        Returns:
            What came of it, in one line.

        Raises:
            P2PError: It did not work; the text says why.
        """
        return await self._actions[command.verb.name](command, progress)

    def _target(self, command: Command) -> PeerView:
        if command.peer is not None:
            return self._node.peer(command.peer)
        selected = self._selected()
        if selected is None:
            raise LocalError(f"no peer is selected; usage: {command.verb.usage}")
        return self._node.peer(selected)

    async def _connect(self, command: Command, progress: Progress) -> str:
        progress(f"connecting to {command.text}")
        peer = await self._node.connect(command.text)
        return f"connected to {_name(peer)} at {format_address(peer.address)}"

    async def _disconnect(self, command: Command, _progress: Progress) -> str:
        peer = self._target(command)
        await self._node.disconnect(peer)
        return f"said goodbye to {_name(peer)}"

    async def _ping(self, command: Command, progress: Progress) -> str:
        peer = self._target(command)
        times: list[float] = []
        for number in range(1, command.count + 1):
            progress(f"ping {number} of {command.count} to {_name(peer)}")
            try:
                result = await self._node.ping(peer)
            except P2PError:
                if number == command.count and not times:
                    raise
                continue
            times.append(result.rtt_s * 1000)
            progress(f"{times[-1]:.2f} ms, ping {number} of {command.count} to {_name(peer)}")
            if number < command.count:
                await asyncio.sleep(0.2)
        average = sum(times) / len(times)
        return (
            f"{_name(peer)}: {len(times)} of {command.count} answered,"
            f" min {min(times):.2f}, avg {average:.2f}, max {max(times):.2f} ms"
        )

    async def _send(self, command: Command, progress: Progress) -> str:
        peer = self._target(command)
        progress(f"sending to {_name(peer)}")
        return _told(await self._node.send(peer, read_payload(command.text)), peer)

    async def _broadcast(self, command: Command, progress: Progress) -> str:
        peers = [peer for peer in self._node.peers if peer.status.value == "authenticated"]
        if not peers:
            raise LocalError("there is no peer to send to; connect to one first")
        payload = read_payload(command.text)
        progress(f"sending to {len(peers)} peers")
        results = await asyncio.gather(
            *(self._node.send(peer, payload) for peer in peers), return_exceptions=True
        )
        delivered = sum(isinstance(r, SendResult) and r.delivered for r in results)
        return f"delivered to {delivered} of {len(peers)} peers"

    async def _relay(self, command: Command, progress: Progress) -> str:
        target = self._target(command)
        servers = [p for p in self._node.peers if p.initiated and p.node_id != target.node_id]
        if not servers:
            raise LocalError("there is no server that could relay; connect to one first")
        progress(f"relaying to {_name(target)}")
        result = await self._node.relay(servers[0], target.node_id, command.text.encode())
        if result.status is not SendStatus.SENT:
            raise LocalError(f"not relayed: {printable(result.reason or 'refused')}")
        return f"{result.size_bytes} bytes relayed to {_name(target)} by {_name(servers[0])}"

    async def _discover(self, _command: Command, _progress: Progress) -> str:
        await self._node.discover()
        return "asked all peers whom they know"


def read_payload(text: str) -> Any:
    """Text that is a JSON object or list travels as that, any other as a string."""
    if text[:1] in ("{", "["):
        try:
            return json.loads(text)
        except (ValueError, RecursionError):
            return text
    return text


def _name(peer: PeerView) -> str:
    return printable(peer.name, 32)


def _told(result: SendResult, peer: PeerView) -> str:
    if result.delivered:
        took = "" if result.rtt_s is None else f" in {result.rtt_s * 1000:.2f} ms"
        return f"delivered {result.size_bytes} bytes to {_name(peer)}{took}"
    if result.status is SendStatus.UNCONFIRMED:
        return f"sent to {_name(peer)}, unconfirmed: {result.reason}"
    raise LocalError(f"not delivered to {_name(peer)}: {result.reason}")
