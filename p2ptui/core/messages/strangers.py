"""Messages from addresses that have no session: the few that mean something, and the rest."""

from typing import Final

from p2ptui.core.accounts import Purse
from p2ptui.core.delivery import Delivery
from p2ptui.core.events import Direction
from p2ptui.core.mesh.rendezvous import Rendezvous
from p2ptui.core.messages.early import EarlyMessages
from p2ptui.core.messages.rows import TOLD_TO_SHAKE_HANDS
from p2ptui.core.messages.table import MessageTable
from p2ptui.core.peers import Peer
from p2ptui.core.sessions.admission import Admission
from p2ptui.core.sessions.other_ways import AlternatePaths
from p2ptui.core.sessions.race import Races
from p2ptui.core.state import NodeState
from p2ptui.wire.address import Address
from p2ptui.wire.codec import encode_payload
from p2ptui.wire.frames import RELAY, decode_relay
from p2ptui.wire.message import Envelope, ErrorCode, ErrorPayload, MessageType

_TOLD_TEXT: Final = "unauthenticated: shake hands first"


class Strangers:
    """Takes messages from addresses without a session.

    Args:
        state: The shared ground.
        delivery: The way out.
        table: Who takes what.
        rendezvous: May have been introduced to it.
        admission: What strangers may cost.
        races: Addresses that this node asked, and another answered first.
        ways: Addresses of a node whose request came from several.
    """

    def __init__(
        self,
        state: NodeState,
        delivery: Delivery,
        table: MessageTable,
        rendezvous: Rendezvous,
        admission: Admission,
        races: Races,
        ways: AlternatePaths,
    ) -> None:
        self._state = state
        self._delivery = delivery
        self._table = table
        self._rendezvous = rendezvous
        self._admission = admission
        self._races = races
        self._ways = ways
        self.early = EarlyMessages(state, self._refuse)
        """What waits for an introduction of its sender."""
        rendezvous.on_named = self._receive_early

    def receive_handshaking(self, peer: Peer, message: Envelope, earned: Purse, now: float) -> None:
        """Take a message from an address with which a handshake is under way."""
        take = self._table.handshaking.get(message.message_type)
        if take is None:
            self._take_introduced(peer.address, message, earned, now)
        else:
            take(peer, message, earned, now)

    def receive(self, address: Address, message: Envelope, earned: Purse, now: float) -> None:
        """Take a message from an address of which nothing is known."""
        for known in (self._races, self._ways):
            if known.handle_message(address, message, now):
                return
        if self._take_introduced(address, message, earned, now):
            return
        take = self._table.stranger.get(message.message_type)
        if take is not None and take(address, message, earned, now):
            return
        if not self.early.keep(address, message, earned, now):
            self._refuse(address, message.message_type, earned, now)

    def _take_introduced(
        self, address: Address, message: Envelope, earned: Purse, now: float
    ) -> bool:
        introduction = self._rendezvous.at(address, now)
        take = self._table.introduced.get(message.message_type)
        if introduction is None or take is None or not take(introduction, message, earned, now):
            return False
        self._rendezvous.renew(introduction, now)
        return True

    def receive_frame(self, address: Address, peer: Peer | None, data: bytes, now: float) -> None:
        """Take a frame from an address without a session.

        One that is to be relayed is from a client that does not know yet that this server was
        restarted: it is told, as by a message.
        """
        self._state.counters.drop("unauthenticated")
        if peer is not None or self._state.closing or data[0] != RELAY:
            return
        if decode_relay(data) is not None and self._admission.admits(address, now):
            self._tell(address, self._state.gate.arrival, now)

    def _receive_early(self, address: Address, now: float) -> None:
        for message, earned in self.early.release(address):
            self._take_introduced(address, message, earned, now)

    def _refuse(self, address: Address, kind: str, earned: Purse, now: float) -> None:
        self._state.counters.drop("unauthenticated")
        if kind in TOLD_TO_SHAKE_HANDS and not self._state.closing:
            self._tell(address, earned, now)

    def _tell(self, address: Address, earned: Purse, now: float) -> None:
        payload = encode_payload(ErrorPayload(_TOLD_TEXT, ErrorCode.UNAUTHENTICATED))
        _, data = self._delivery.build(MessageType.ERROR, payload, now)
        # A message too short to be answered must not use up the one answer.
        if not earned.has_room(len(data)):
            self._state.counters.drop("untold")
        elif not self._admission.was_told(address, now) and self._state.gate.refuse(
            data, address, earned, now
        ):
            self._admission.may_tell(address, now)
            self._state.trace(Direction.OUT, address, "", MessageType.ERROR, data)
