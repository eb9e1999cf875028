"""Messages as they arrive, before their sender is known: decoded, and passed to their handler."""

from typing import Final, NamedTuple

from p2ptui.core.events import PeerStatus
from p2ptui.core.messages.inbox import Inbox
from p2ptui.core.messages.strangers import Strangers
from p2ptui.core.messages.table import MessageTable
from p2ptui.core.peers import Peer
from p2ptui.core.secure.clear import HANDSHAKES, Clear
from p2ptui.core.sessions.admission import Admission
from p2ptui.core.sessions.newcomers import Newcomers
from p2ptui.core.state import NodeState
from p2ptui.wire.address import Address
from p2ptui.wire.codec import MalformedError, decode_envelope

_AUTHENTICATED: Final = PeerStatus.AUTHENTICATED
"""Bound here, since looking up an enum member runs Python code."""


class Takers(NamedTuple):
    """The handlers of decoded messages."""

    table: MessageTable
    strangers: Strangers
    inbox: Inbox
    newcomers: Newcomers


class Arrivals:
    """The first look at every message.

    Args:
        state: The shared state.
        admission: The limits for strangers.
        takers: The handlers of decoded messages.
    """

    def __init__(self, state: NodeState, admission: Admission, takers: Takers) -> None:
        self._state = state
        self._admission = admission
        self._anybody = takers.table.anybody
        self._strangers = takers.strangers
        self._inbox = takers.inbox
        self._newcomers = takers.newcomers
        self.clear: Clear | None = None
        """Rules for messages in the clear; None if this node speaks only in the open."""

    def receive(
        self,
        data: bytes,
        address: Address,
        peer: Peer | None,
        now: float,
        *,
        is_sealed: bool = False,
    ) -> None:
        """Take a datagram that begins like a message.

        Args:
            data: Its bytes.
            address: Where it came from.
            peer: The peer at that address, if any.
            now: The time, seconds.
            is_sealed: Whether it came under that peer's seal.
        """
        state = self._state
        # What is no message at all is dropped without this: its source may be forged, and
        # must not pay for it.
        if peer is None and not self._admission.admits(address, now):
            state.counters.drop("rate_limited")
            return
        try:
            message = decode_envelope(data)
        except MalformedError:
            state.counters.drop("malformed")
            return
        if state.tracing:
            node_id = peer.node_id if peer is not None else ""
            state.trace_from(address, node_id, message.message_type, data, is_sealed=is_sealed)
        kind = message.message_type
        rules = self.clear
        # Only handshakes are theirs if the peer behaves as it should, which is nearly always.
        if (
            rules is not None
            and (kind in HANDSHAKES or not (is_sealed or (peer and peer.session.seal is None)))
            and rules.takes(data, address, message, peer, now, is_sealed=is_sealed)
        ):
            return
        take = self._anybody.get(kind)
        if take is not None:
            take(address, message, state.gate.earned_by(len(data), address), now)
            return
        if peer is not None and peer.session.challenged:
            if self._newcomers.receive(peer, address, message, now):
                return
            peer = state.peers.at(address)  # the message that reveals a newcomer is its own
        if peer is None:
            self._strangers.receive(address, message, state.gate.answer_purse, now)
        elif peer.status is _AUTHENTICATED:
            self._inbox.receive(peer, message, now)
        else:
            earned = state.gate.earned_by(len(data), peer.address)
            self._strangers.receive_handshaking(peer, message, earned, now)

    def receive_frame(self, address: Address, peer: Peer | None, data: bytes, now: float) -> None:
        """Take a frame from an address without a session."""
        self._strangers.receive_frame(address, peer, data, now)
