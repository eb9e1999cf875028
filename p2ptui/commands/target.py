"""The target of a one-shot command, once it is reached, and the time for it."""

import asyncio
from dataclasses import dataclass
from typing import Any, Final

from p2ptui.commands.warning import warn
from p2ptui.core.connection import Connection, Method
from p2ptui.core.events import Path, PeerStatus, PingResult, SendResult
from p2ptui.errors import ImpostorError, LocalError, P2PError, PeerGoneError, UnknownPeerError
from p2ptui.node import Node, PeerView
from p2ptui.secure.known_nodes import Trust
from p2ptui.text import printable
from p2ptui.wire.address import Address
from p2ptui.wire.message import Capability

REJOIN_PAUSE_S: Final = 0.25
"""How often it is looked whether the server has left: it may only be restarted."""

SHORTEST_WAIT_S: Final = 0.001
"""What is left of a time that is over: the last step may still find its answer there."""


class Deadline:
    """One time for all steps of a command.

    Args:
        timeout_s: Seconds from now.
    """

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._end = asyncio.get_running_loop().time() + timeout_s

    @property
    def timeout_s(self) -> float:
        """Seconds in all."""
        return self._timeout_s

    @property
    def left_s(self) -> float:
        """Seconds that are left, a trace above 0."""
        return max(self._end - asyncio.get_running_loop().time(), SHORTEST_WAIT_S)


def trust_fields(trust: Trust | None, advice: str) -> dict[str, Any]:
    """What is known of who a peer is, as `--json` has it; null where there is nothing to say."""
    return {"trust": None if trust is None else trust.value, "advice": advice or None}


def tell_changes(node: Node) -> None:
    """Say on standard error who of the peers is not who was there before, and what to do."""
    for peer in node.peers:
        if peer.advice:
            warn(peer.advice)


@dataclass(frozen=True, slots=True)
class Target:
    """A node that a command talks to."""

    node: Node
    node_id: str
    name: str
    server: Address
    """Where the server is, or the target itself where none was needed."""
    is_peer: bool
    """Whether there is a session with it; else it is reached inside messages to the server."""
    began: float
    """When the command set out to reach it, on the event loop's clock, seconds."""
    failure: str | None = None
    """Why there is no session with it."""
    capabilities: tuple[str, ...] = ()
    """What it announces."""
    met: PeerView | None = None
    """What was known of it when there was a session first."""
    wanted: str = ""
    """By what the user named it; empty where that was its address."""

    @property
    def path(self) -> Path:
        """How it is reached at present."""
        now = self._now
        return now.path if now is not None else Path.RELAY

    @property
    def address(self) -> Address:
        """Its own where the path is direct, else the server's."""
        now = self._now
        return now.address if now is not None else self.server

    @property
    def trust(self) -> Trust | None:
        """What is known of who it is; None where there is no session with it."""
        return self._view.trust if self.is_peer else None

    @property
    def advice(self) -> str:
        """What happened to that and what to do, in a sentence; empty if there is nothing to do."""
        return self._view.advice if self.is_peer else ""

    @property
    def trust_fields(self) -> dict[str, Any]:
        """The same as `--json` has it."""
        return trust_fields(self.trust, self.advice)

    @property
    def is_sealed(self) -> bool:
        """Whether nobody on the way can read what it is sent."""
        return self.node.seals_for(self.node_id)

    @property
    def echoes(self) -> bool:
        """Whether it is expected to answer Data with an echo."""
        return self.is_peer and Capability.NO_ECHO not in self._view.capabilities

    @property
    def connection(self) -> Connection:
        """How its path was won, or why it is relayed, as far as that is known now."""
        now = self._now
        return Connection(Method.RELAY, reason=self.failure) if now is None else now.connection

    @property
    def _now(self) -> PeerView | None:
        """The session that it is pinged by, which may have come late; None where there is none."""
        if self.is_peer:
            return self._view
        peers = (peer for peer in self.node.peers if peer.node_id == self.node_id)
        found = next(peers, None) if Capability.ROUTING in self.capabilities else None
        return found if found is not None and found.status is PeerStatus.AUTHENTICATED else None

    @property
    def _view(self) -> PeerView:
        """As it is now, or where it is gone, as it was met: what became of it, others tell."""
        try:
            return self.node.peer(self.node_id)
        except UnknownPeerError:
            if self.met is None:
                raise
            return self.met

    async def ping(self, timeout_s: float) -> PingResult:
        """Measure one round trip.

        Raises:
            P2PError: It failed; of a peer that is gone, that it is.
        """
        try:
            return await self.node.ping(self.node_id, timeout_s)
        except (UnknownPeerError, LocalError) as error:
            raise self._gone(error) from None

    async def send(self, payload: Any, timeout_s: float) -> SendResult:
        """Send one message; see first that it is the node that is meant (`require_meant`).

        Raises:
            P2PError: It failed; of a peer that is gone, that it is.
        """
        if self._now is None:
            left_s = await self._wait_for_server(timeout_s)
            return await self.node.send_routed(self.node_id, payload, timeout_s=left_s)
        try:
            return await self.node.send(self.node_id, payload, timeout_s=timeout_s)
        except UnknownPeerError as error:
            raise self._gone(error) from None

    def require_meant(self) -> None:
        """Before anything is given to it: it is the node that the user means, as it was before.

        Raises:
            ImpostorError: It is not.
        """
        words = self.node.against(self.wanted, self.node_id, self.name)
        if words:
            raise ImpostorError(f"not sent: {words}")

    async def _wait_for_server(self, timeout_s: float) -> float:
        """Wait while it is joined again, at most so long; what is left of the time, seconds."""
        deadline = Deadline(timeout_s)
        for _ in range(int(timeout_s / REJOIN_PAUSE_S)):
            if any(peer.status is PeerStatus.AUTHENTICATED for peer in self.node.peers):
                break
            await asyncio.sleep(REJOIN_PAUSE_S)
        return deadline.left_s

    def _gone(self, error: P2PError) -> P2PError:
        """Of a peer that was met and is gone, what happened: it is not that it is unknown."""
        if self.met is None or any(peer.node_id == self.node_id for peer in self.node.peers):
            return error
        return PeerGoneError(f"{printable(self.name, 64)} has left meanwhile; try again")
