"""Messages from addresses without a session: the few that mean something, and the rest."""

from p2ptui.core.accounts import Purse
from p2ptui.core.mesh.rendezvous import Rendezvous
from p2ptui.core.messages.early import EarlyMessages
from p2ptui.core.messages.table import MessageTable
from p2ptui.core.messages.telling import Telling
from p2ptui.core.peers import Peer
from p2ptui.core.sessions.newcomers import Newcomers
from p2ptui.core.sessions.other_ways import AlternatePaths
from p2ptui.core.sessions.race import Races
from p2ptui.core.state import NodeState
from p2ptui.wire.address import Address
from p2ptui.wire.frames import RELAY, decode_relay
from p2ptui.wire.message import Envelope


class Strangers:
    """Takes messages from addresses without a session.

    Args:
        state: The shared state.
        table: Knows the handlers.
        rendezvous: Knows addresses that were introduced.
        telling: Tells the rest to shake hands.
        races: Addresses that this node asked, when another one answered first.
        ways: Addresses of a node whose request came from several.
        newcomers: Nodes that must prove that they are there.
    """

    def __init__(
        self,
        state: NodeState,
        table: MessageTable,
        rendezvous: Rendezvous,
        telling: Telling,
        races: Races,
        ways: AlternatePaths,
        newcomers: Newcomers,
    ) -> None:
        self._state = state
        self._table = table
        self._introductions = rendezvous.introductions
        self._introduced = rendezvous.introductions.addresses
        self._telling = telling
        self._races = races
        self._ways = ways
        self._newcomers = newcomers
        self.early = EarlyMessages(state, telling.refuse)
        """Messages that wait for the introduction of their sender."""
        rendezvous.on_named = self._receive_early

    def receive_handshaking(self, peer: Peer, message: Envelope, earned: Purse, now: float) -> None:
        """Take a message from an address with which a handshake is in progress."""
        take = self._table.handshaking.get(message.message_type)
        if take is None:
            self._take_introduced(peer.address, message, earned, now)
        else:
            take(peer, message, earned, now)

    def receive(self, address: Address, message: Envelope, earned: Purse, now: float) -> None:
        """Take a message from an unknown address."""
        if self._races.handle_message(address, message, now):
            return
        if self._ways.handle_message(address, message, now):
            return
        if self._newcomers.take_ack(address, message, now):
            return
        if self._take_introduced(address, message, earned, now):
            return
        take = self._table.stranger.get(message.message_type)
        if take is not None and take(address, message, earned, now):
            return
        if not self.early.keep(address, message, earned, now):
            self._telling.refuse(address, message.message_type, earned, now)

    def _take_introduced(
        self, address: Address, message: Envelope, earned: Purse, now: float
    ) -> bool:
        if address not in self._introduced:
            return False
        introduction = self._introductions.at(address, now)
        take = self._table.introduced.get(message.message_type)
        if introduction is None or take is None or not take(introduction, message, earned, now):
            return False
        self._introductions.renew(introduction, now)
        return True

    def receive_frame(self, address: Address, peer: Peer | None, data: bytes, now: float) -> None:
        """Take a frame from an address without a session.

        A frame to be relayed is from a client that does not know yet that this server was
        restarted: the client is told, as after a message.
        """
        self._state.counters.drop("unauthenticated")
        if peer is not None or self._state.closing or data[0] != RELAY:
            return
        if decode_relay(data) is not None:
            self._telling.refuse_frame(address, now)

    def _receive_early(self, address: Address, now: float) -> None:
        for message, earned in self.early.release(address):
            self._take_introduced(address, message, earned, now)
