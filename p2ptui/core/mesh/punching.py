"""Pings to introduced nodes: they open this node's NAT for the other side, and find out who is
there."""

from typing import Final

from p2ptui.core.accounts import Grant, Reason
from p2ptui.core.delivery import Delivery
from p2ptui.core.mesh.introduction import Introduction
from p2ptui.core.pings import MAX_OUTSTANDING_PINGS, OutstandingPing, Pings
from p2ptui.core.state import NodeState
from p2ptui.errors import QueueFullError

PUNCH_PINGS: Final = 3
PUNCH_INTERVAL_S: Final = 0.2
"""Pings that open this node's NAT for the other side; full traversal is separate."""


class Punches:
    """Sends Pings to the addresses that servers have named.

    Args:
        state: The shared state.
        delivery: Makes Pings.
    """

    def __init__(self, state: NodeState, delivery: Delivery) -> None:
        self._state = state
        self._delivery = delivery

    def new_pings(self) -> Pings:
        """The record of Pings to one introduced node."""
        # Whatever the options say, all Pings that open the path can be answered.
        probed = self._state.config.routing.introduction_probe_ports
        return Pings(max(PUNCH_PINGS + probed, MAX_OUTSTANDING_PINGS))

    def begin(
        self, introduction: Introduction, ports: list[int], now: float, *, is_genuine: bool
    ) -> None:
        """Open this node's NAT for an introduced node, including other ports that it may send from.

        Args:
            introduction: The node's introduction.
            ports: Further ports that it may send from.
            now: The time, seconds.
            is_genuine: Whether the server has proved that it made the introduction. One that may be
                forged pays for everything that is sent: three times its bytes.
        """
        gate, reason = self._state.gate, Reason.INTRODUCTION
        order = None if is_genuine else gate.order(reason, introduction.address)
        self._punch(introduction, ports, PUNCH_PINGS, order, now)

    def _punch(
        self,
        introduction: Introduction,
        ports: list[int],
        left: int,
        order: Grant | None,
        now: float,
    ) -> None:
        # Only the address that the server observed is probed, and few of its ports,
        # whatever the other side claims: a claim must not aim this node at a third party.
        if self._state.closing or left == 0:
            return
        if self._state.peers.authenticated(introduction.node_id) is not None:
            return
        self.send(introduction, now, order=order)
        if left == PUNCH_PINGS:
            few = ports[: self._state.config.routing.introduction_probe_ports]
            for port in few:
                self.send(introduction, now, port, order=order)
        self._state.timers.schedule(
            now + PUNCH_INTERVAL_S, lambda at: self._punch(introduction, [], left - 1, order, at)
        )

    def send(
        self,
        introduction: Introduction,
        now: float,
        port: int | None = None,
        reason: Reason = Reason.INTRODUCTION,
        order: Grant | None = None,
    ) -> OutstandingPing | None:
        """Send one Ping to an introduced node, possibly to another port.

        Args:
            introduction: The node's introduction.
            now: The time, seconds.
            port: A port other than the one that the server named.
            reason: The reason for the gate.
            order: What pays for it, if the introduction may be forged.

        Returns:
            What its Pong is known by; None if it does not leave, and no Pong will come.
        """
        nonce, data = self._delivery.build_ping(now)
        host, observed_port = introduction.address
        gate, to = self._state.gate, (host, port or observed_port)
        if order is not None and not order.has_room(len(data)):
            self._state.counters.drop("order_spent")
            return None
        if not gate.send(data, to, order or gate.grant(reason, to, now)):
            return None
        return introduction.pings.add(nonce, now, self._state.counters.drop)

    def ask(self, introduction: Introduction, now: float) -> OutstandingPing:
        """Send one Ping for a call of the user.

        Raises:
            QueueFullError: It does not leave.
        """
        ping = self.send(introduction, now, reason=Reason.USER_ASKED)
        if ping is None:
            raise QueueFullError("too much was sent there; try again in a few seconds")
        return ping

    def ping(self, introduction: Introduction, now: float, timeout_s: float) -> int:
        """Ping an introduced node directly; the token of its PingResult.

        Raises:
            LocalError: Too many Pings to it wait for their answer, or it does not leave.
        """
        self._state.pongs.require_room(introduction.pings)
        ping = self.ask(introduction, now)
        return self._state.pongs.begin(ping, introduction.address, now, timeout_s)
