"""One request that came from several addresses: the asker decides which path it takes.

A node that knows several addresses of this one, or has several itself, sends the same request on
each path and takes the first answer. The same message id means the same attempt, and not a claim to
another node's id: each path is answered, the first one gets the session, and the session moves if
the asker acknowledges the answer on another path, or says goodbye on the first. An asker without
message numbers may never acknowledge: for those, any message on another path will do.

The id of a request is unguessable (a random UUID), and is of use only until the first answer is
acknowledged; nobody who has not seen it gains anything from all this. A copy that arrives later is
refused at once, and begins no dispute about the id.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from p2ptui.bounded import BoundedTable, Share
from p2ptui.core.addresses import address_words
from p2ptui.core.delivery import Delivery
from p2ptui.core.events import GOES_ON_AT
from p2ptui.core.peers import Peer
from p2ptui.core.peers.handshakes import ToldBefore, keys_of
from p2ptui.core.sessions.lifecycle import LetIn, Lifecycle
from p2ptui.core.state import NodeState
from p2ptui.wire.address import Address
from p2ptui.wire.codec import MalformedError, decode_payload
from p2ptui.wire.message import DisconnectPayload, Envelope, MessageType

UNDECIDED_S: Final = 5.0
"""How long after its first answer an asker may still choose another path."""

MAX_OTHER_WAYS: Final = 256
"""Further paths remembered at a time, for all askers."""

MAX_OTHER_WAYS_OF_ONE: Final = 8
"""The same for one asker, which asks no more addresses of a node than this."""


class Told:
    """An answer to a request; it is never changed.

    Args:
        response_id: The id of the answer.
        sequence: Its number, if the asker acknowledges by number.
        response: Its bytes; empty if it must first be rebuilt.
        again: What it is rebuilt from; None if it cannot be.
    """

    __slots__ = ("again", "response", "response_id", "sequence")

    def __init__(
        self,
        response_id: str,
        sequence: int | None,
        response: bytes,
        again: ToldBefore | None = None,
    ) -> None:
        self.response_id = response_id
        self.sequence = sequence
        self.response = response
        self.again = again

    @property
    def keys(self) -> tuple[int | str, ...]:
        """What an Ack of it may name."""
        return keys_of(self.response_id, self.sequence)

    @property
    def kept(self) -> bytes | ToldBefore:
        """The answer as it is kept, in its smallest form."""
        return self.response if self.again is None else self.again


@dataclass(frozen=True, slots=True)
class AlternatePath:
    """An address that sent a request which had been accepted from another address."""

    owner: Peer
    """The peer of the asker, where it was accepted."""
    address: Address
    request_id: str
    told: Told


class AlternatePaths:
    """Remembers such addresses, briefly and only a few.

    Args:
        state: The shared state.
        delivery: Told when an address has proved itself.
        lifecycle: Moves sessions.
    """

    def __init__(self, state: NodeState, delivery: Delivery, lifecycle: Lifecycle) -> None:
        self._state = state
        self._delivery = delivery
        self._lifecycle = lifecycle
        self.on_message: Callable[[Peer, Envelope, float], None] = lambda *_: None
        """Called with a message that has moved a session, to be handled like any other."""
        self.on_newcomer: Callable[[Address, Envelope, float], bool] = lambda *_: False
        """Called with any other message; returns whether its sender is a peer now."""
        self._ways: BoundedTable[Address, tuple[AlternatePath, LetIn]] = state.tables.add(
            "other_ways",
            BoundedTable(
                MAX_OTHER_WAYS,
                refuses=True,
                full="other_ways_full",
                shares=state.tables.shares,
                peer_share=Share(MAX_OTHER_WAYS_OF_ONE),
            ),
        )

    @staticmethod
    def open(owner: Peer, now: float) -> None:
        """A request was accepted; it may also come on another path."""
        owner.handshakes.leave_open(now + UNDECIDED_S)

    @staticmethod
    def is_same_attempt(owner: Peer, message: Envelope, now: float) -> bool:
        """Whether a request from elsewhere was made by an owner of its id."""
        return owner.handshakes.is_undecided(message.id, now)

    @staticmethod
    def is_late_copy(owner: Peer, message: Envelope) -> bool:
        """Whether a request from elsewhere is one whose answer its owner has already accepted. It
        took long to arrive, or somebody replays it. It claims nothing: the owner is not even
        asked, and its id stays free to move at once."""
        return owner.facts.acks and message.id in owner.handshakes.requests

    def at(self, address: Address, message: Envelope) -> AlternatePath | None:
        """The path on which a repeated request came before."""
        way, _ = self._ways.get(address, (None, None))
        return way if way is not None and way.request_id == message.id else None

    def keep(self, way: AlternatePath, accept: LetIn, now: float) -> None:
        """Remember a path that was answered, if there is room.

        Args:
            way: The path.
            accept: Admits the asker at the address of the path.
            now: The time, seconds.
        """
        if self._ways.get(way.address, (None,))[0] is way:
            self._ways.replace(way.address, (way, accept))
        elif self._ways.put(way.address, (way, accept), peers=(way.owner,), address=way.address):
            self._state.timers.schedule(now + UNDECIDED_S, lambda _: self._forget(way))

    def _forget(self, way: AlternatePath) -> None:
        if self._ways.get(way.address, (None,))[0] is way:
            del self._ways[way.address]

    def handle_message(self, address: Address, message: Envelope, now: float) -> bool:
        """A message from a stranger; returns whether it decides between two paths."""
        way, _ = self._ways.get(address, (None, None))
        if way is None:
            return self.on_newcomer(address, message, now)
        if message.message_type == MessageType.ACK and message.ack_for in way.told.keys:
            return self._take(way, now, is_proved=True)
        if message.message_type == MessageType.DISCONNECT:
            try:
                goodbye = decode_payload(message.payload, DisconnectPayload)
            except MalformedError:
                return False
            if goodbye.handshake == way.told.response_id:
                self._forget(way)
                return True
        elif way.told.sequence is None and self._take(way, now, is_proved=False):
            peer = self._state.peers.at(address)
            assert peer is not None
            self.on_message(peer, message, now)
            return True
        return False

    def handle_goodbye(self, owner: Peer, now: float) -> bool:
        """An asker has closed the path on which it was accepted; returns whether it continues on
        another."""
        addresses = self._ways.of_peer(owner)
        if not addresses:
            return False
        ways = [self._ways[address][0] for address in addresses]
        return any(self._take(way, now, is_proved=False) for way in ways)

    def _take(self, way: AlternatePath, now: float, *, is_proved: bool) -> bool:
        _, accept = self._ways[way.address]
        del self._ways[way.address]
        owner = way.owner
        is_open = owner.handshakes.is_undecided(way.request_id, now)
        if not is_open or self._state.peers.at(owner.address) is not owner:
            return False
        if self._state.peers.at(way.address) is not None:
            return False  # somebody else has come there meanwhile
        reason = GOES_ON_AT + address_words(way.address)
        self._lifecycle.move(owner, now, reason, accept)
        peer = self._state.peers.at(way.address)
        if peer is None or not peer.is_authenticated:
            return False
        if is_proved:
            peer.facts.note_ack()
            self._delivery.prove(peer, now)
        return True
