"""Which peers are spoken to under seal: the keys of this node and of each secured session.

Everything that leaves for the address of a secured peer is sealed at the only way out: no other
part of the core has to think of it. Only STUN, handshake messages (`Plain`) and the frames that
belong to the seal itself travel in the clear.
"""

import random
import secrets
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from p2ptui.bounded import INDEXED, BoundedTable
from p2ptui.core.addresses import relayed_node, visible_address
from p2ptui.core.counters import Counters
from p2ptui.core.peers import Peer, PeerTable
from p2ptui.core.peers.seal import Claims, Proof, Seal
from p2ptui.core.policy import NETWORK_KEY_WANTED, NOT_ALLOWED
from p2ptui.secure import (
    PATTERNS,
    Responder,
    SecureError,
    SecureSession,
    StaticKeys,
    Transport,
)
from p2ptui.secure.frames import MESSAGE_3, SECURED, SECURED_OVERHEAD, UNKNOWN_SESSION
from p2ptui.secure.identity import (
    Identity,
    PublicKeys,
    StatementError,
    is_made_of_keys,
    load_primitives,
    read_short_statement,
)
from p2ptui.secure.secret import Secret
from p2ptui.secure.session import LONGEST_OVERLAP_S
from p2ptui.wire.address import Address
from p2ptui.wire.exchange import BOOT_BYTES
from p2ptui.wire.frames import Plain, Unfragmented
from p2ptui.wire.message import Capability

MAX_KEYS_EACH: Final = 4
"""Session numbers of one peer: keys in use, of before and to come, and one more for a moment."""

CROSSING_S: Final = 5.0
"""So long after one exchange the other may end that crossed it."""

MAX_DEPARTED: Final = 256
"""Secured sessions that have ended, and may go on at another address of the same node."""

SEAL_BYTES: Final = SECURED_OVERHEAD
"""So much longer is each datagram to a secured peer."""

_STUN_LAST: Final = 0x03
_FRAMES: Final = frozenset({SECURED, MESSAGE_3, UNKNOWN_SESSION})


def must_show_keys(server: Peer | None, node_id: str) -> bool:
    """Whether nothing of a node counts that comes in the open by way of a server: its id is made of
    keys, and the server speaks under seal, so it is one that would pass on what shows them.

    Args:
        server: Who brings it; None if nobody does.
        node_id: Whose it is, or is said to be.
    """
    return server is not None and server.seal is not None and is_made_of_keys(node_id)


class SealFrame(StrEnum):
    """The names of the seal's own frames in message traces."""

    FINISH = "KeyProof"
    """The last message of a key exchange, which shows the keys of its sender."""
    UNKNOWN_SESSION = "UnknownSession"
    PATH_CHALLENGE = "PathChallenge"
    PATH_RESPONSE = "PathResponse"
    REKEY_REQUEST = "RekeyRequest"
    REKEY_RESPONSE = "RekeyResponse"
    REKEY_FINISH = "RekeyFinish"
    MOVED = "Moved"
    SEEN = "Seen"
    OTHER = "SealFrame"


def goes_sealed(peer: Peer, data: bytes) -> bool:
    """Whether a datagram that leaves for a peer leaves under its seal."""
    return peer.is_secured and type(data) is not Plain


def relays_sealed(server: Peer) -> bool:
    """Whether a server passes on what is sealed: an older one would not. One that is secured can,
    whatever it says of itself: it must not talk two nodes into an open session by a lie."""
    return server.seal is not None or Capability.RELAY_SEALED in server.facts.capabilities


class Mode(StrEnum):
    """Which nodes this node talks to; those of our own kind get secured sessions in every mode."""

    OPEN = "open"
    """With anyone in its network."""
    PREFER = "prefer"
    """With anyone, but not in the open with who was secured before."""
    REQUIRE = "require"
    """With secured peers only."""


@dataclass(frozen=True, slots=True)
class OwnKeys:
    """What a node needs for secured sessions.

    Args:
        identity: Its keys; the node id must be derived from them.
        network_key: 32 bytes that all nodes of the network know; None: there is none.
        mode: Which nodes it talks to.
        allowed_ids: Ids that may come without the network key; if there is none and the mode is
            require, the only ids that may come.
        ephemeral: Whether the keys last only as long as the node runs.
        statement: Returns the statement of whose keys they are, given Unix time in seconds; empty
            if there is none.
        on_session_keys: Called with each new pair of session keys and the id of the other end, if
            the user wants a key log.
    """

    identity: Identity
    network_key: Secret | None = None
    mode: Mode = Mode.PREFER
    allowed_ids: frozenset[str] = field(default_factory=frozenset)
    ephemeral: bool = False
    statement: Callable[[float], bytes] = lambda _: b""
    on_session_keys: Callable[[str, Transport], None] | None = field(default=None, repr=False)

    def note_session_keys(self, other_id: str, transport: Transport) -> None:
        """A pair of session keys was made with another node."""
        if self.on_session_keys is not None:
            self.on_session_keys(other_id, transport)

    @property
    def static(self) -> StaticKeys:
        """The key pair of the key exchange."""
        identity = self.identity
        return StaticKeys(identity.x_private_bytes.reveal(), identity.x_public)

    def fault_of(
        self, node_id: str, claims: Claims, now_wall: float, *, by_network_key: bool
    ) -> str:
        """By which rule of `core.policy` a node is refused that has shown the keys of its id; empty
        if by none.

        Args:
            node_id: Who has come, or answered.
            claims: What it says of its keys.
            now_wall: Unix time, seconds.
            by_network_key: Whether the exchange is one that needs the network key.
        """
        if not self.chooses(by_network_key=by_network_key):
            return ""
        if self.allows(node_id, claims, now_wall):
            return ""
        return NOT_ALLOWED if self.network_key is None else NETWORK_KEY_WANTED

    def chooses(self, *, by_network_key: bool) -> bool:
        """Whether it depends on the id of a node with keys if it is let in."""
        if by_network_key:
            return False
        return self.network_key is not None or (
            self.mode is Mode.REQUIRE and bool(self.allowed_ids)
        )

    def allows(self, node_id: str, claims: Claims, now_wall: float) -> bool:
        """Whether a node that has shown its keys may come without the network key: by its own id,
        or, as an ephemeral node, by that of its user, who has signed that it is his.

        Args:
            node_id: The id of the node.
            claims: What it says of its keys.
            now_wall: Unix time, seconds.
        """
        if node_id in self.allowed_ids:
            return True
        if not (self.allowed_ids and claims.ephemeral and claims.statement):
            return False
        try:
            signer = read_short_statement(claims.statement, node_id, now_wall).signer
        except StatementError:
            return False
        return signer.id in self.allowed_ids

    @property
    def psk(self) -> bytes | None:
        """The network key as the key exchange takes it."""
        return None if self.network_key is None else self.network_key.reveal()


class Seals:
    """The secured sessions of one node, found by their numbers.

    Args:
        keys: This node's keys.
        peers: All peers.
        counters: Counts what is refused.
        rng: The source of session numbers.
    """

    def __init__(
        self,
        keys: OwnKeys,
        peers: PeerTable,
        counters: Counters,
        rng: random.Random,
    ) -> None:
        load_primitives()  # here, and not in the first handshake
        self.keys = keys
        self.static = keys.static
        """Made once: what is made ready for its first use stays so."""
        self.boot: bytes = secrets.token_bytes(BOOT_BYTES)
        """Made anew each time the node starts."""
        self._peers = peers
        self._counters = counters
        self._rng = rng
        self.judge: Callable[[Address, str, PublicKeys | None], str] = lambda *_: ""
        """Asked of each node that has answered this one, before there is a session: where it is,
        its id, and its keys if it has shown any. What speaks against it, in words for this node's
        user; empty if nothing does."""
        self.turn_away: Callable[[Address, str, PublicKeys | None], str] | None = None
        """The same of each node that asks for a session, in words for that node; without it, what
        `judge` says."""
        self._by_number: BoundedTable[int, Peer] = BoundedTable(
            lambda: MAX_KEYS_EACH * max(len(peers), 1) + MAX_KEYS_EACH,
            full="session_keys_full",
            peer_share=INDEXED,
            count=counters.drop,
        )
        self.peer_of: Callable[[int], Peer | None] = self._by_number.get
        """Whose frames bear a session number."""
        self._departed: BoundedTable[str, Seal] = BoundedTable(
            MAX_DEPARTED,
            full="seal_forgotten",
            lifetime_s=LONGEST_OVERLAP_S,
            on_evicted=lambda _, seal: seal.session.rest(),
            count=counters.drop,
        )

    def __len__(self) -> int:
        return len(self._by_number)

    def judge_request(self, address: Address, node_id: str, keys: PublicKeys | None) -> str:
        """What speaks against a node that asks for a session, in words for it; empty if nothing.

        Args:
            address: Where it is.
            node_id: The id of the node.
            keys: Its keys, if it has shown any.
        """
        return (self.turn_away or self.judge)(address, node_id, keys)

    def new_number(self, taken: Collection[int] = ()) -> int:
        """A session number that is in use nowhere here.

        Args:
            taken: Numbers of exchanges that are under way.
        """
        while True:
            number = self._rng.getrandbits(32)
            if number not in self._by_number and number not in taken:
                return number

    def respond(self, request: bytes, exchange: str) -> Responder:
        """Read the key exchange that a request offers.

        Args:
            request: What both ends hash of it.
            exchange: Its value.

        Raises:
            SecureError: It is malformed, or none that this node takes part in.
        """
        keys = self.keys
        # With the network key, XX is for those alone who may come without it.
        accepts = PATTERNS if keys.network_key is not None and keys.allowed_ids else None
        return Responder(request, exchange, self.static, psk=keys.psk, accepts=accepts)

    def offers_to(self, address: Address) -> bool:
        """Whether a node at an address is offered a key exchange."""
        if self.keys.mode is Mode.REQUIRE or relayed_node(address) is None:
            return True
        peer = self._peers.at(address)
        if peer is not None and peer.seal is not None:
            return True
        server = self._peers.at(visible_address(address))
        return server is None or relays_sealed(server)

    def must_show(self, address: Address) -> bool:
        """Whether the node at an address is neither answered nor believed in the open: see
        `must_show_keys`."""
        node_id = relayed_node(address)
        if node_id is None:
            return False
        return must_show_keys(self._peers.at(visible_address(address)), node_id)

    def enter(self, peer: Peer, proof: Proof, now: float) -> Seal:
        """From now on a peer is spoken to by the keys of an exchange, or of a better one that it
        has crossed.

        Args:
            peer: The peer.
            proof: What came of the exchange.
            now: The time, seconds.
        """
        node_id = proof.keys.id
        self.keys.note_session_keys(node_id, proof.transport)
        seal = peer.seal
        if seal is None or seal.keys != proof.keys:
            self.forget(peer, now)
            self._departed.expire(now)
            seal = self._departed.pop(node_id)
        if seal is None:
            seal = Seal(SecureSession(proof.transport), proof.keys)
            seal.by_network_key = proof.by_network_key
        elif not proof.transport.is_initiator and self.has_lost(seal, proof, now):
            seal.session.hold(proof.transport, now)
        else:
            seal.session.adopt(proof.transport, now)
            seal.by_network_key = proof.by_network_key
        seal.claims = proof.claims
        peer.session.take_seal(seal)
        peer.channel.seal(SEAL_BYTES)
        self.note_numbers(peer)
        return seal

    def has_lost(self, seal: Seal, proof: Proof, now: float) -> bool:
        """Whether an exchange has crossed a better one: two nodes that ask each other at once have
        the keys of both exchanges, and seal with those that the node of the smaller id began.

        Args:
            seal: Of the session that there is.
            proof: What came of the other exchange.
            now: The time, seconds.
        """
        current = seal.session.current
        if not self.has_crossed(seal, proof, now):
            return False
        return current.is_initiator is (self.keys.identity.id < proof.keys.id)

    @staticmethod
    def has_crossed(seal: Seal, proof: Proof, now: float) -> bool:
        """Whether the other side has begun one exchange of two that end within a short time, and
        this one the other; arguments as of `has_lost`."""
        current = seal.session.current
        is_other_way = current.is_initiator is not proof.transport.is_initiator
        return is_other_way and now <= current.began_at + CROSSING_S

    def note_numbers(self, peer: Peer) -> None:
        """The keys of a peer's session have changed: its numbers are those of now."""
        # Who has gone has none: its session may be that of the same node elsewhere by now.
        is_here = peer.seal is not None and self._peers.at(peer.address) is peer
        numbers = set(peer.seal.session.numbers()) if is_here and peer.seal else set()
        for number in self._by_number.of_peer(peer):
            if number not in numbers:
                del self._by_number[number]
        for number in numbers:
            if number not in self._by_number:
                self._by_number.put(number, peer, peers=(peer,))

    def forget(self, peer: Peer, now: float) -> None:
        """The peer has gone: nothing opens any more, unless it comes back by another way at once.
        What is still said to it stays sealed."""
        if peer.seal is not None:
            peer.seal.session.rest()
            self._departed.put(peer.seal.keys.id, peer.seal, now)
        for number in self._by_number.of_peer(peer):
            del self._by_number[number]

    def seal(self, data: bytes, to: Address, peer: Peer | None = None) -> bytes:
        """What leaves in the place of a datagram; empty where it must not leave.

        Args:
            data: The datagram.
            to: The destination.
            peer: To whom, if that is known; else whoever is there.
        """
        if peer is None:
            # STUN, which strangers ask for, is told by its first byte: nobody need be looked up.
            if data and data[0] <= _STUN_LAST:
                return data
            peer = self._peers.at(to)
        if peer is None or peer.session.seal is None or type(data) is Plain:
            return data
        if data and (data[0] <= _STUN_LAST or data[0] in _FRAMES):
            return data
        return self.seal_for(peer, data)

    def seal_for(self, peer: Peer, data: bytes) -> bytes:
        """A datagram sealed for a secured peer, wherever it goes; empty where that is refused."""
        seal = peer.session.seal
        if seal is None:
            return b""
        try:
            frame = seal.session.current.seal(data)
        except SecureError as error:
            self._counters.drop(f"seal_{error.reason}")
            return b""
        return Unfragmented(frame) if type(data) is Unfragmented else frame
