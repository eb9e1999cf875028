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
"""Session numbers of one peer: for previous, current and future keys, and briefly one more."""

CROSSING_S: Final = 5.0
"""How long after one exchange another one that crossed it may end."""

MAX_DEPARTED: Final = 256
"""Ended secured sessions that may continue at another address of the same node."""

SEAL_BYTES: Final = SECURED_OVERHEAD
"""How much longer the seal makes each datagram."""

_STUN_LAST: Final = 0x03
_FRAMES: Final = frozenset({SECURED, MESSAGE_3, UNKNOWN_SESSION})


def must_show_keys(server: Peer | None, node_id: str) -> bool:
    """Whether a node is never believed in the open through a server: its id is derived from keys,
    and the server has a secured session, so it would forward what proves them.

    Args:
        server: The server that brings the message; None: none does.
        node_id: The id of the node, or the claimed one.
    """
    return server is not None and server.seal is not None and is_made_of_keys(node_id)


class SealFrame(StrEnum):
    """The names of the seal's own frames in message traces."""

    FINISH = "KeyProof"
    """The last message of a key exchange, which proves the keys of its sender."""
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
    """Whether datagrams to a peer are sealed."""
    return peer.is_secured and type(data) is not Plain


def relays_sealed(server: Peer) -> bool:
    """Whether a server forwards sealed frames: an older one would not. A secured one can, whatever
    it claims: it must not talk two nodes into an open session with a lie."""
    return server.seal is not None or Capability.RELAY_SEALED in server.facts.capabilities


class Mode(StrEnum):
    """Which nodes this node talks to; those of our own kind get secured sessions in every mode."""

    OPEN = "open"
    """With anyone in its network."""
    PREFER = "prefer"
    """With anyone, but not in the open with nodes that were secured before."""
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
        """The rule of `core.policy` by which a node that has proved the keys of its id is refused;
        empty if there is none.

        Args:
            node_id: The id of the other node.
            claims: What it says about its keys.
            now_wall: Unix time, seconds.
            by_network_key: Whether the exchange required the network key.
        """
        if not self.chooses(by_network_key=by_network_key):
            return ""
        if self.allows(node_id, claims, now_wall):
            return ""
        return NOT_ALLOWED if self.network_key is None else NETWORK_KEY_WANTED

    def chooses(self, *, by_network_key: bool) -> bool:
        """Whether admission of a node with keys depends on its id."""
        if by_network_key:
            return False
        return self.network_key is not None or (
            self.mode is Mode.REQUIRE and bool(self.allowed_ids)
        )

    def allows(self, node_id: str, claims: Claims, now_wall: float) -> bool:
        """Whether a node that has proved its keys may come without the network key: by its own id
        or, if it is ephemeral, by that of its user, who has signed that it is theirs.

        Args:
            node_id: The id of the node.
            claims: What it says about its keys.
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
        load_primitives()  # here rather than in the first handshake
        self.keys = keys
        self.static = keys.static
        """Made once: it caches what it prepares at its first use."""
        self.boot: bytes = secrets.token_bytes(BOOT_BYTES)
        """Made anew each time the node starts."""
        self._peers = peers
        self._counters = counters
        self._rng = rng
        self.judge: Callable[[Address, str, PublicKeys | None], str] = lambda *_: ""
        """Called for each node that has answered this one, before there is a session: with its
        address, its id, and its keys if it has proved any. Returns what speaks against it, in
        words for this node's user; empty if nothing does."""
        self.turn_away: Callable[[Address, str, PublicKeys | None], str] | None = None
        """The same for each node that asks for a session, in words for that node; without it, the
        result of `judge`."""
        self._by_number: BoundedTable[int, Peer] = BoundedTable(
            lambda: MAX_KEYS_EACH * max(len(peers), 1) + MAX_KEYS_EACH,
            full="session_keys_full",
            peer_share=INDEXED,
            count=counters.drop,
        )
        self.peer_of: Callable[[int], Peer | None] = self._by_number.get
        """The peer whose frames carry a session number."""
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
        """What speaks against a node that asks for a session, in words for it; empty if nothing
        does.

        Args:
            address: Its address.
            node_id: The id of the node.
            keys: Its keys, if it has proved any.
        """
        return (self.turn_away or self.judge)(address, node_id, keys)

    def new_number(self, taken: Collection[int] = ()) -> int:
        """A session number that is not in use here.

        Args:
            taken: Numbers of exchanges in progress.
        """
        while True:
            number = self._rng.getrandbits(32)
            if number not in self._by_number and number not in taken:
                return number

    def respond(self, request: bytes, exchange: str) -> Responder:
        """Read the key exchange that a request offers.

        Args:
            request: The part of the request that both ends hash.
            exchange: The value of the exchange.

        Raises:
            SecureError: It is malformed, or none that this node takes part in.
        """
        keys = self.keys
        # With a network key, XX is only for nodes that may come without it.
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
        """From now on a peer is spoken to with the keys of an exchange, or of a better one that it
        has crossed.

        Args:
            peer: The peer.
            proof: The result of the exchange.
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
        """Whether an exchange has crossed a better one.

        Two nodes that ask each other at once have the keys of both exchanges, and seal with those
        of the exchange begun by the node with the smaller id.

        Args:
            seal: The seal of the current session.
            proof: The result of the other exchange.
            now: The time, seconds.
        """
        current = seal.session.current
        if not self.has_crossed(seal, proof, now):
            return False
        return current.is_initiator is (self.keys.identity.id < proof.keys.id)

    @staticmethod
    def has_crossed(seal: Seal, proof: Proof, now: float) -> bool:
        """Whether, of two exchanges that end within a short time, the other side has begun one and
        this node the other; arguments as for `has_lost`."""
        current = seal.session.current
        is_other_way = current.is_initiator is not proof.transport.is_initiator
        return is_other_way and now <= current.began_at + CROSSING_S

    def note_numbers(self, peer: Peer) -> None:
        """The keys of a peer's session have changed: register its current numbers."""
        # A departed peer has none: its session may belong to the same node elsewhere by now.
        is_here = peer.seal is not None and self._peers.at(peer.address) is peer
        numbers = set(peer.seal.session.numbers()) if is_here and peer.seal else set()
        for number in self._by_number.of_peer(peer):
            if number not in numbers:
                del self._by_number[number]
        for number in numbers:
            if number not in self._by_number:
                self._by_number.put(number, peer, peers=(peer,))

    def forget(self, peer: Peer, now: float) -> None:
        """The peer has left: nothing opens any more, unless it comes back at once on another path.
        What is still sent to it stays sealed."""
        if peer.seal is not None:
            peer.seal.session.rest()
            self._departed.put(peer.seal.keys.id, peer.seal, now)
        for number in self._by_number.of_peer(peer):
            del self._by_number[number]

    def seal(self, data: bytes, to: Address, peer: Peer | None = None) -> bytes:
        """What is sent in place of a datagram; empty if it must not be sent.

        Args:
            data: The datagram.
            to: The destination.
            peer: The receiver, if known; otherwise the peer at that address.
        """
        if peer is None:
            # STUN, which strangers use, is recognised by its first byte: no peer need be looked up.
            if data and data[0] <= _STUN_LAST:
                return data
            peer = self._peers.at(to)
        if peer is None or peer.session.seal is None or type(data) is Plain:
            return data
        if data and (data[0] <= _STUN_LAST or data[0] in _FRAMES):
            return data
        return self.seal_for(peer, data)

    def seal_for(self, peer: Peer, data: bytes) -> bytes:
        """A datagram sealed for a secured peer, wherever it is sent; empty if that is refused."""
        seal = peer.session.seal
        if seal is None:
            return b""
        try:
            frame = seal.session.current.seal(data)
        except SecureError as error:
            self._counters.drop(f"seal_{error.reason}")
            return b""
        return Unfragmented(frame) if type(data) is Unfragmented else frame
