"""The answering side of the key exchange: requests that carry one wait without changing anything.

Such a request is never accepted at once, and nothing is assumed about it. It is answered with
message 2, as far as it pays for that, and waits for message 3, whether its address is free or in
use and whether or not its id has another owner. Message 3 proves the keys of the id, at the address
that was answered: its sender is the owner, and `completing` admits it. Until then nothing changes.
"""

from collections.abc import Callable
from typing import Final

from p2ptui.bounded import BoundedTable
from p2ptui.core.accounts import Purse
from p2ptui.core.peers import Peer
from p2ptui.core.sealing import Mode, Seals
from p2ptui.core.secure.load import Load
from p2ptui.core.secure.pending import (
    Pending,
    Request,
    note_answer,
    without_payload,
    write_answer,
)
from p2ptui.core.secure.refusals import Refusals
from p2ptui.core.secure.seating import Seating
from p2ptui.core.sessions.offering import own_account
from p2ptui.core.sessions.parts import SessionParts
from p2ptui.core.state import NodeState
from p2ptui.secure import SecureError
from p2ptui.wire.address import Address
from p2ptui.wire.exchange import REFUSAL_BYTES
from p2ptui.wire.message import MAX_SEQUENCE_NUMBER, Envelope

MAX_PENDING: Final = 1024
"""Key exchanges that were answered and wait for their last message; the oldest makes room."""

PENDING_S: Final = 10.0
"""How long each may take."""


def _tell_nobody(_number: int) -> None:
    """The default: does nothing."""


class Answering:
    """Answers requests with a key exchange, and admits those that complete it.

    Args:
        state: The shared state.
        seals: The secured sessions.
        sessions: Where peers are admitted.
    """

    def __init__(self, state: NodeState, seals: Seals, sessions: SessionParts) -> None:
        self._state = state
        self._seals = seals
        self.seating = Seating(state, sessions.lifecycle)
        """Where nodes that have proved their keys wait if the peer table is full."""
        self.on_forgotten: Callable[[int], None] = _tell_nobody
        """Called with the number of an exchange that leads to no session."""
        self._crossings = sessions.crossings
        self._load = Load(state)
        self.refusals = Refusals(state, sessions.newcomers.answers)
        """Writes them, and tells the user."""
        self._pending: BoundedTable[int, Pending] = state.tables.add(
            "exchanges_pending",
            BoundedTable(
                MAX_PENDING,
                full="exchange_forgotten",
                shares=state.tables.shares,
                lifetime_s=PENDING_S,
                on_evicted=self._forget_pending,
            ),
        )
        self._by_request: BoundedTable[tuple[Address, str], int] = BoundedTable(
            2 * MAX_PENDING, full="exchange_forgotten", count=state.counters.drop
        )

    # Requests.

    def take_request(
        self,
        data: bytes,
        address: Address,
        message: Envelope,
        peer: Peer | None,
        earned: Purse,
        now: float,
    ) -> bool:
        """A handshake request; returns whether it was handled here.

        Args:
            data: The datagram.
            address: Where it came from.
            message: The request.
            peer: The peer at that address, if any.
            earned: What it pays for.
            now: The time, seconds.
        """
        request = Request(data, address, message, earned)
        if peer is not None and message.id in peer.handshakes.requests:
            # A peer that completed an exchange has its answer; an open one is answered again.
            if peer.seal is not None:
                self._state.counters.duplicates += 1
            return peer.seal is not None
        exchange = request.exchange
        if exchange is None:
            return self._take_plain(request, peer, now)
        number = self._by_request.get((address, message.id))
        pending = None if number is None else self._pending.get(number)
        if pending is not None:
            self._answer(pending, peer, earned, now)
        elif self._is_crossed(peer, request):
            self._state.counters.drop("crossed_exchange")
        elif self._load.admits(request, exchange, now):
            return self._begin(request, exchange, peer, now)
        return True

    def _take_plain(self, request: Request, peer: Peer | None, now: float) -> bool:
        """A request without a key exchange changes nothing for a secured peer."""
        if peer is not None and peer.seal is not None:
            self._state.counters.drop("unsealed")
            return True
        node_id = request.claimed_id
        owner = self._state.peers.with_id(node_id)
        words = self._seals.judge_request(request.address, node_id, None)
        if owner is not None and owner.seal is not None:
            words = f"node id {node_id} already exists, and has shown its keys"
        elif self._seals.keys.mode is Mode.REQUIRE:
            self.refusals.refuse_open(request, now)
            return True
        elif self._seals.must_show(request.address):
            self.refusals.refuse_stripped(request, now)
            return True
        if words:
            self.refusals.refuse(request, words, now)
        return bool(words)

    def _is_crossed(self, peer: Peer | None, request: Request) -> bool:
        """Whether this node is asking the same node too: of two requests that cross, that of the
        node with the smaller id makes the session."""
        if peer is None or not peer.initiated or peer.is_authenticated:
            return False
        return self._state.identity.id < request.claimed_id

    def _begin(self, request: Request, exchange: str, peer: Peer | None, now: float) -> bool:
        keys, address = self._seals.keys, request.address
        try:
            responder = self._seals.respond(request.data, exchange)
        except SecureError as error:
            if error.reason == "unknown_pattern":
                return self._take_plain(request, peer, now)
            self.refusals.refuse_offer(request, error.reason, now)
            return True
        words = self._lack_of_room(request, peer, now)
        if words:
            self.refusals.refuse(request, words, now)
            return True
        number = self._seals.new_number(self._pending)
        refusal = self._state.rng.randbytes(REFUSAL_BYTES)
        try:
            told = write_answer(
                self._state,
                own_account(self._state.identity, self._seals, self._state.unix(now)),
                request,
                responder,
                number,
                self._number_for(request),
                refusal,
                now,
                is_choosy=keys.chooses(by_network_key=responder.by_network_key),
            )
        except SecureError:
            self._state.counters.drop("malformed")
            return True
        message = without_payload(request.message)
        seal = None if peer is None else peer.seal
        is_blind = seal is not None and not seal.session.current.opened
        earned = request.earned
        pending = Pending(address, message, earned, responder, told, refusal, now, is_blind, earned)
        if self._pending.put(number, pending, now, address=address):
            self._by_request.put((address, message.id), number)
            self._answer(pending, peer, request.earned, now)
        return True

    def _lack_of_room(self, request: Request, peer: Peer | None, now: float) -> str:
        """Why there is no place for the asking node; empty if there may be one."""
        is_known = peer is not None or self._state.peers.with_id(request.claimed_id)
        return "" if is_known else self.seating.lacks_room(request.address, now)

    def _number_for(self, request: Request) -> int:
        """The number of an answer. If this node is asking the same one, it is that of its request:
        then the other side's window is the same whichever of the two makes the session."""
        state, address = self._state, request.address
        peer = state.peers.at(address)
        if peer is not None and peer.initiated and not peer.is_authenticated and not peer.resumes:
            return (peer.channel.numbering.next - 1) & MAX_SEQUENCE_NUMBER
        channel = self._crossings.channel(request.claimed_id, address)
        if channel is None:
            return state.rng.getrandbits(32)
        return (channel.numbering.next - 1) & MAX_SEQUENCE_NUMBER

    def _answer(self, pending: Pending, peer: Peer | None, earned: Purse, now: float) -> None:
        """Send message 2, if the request pays for it."""
        gate, data, to = self._state.gate, pending.told.response, pending.address
        is_victim = peer is not None and not (peer.proved or peer.initiated)
        purse = peer.purse if peer is not None and is_victim else None
        is_out = gate.refuse(data, to, earned, now, purse, is_known=peer is not None)
        note_answer(self._state, data, to, is_out=is_out)

    def awaits(self, number: int) -> bool:
        """Whether an exchange with that number is pending: its frames may overtake message 3."""
        return number in self._pending

    def pending(self, number: int) -> Pending | None:
        """The exchange that was answered with a session number."""
        return self._pending.get(number)

    def forget(self, number: int) -> None:
        """An exchange is complete."""
        pending = self._pending.pop(number)
        if pending is not None:
            self._forget_request(pending)

    def give_up(self, number: int) -> None:
        """An exchange leads to no session."""
        pending = self._pending.pop(number)
        if pending is not None:
            self._forget_pending(number, pending)

    def _forget_request(self, pending: Pending) -> None:
        self._by_request.pop((pending.address, pending.message.id))

    def _forget_pending(self, number: int, pending: Pending) -> None:
        self._forget_request(pending)
        self.on_forgotten(number)
