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
"""How often to check whether the server has left: it may just be restarting."""

SHORTEST_WAIT_S: Final = 0.001
"""The time left once it is over: the last step may still find its answer already there."""


class Deadline:
    """One timeout for all steps of a command.

    Args:
        timeout_s: Seconds from now.
    """

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._end = asyncio.get_running_loop().time() + timeout_s

    @property
    def timeout_s(self) -> float:
        """The whole timeout, seconds."""
        return self._timeout_s

    @property
    def left_s(self) -> float:
        """The seconds left, always slightly above 0."""
        return max(self._end - asyncio.get_running_loop().time(), SHORTEST_WAIT_S)


def trust_fields(trust: Trust | None, advice: str) -> dict[str, Any]:
    """The trust in a peer for `--json`; null if there is nothing to say."""
    return {"trust": None if trust is None else trust.value, "advice": advice or None}


def tell_changes(node: Node) -> None:
    """Report on standard error which peers have changed, and what to do."""
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
    """The address of the server, or of the target itself if none was needed."""
    is_peer: bool
    """Whether there is a session with it; otherwise it is reached inside messages to the server."""
    began: float
    """When the command began to reach it, on the event loop's clock, seconds."""
    failure: str | None = None
    """Why there is no session with it."""
    capabilities: tuple[str, ...] = ()
    """What it announces."""
    met: PeerView | None = None
    """What was known about it when there first was a session."""
    wanted: str = ""
    """The name that the user gave; empty if it was an address."""

    @property
    def path(self) -> Path:
        """How it is reached at present."""
        now = self._now
        return now.path if now is not None else Path.RELAY

    @property
    def address(self) -> Address:
        """Its own if the path is direct, otherwise the server's."""
        now = self._now
        return now.address if now is not None else self.server

    @property
    def trust(self) -> Trust | None:
        """The trust in its identity; None if there is no session with it."""
        return self._view.trust if self.is_peer else None

    @property
    def advice(self) -> str:
        """What happened and what to do, in a sentence; empty if there is nothing to do."""
        return self._view.advice if self.is_peer else ""

    @property
    def trust_fields(self) -> dict[str, Any]:
        """The same for `--json`."""
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
        """How its path was found, or why it is relayed, as far as is known now."""
        now = self._now
        return Connection(Method.RELAY, reason=self.failure) if now is None else now.connection

    @property
    def _now(self) -> PeerView | None:
        """The session in which it is pinged, which may have begun late; None if there is none."""
        if self.is_peer:
            return self._view
        peers = (peer for peer in self.node.peers if peer.node_id == self.node_id)
        found = next(peers, None) if Capability.ROUTING in self.capabilities else None
        return found if found is not None and found.status is PeerStatus.AUTHENTICATED else None

    @property
    def _view(self) -> PeerView:
        """The peer as it is now, or if it is gone, as it was met; its end is reported elsewhere."""
        try:
            return self.node.peer(self.node_id)
        except UnknownPeerError:
            if self.met is None:
                raise
            return self.met

    async def ping(self, timeout_s: float) -> PingResult:
        """Measure one round trip.

        Raises:
            P2PError: It failed; for a peer that is gone, that it is gone.
        """
        try:
            return await self.node.ping(self.node_id, timeout_s)
        except (UnknownPeerError, LocalError) as error:
            raise self._gone(error) from None

    async def send(self, payload: Any, timeout_s: float) -> SendResult:
        """Send one message; call `require_meant` first.

        Raises:
            P2PError: It failed; for a peer that is gone, that it is gone.
        """
        if self._now is None:
            left_s = await self._wait_for_server(timeout_s)
            return await self.node.send_routed(self.node_id, payload, timeout_s=left_s)
        try:
            return await self.node.send(self.node_id, payload, timeout_s=timeout_s)
        except UnknownPeerError as error:
            raise self._gone(error) from None

    def require_meant(self) -> None:
        """Check, before anything is sent to it, that it is the node that the user means.

        Raises:
            ImpostorError: It is not.
        """
        words = self.node.against(self.wanted, self.node_id, self.name)
        if words:
            raise ImpostorError(f"not sent: {words}")

    async def _wait_for_server(self, timeout_s: float) -> float:
        """Wait at most this long while the server is joined again; returns the time left,
        seconds."""
        deadline = Deadline(timeout_s)
        for _ in range(int(timeout_s / REJOIN_PAUSE_S)):
            if any(peer.status is PeerStatus.AUTHENTICATED for peer in self.node.peers):
                break
            await asyncio.sleep(REJOIN_PAUSE_S)
        return deadline.left_s

    def _gone(self, error: P2PError) -> P2PError:
        """For a peer that was met and is gone, the error that says so, instead of that it is
        unknown."""
        if self.met is None or any(peer.node_id == self.node_id for peer in self.node.peers):
            return error
        return PeerGoneError(f"{printable(self.name, 64)} has left meanwhile; try again")
