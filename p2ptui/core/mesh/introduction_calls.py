"""Calls that wait until a server introduces a node, and then continue at its address."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final, TypeAlias

from p2ptui.core.accounts import Reason
from p2ptui.core.calls import Call, Calls
from p2ptui.core.delivery import Delivery
from p2ptui.core.mesh.introduction import Introduction
from p2ptui.core.peers import Peer
from p2ptui.core.pings import OutstandingPing
from p2ptui.core.sessions.handshake import Handshake
from p2ptui.core.state import NodeState
from p2ptui.errors import LocalError, NotIntroducedError, NotKnownThereError, PeerTimeoutError
from p2ptui.wire.address import format_address
from p2ptui.wire.codec import encode_payload
from p2ptui.wire.message import Capability, ErrorPayload, MessageType, P2PConnectPayload

ASK_INTERVAL_S: Final = 0.5
"""How often an introduction is requested, like a handshake."""

PING_AFTER_S: Final = 0.1
"""From an introduction to the Ping that waited for it: the other side opens its NAT first."""

MAX_WAITING: Final = 256
"""Introductions that this node may be waiting for."""


@dataclass(frozen=True, slots=True)
class _Wish:
    server: Peer
    timeout_s: float
    pings: bool
    """Whether only a Ping is wanted, and no session."""


_Call: TypeAlias = Call[_Wish]


class IntroductionCalls:
    """Asks servers for nodes, and ends the calls that wait for them.

    Args:
        state: The shared state.
        delivery: Sends messages.
        handshake: Connects to introduced nodes.
        ping: Pings an introduced node, at a given time.
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
        self._calls: Calls[_Wish] = state.open_room(
            "introductions_awaited", "introductions", limit=MAX_WAITING, limit_each=MAX_WAITING
        )

    def request(
        self, server: Peer, node_id: str, now: float, timeout_s: float, *, pings: bool = False
    ) -> int:
        """Ask a server for a node and connect to it; the token of the ConnectResult.

        Args:
            server: The server to ask.
            node_id: The id of the node.
            now: The time, seconds.
            timeout_s: Seconds for everything.
            pings: Whether the node is only pinged at its address; then the token is that of a
                PingResult.

        Raises:
            LocalError: Too many such requests wait.
        """
        where = format_address(server.address)
        error = NotIntroducedError(f"the server at {where} did not introduce node {node_id}")
        wish = _Wish(server, timeout_s, pings)
        call = self._calls.begin(node_id, wish, now, timeout_s, lambda _: error)
        self._ask(node_id, call, now)
        return call.token

    def _ask(self, node_id: str, call: _Call, now: float) -> None:
        # Nobody acknowledges the request: it is repeated until something comes of it.
        server = call.detail.server
        if call in self._calls.waiting(node_id) and server.is_authenticated:
            payload = encode_payload(P2PConnectPayload(node_id))
            self._delivery.send(
                server, MessageType.P2P_CONNECT, payload, now, reason=Reason.USER_ASKED
            )
            self._state.timers.schedule(
                now + ASK_INTERVAL_S, lambda at: self._ask(node_id, call, at)
            )

    def refuse(self, server: Peer, payload: ErrorPayload) -> None:
        """A server refuses something, possibly a node that it was asked for."""
        for node_id in self._calls:
            if not isinstance(node_id, str):
                continue  # it has already been introduced
            if node_id == payload.target or (payload.code is None and node_id in payload.error):
                error = NotKnownThereError(f"the server does not know node {node_id}")
                for call in self._calls.waiting(node_id):
                    if call.detail.server is server:
                        self._calls.end(call, error)

    def serve(self, introduction: Introduction, now: float) -> None:
        """A node was introduced: the calls that wait for it continue."""
        node_id = introduction.node_id
        for call in self._calls.waiting(node_id):
            if call.detail.pings:
                start = min(now + PING_AFTER_S, call.deadline)
                self._calls.move(call, (node_id, "ping"), call.deadline, self._no_time)
                self._state.timers.schedule(start, partial(self._ping_for, introduction, call))
            elif Capability.ROUTING not in introduction.capabilities:
                error = LocalError(
                    f"node {node_id} takes no handshake from a peer;"
                    " it can be reached through the server"
                )
                self._calls.end(call, error)
            else:
                connect = partial(
                    self._handshake.connect, introduction.address, now, call.detail.timeout_s
                )
                self._calls.hand_over(call, connect)

    @staticmethod
    def _no_time(_call: _Call) -> PeerTimeoutError:
        return PeerTimeoutError("the introduction came too late for a Ping")

    def _ping_for(self, introduction: Introduction, call: _Call, now: float) -> None:
        left_s = call.deadline - now

        def ping(token: int) -> None:
            self._state.pongs.require_room(introduction.pings)
            ping = self._ping(introduction, now)
            self._state.pongs.begin(ping, introduction.address, now, left_s, token)

        self._calls.hand_over(call, ping)
