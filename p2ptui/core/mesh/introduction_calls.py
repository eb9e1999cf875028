"""Calls that wait until a server introduces a node, and then go on at its address."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final

from p2ptui.core.delivery import Delivery
from p2ptui.core.mesh.introduction import Introduction
from p2ptui.core.peers import Peer
from p2ptui.core.pings import OutstandingPing
from p2ptui.core.sessions.handshake import Handshake
from p2ptui.core.state import NodeState
from p2ptui.errors import LocalError, NotIntroducedError, NotKnownThereError
from p2ptui.wire.address import format_address
from p2ptui.wire.codec import encode_payload
from p2ptui.wire.message import Capability, ErrorPayload, MessageType, P2PConnectPayload

ASK_INTERVAL_S: Final = 0.5
"""An introduction is asked for this often, as a handshake is."""

PING_AFTER_S: Final = 0.1
"""From an introduction to the Ping that was waiting for it: the other side opens its NAT first."""

MAX_WAITING: Final = 256
"""Introductions that this node may be waiting for."""


@dataclass(slots=True)
class _Waiting:
    token: int
    timeout_s: float
    deadline: float
    pings: bool = False
    """Whether only a Ping is wanted, and no session."""


class IntroductionCalls:
    """Asks servers for nodes, and ends the calls that wait for them.

    Args:
        state: The shared ground.
        delivery: The way out.
        handshake: Connects to introduced nodes.
        ping: Pings an introduced node, at a time.
    """

    def __init__(
        self,
        state: NodeState,
        delivery: Delivery,
        handshake: Handshake,
        ping: Callable[[Introduction, float], OutstandingPing],
    ) -> None:
        self._state = state
        self._delivery = delivery
        self._handshake = handshake
        self._ping = ping
        self._waiting: dict[str, list[_Waiting]] = {}

    def request(
        self, server: Peer, node_id: str, now: float, timeout_s: float, *, pings: bool = False
    ) -> int:
        """Ask a server for a node and connect to it; the token of the ConnectResult.

        Args:
            server: Whom to ask.
            node_id: The node.
            now: The time, seconds.
            timeout_s: Seconds for all of it.
            pings: Whether the node is only pinged, at its address; then of a PingResult.

        Raises:
            LocalError: Too many such requests wait.
        """
        if len(self._waiting) >= MAX_WAITING:
            raise LocalError(f"{MAX_WAITING} introductions are awaited already; try again later")
        token = self._state.new_token()
        waiting = _Waiting(token, timeout_s, now + timeout_s, pings)
        self._waiting.setdefault(node_id, []).append(waiting)
        self._ask(server, node_id, waiting, now)
        self._state.timers.schedule(
            now + timeout_s, lambda _: self._give_up(node_id, waiting, server)
        )
        return token

    def _ask(self, server: Peer, node_id: str, waiting: _Waiting, now: float) -> None:
        # Nobody acknowledges the request: it is repeated until something comes of it.
        if waiting in self._waiting.get(node_id, ()) and server.is_authenticated:
            payload = encode_payload(P2PConnectPayload(node_id))
            self._delivery.send(server, MessageType.P2P_CONNECT, payload, now, budgeted=False)
            self._state.timers.schedule(
                now + ASK_INTERVAL_S, lambda at: self._ask(server, node_id, waiting, at)
            )

    def _give_up(self, node_id: str, waiting: _Waiting, server: Peer) -> None:
        if waiting not in self._waiting.get(node_id, ()):
            return
        self._waiting[node_id].remove(waiting)
        if not self._waiting[node_id]:
            del self._waiting[node_id]
        where = format_address(server.address)
        error = NotIntroducedError(f"the server at {where} did not introduce node {node_id}")
        self._state.finish(waiting.token, error)

    def refuse(self, payload: ErrorPayload) -> None:
        """A server refuses something; it may be a node that was asked for."""
        for node_id in list(self._waiting):
            if node_id == payload.target or (payload.code is None and node_id in payload.error):
                for waiting in self._waiting.pop(node_id):
                    error = NotKnownThereError(f"the server does not know node {node_id}")
                    self._state.finish(waiting.token, error)

    def serve(self, introduction: Introduction, now: float) -> None:
        """A node was introduced: the calls that wait for that go on."""
        for waiting in self._waiting.pop(introduction.node_id, ()):
            if waiting.pings:
                start = min(now + PING_AFTER_S, waiting.deadline)
                self._state.timers.schedule(start, partial(self._ping_for, introduction, waiting))
            elif Capability.ROUTING not in introduction.capabilities:
                error = LocalError(
                    f"node {introduction.node_id} takes no handshake from a peer;"
                    " it can be reached through the server"
                )
                self._state.finish(waiting.token, error)
            else:
                self._connect_for(introduction, waiting, now)

    def _connect_for(self, introduction: Introduction, waiting: _Waiting, now: float) -> None:
        try:
            self._handshake.connect(introduction.address, now, waiting.timeout_s, waiting.token)
        except LocalError as error:
            self._state.finish(waiting.token, error)

    def _ping_for(self, introduction: Introduction, waiting: _Waiting, now: float) -> None:
        try:
            introduction.pings.require_room()
        except LocalError as error:
            self._state.finish(waiting.token, error)
            return
        ping = self._ping(introduction, now)
        left_s = waiting.deadline - now
        self._state.await_pong(ping, introduction.address, now, left_s, waiting.token)
