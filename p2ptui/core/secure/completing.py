"""The last message of a key exchange: it proves the keys of the id, and admits its sender."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Final, TypeAlias

from p2ptui.core.addresses import relayed_node
from p2ptui.core.identity import RefusedError, accept_node_info
from p2ptui.core.peers import Peer, Standing
from p2ptui.core.sealing import SealFrame, Seals
from p2ptui.core.secure.answering import Answering
from p2ptui.core.secure.pending import Pending
from p2ptui.core.sessions.arrival import Arrival
from p2ptui.core.sessions.offering import proof_of
from p2ptui.core.sessions.parts import SessionParts
from p2ptui.core.state import NodeState
from p2ptui.secure import SecureError
from p2ptui.secure.frames import decode_message_3
from p2ptui.secure.identity import PublicKeys
from p2ptui.wire.address import Address
from p2ptui.wire.exchange import as_received, decode_finish

MAX_TRIES: Final = 1024
"""Last messages that are examined for one exchange. All but one are forged by somebody who has seen
its answer; one whose first half is genuine costs a key exchange, any other next to nothing."""
DOUBTED_S: Final = 0.8
"""How long a genuine last message is awaited after one that does not open: an attacker who sees it
on the path can send an altered copy faster. By then it has been sent three times."""

AskBefore: TypeAlias = Callable[
    [Peer, Callable[[float], None], Callable[[str, float], None], float], None
]
"""Asks a peer whether it is still there; then admits or refuses another node, at a given time."""


def _tell_nobody(_number: int, _now: float) -> None:
    """The default: does nothing."""


class Completing:
    """Admits nodes that complete a key exchange.

    Args:
        state: The shared state.
        seals: The secured sessions.
        answering: Has answered their requests.
        sessions: Where peers are admitted.
        ask_before: Asks the peer that is at the address already.
    """

    def __init__(
        self,
        state: NodeState,
        seals: Seals,
        answering: Answering,
        sessions: SessionParts,
        ask_before: AskBefore,
    ) -> None:
        self._state = state
        self._seals = seals
        self._answering = answering
        self._refusals = answering.refusals
        self._ask_before = ask_before
        self._seating = answering.seating
        self.on_begun: Callable[[int, float], None] = _tell_nobody
        """Called with the number of an exchange that is complete, and the time."""
        self._crossings = sessions.crossings
        self._newcomers = sessions.newcomers

    def take_message_3(self, frame: bytes, address: Address, now: float) -> None:
        """The last message of a key exchange, wherever it comes from: its sender has read the
        answer at the address that it was sent to, and may have found a better path since. The
        session begins at that address."""
        message = decode_message_3(frame)
        if message is None:
            self._state.counters.drop("malformed")
            return
        pending = self._answering.pending(message.session)
        if pending is None:
            self._take_again(message.session)
        elif pending.is_held:
            self._state.counters.duplicates += 1
            if pending.final == message.message:
                self._seating.show(message.session, now)
        elif pending.tries >= MAX_TRIES:
            self._state.counters.drop("exchange_refused")
        else:
            # Wherever it comes from, its maker was sent the answer at that address: the session
            # begins there, and follows if its other end is elsewhere by now.
            pending.tries += 1
            self._state.trace_from(address, "", SealFrame.FINISH, frame)
            pending.last = self._state.gate.earned_by(len(frame), address)
            if pending.refused:
                # Its sender may have been told so and given up: no other answer is right now.
                self._refusals.refuse_end(pending, pending.refused, now)
            else:
                self._complete(message.session, pending, message.message, now)

    def _take_again(self, number: int) -> None:
        """A message that was handled before: its sender has heard nothing yet."""
        peer = self._seals.peer_of(number)
        if peer is None or peer.seal is None:
            self._state.counters.drop("exchange_unknown")
        elif not peer.seal.session.has_heard(number):
            self._state.gate.send_to(peer, b"")

    def _complete(self, number: int, pending: Pending, message: bytes, now: float) -> None:
        state, address = self._state, pending.address
        try:
            completed = pending.responder.complete(message, now)
        except SecureError as error:
            state.counters.drop(f"exchange_{error.reason}")
            if error.reason == "network_key_differs" and not pending.is_doubted:
                pending.is_doubted = True
                end = partial(self._end_doubted, number, pending, error.reason)
                state.timers.schedule(now + DOUBTED_S, end)
            return
        try:
            account = decode_finish(completed.payload).account
            keys = PublicKeys(completed.remote_static, account.ed_public)
            received = as_received(account, keys.id, state.identity.network_id)
            info = accept_node_info(received, state.identity, relayed_node(address))
        except (ValueError, RefusedError) as refusal:
            self._refusals.refuse_end(pending, str(refusal), now)
            return
        by_key = pending.responder.by_network_key
        arrival = Arrival(
            address,
            pending.message,
            info,
            pending.earned,
            proof=proof_of(completed.transport, keys, account, by_network_key=by_key),
        )
        words = self._doubt(arrival, now)
        if words:
            self._refusals.refuse_end(pending, words, now, keys.id)
            return
        pending.is_held, pending.final = True, message
        if state.peers.at(address) is not None or state.peers.with_id(info.id) is not None:
            self._settle(number, arrival, pending, now)
        else:
            settle = partial(self._settle, number, arrival, pending)
            refuse = partial(self._turn_away, number, pending)
            self._seating.begin(number, address, pending.asked_at, settle, refuse, now)

    def _end_doubted(self, number: int, pending: Pending, reason: str, now: float) -> None:
        """A last message did not open, and no genuine one has followed: it was made with another
        key."""
        is_open = self._answering.pending(number) is pending
        if is_open and not (pending.is_held or pending.refused or self._state.closing):
            self._refusals.refuse_end(pending, reason, now)

    def _settle(self, number: int, arrival: Arrival, pending: Pending, now: float) -> None:
        """Admit a node that has a place, or needs none; first ask the peer that may be at its
        address."""
        proof, before = arrival.proof, self._state.peers.at(arrival.address)
        seal = before.seal if before is not None and before.is_authenticated else None
        if before is None or seal is None or proof is None or seal.keys == proof.keys:
            self._conclude(number, arrival, pending, now)
        else:
            conclude = partial(self._conclude, number, arrival, pending)
            refuse = partial(self._turn_away, number, pending)
            self._ask_before(before, conclude, refuse, now)

    def _conclude(self, number: int, arrival: Arrival, pending: Pending, now: float) -> None:
        self._answering.forget(number)
        self._let_in(arrival, pending, now)
        self.on_begun(number, now)

    def _turn_away(self, number: int, pending: Pending, words: str, now: float) -> None:
        self._answering.give_up(number)
        self._refusals.refuse_end(pending, words, now)

    def _doubt(self, arrival: Arrival, now: float) -> str:
        """Why a node that has proved its keys is not admitted, as the name of a rule or in words;
        empty if it may be."""
        node_id, proof = arrival.info.id, arrival.proof
        assert proof is not None
        unix, by_key = self._state.unix(now), proof.by_network_key
        fault = self._seals.keys.fault_of(node_id, proof.claims, unix, by_network_key=by_key)
        return fault or self._seals.judge_request(arrival.address, node_id, proof.keys)

    def _let_in(self, arrival: Arrival, pending: Pending, now: float) -> None:
        state = self._state
        peer = state.peers.at(arrival.address)
        if peer is not None and relayed_node(arrival.address) and peer.address != arrival.address:
            # A relayed node may come through another server than the one in its address.
            arrival = replace(arrival, address=peer.address, came_by=arrival.address)
        owner = state.peers.with_id(arrival.info.id)
        if owner is not None and (
            self._is_way_to(owner, arrival, now) or self._have_crossed(owner, arrival, pending, now)
        ):
            self._join_crossed(owner, arrival, pending, now)
            return
        self._newcomers.let_in(arrival, pending.told, now, is_proved=True)

    def _is_way_to(self, owner: Peer, arrival: Arrival, now: float) -> bool:
        """Whether a node that has proved its keys has just begun a session on another path."""
        seal, proof = owner.seal, arrival.proof
        if seal is None or proof is None or seal.keys != proof.keys:
            return False
        peers, address = self._state.peers, arrival.address
        is_late = self._crossings.is_late(owner, address, now)
        if owner.address == address or not (is_late or self._seals.has_lost(seal, proof, now)):
            return False
        if relayed_node(address) and relayed_node(owner.address):
            return peers.add_relay(owner, address)
        return peers.add_alias(owner, address, Standing.ANSWERED)

    def _have_crossed(self, owner: Peer, arrival: Arrival, pending: Pending, now: float) -> bool:
        """Whether a node with a session asked for one before it knew of it: this node has asked for
        the session, and the other one had asked before it sent anything in it."""
        seal, proof = owner.seal, arrival.proof
        if seal is None or proof is None or seal.keys != proof.keys:
            return False
        if owner.address != arrival.address or not owner.is_authenticated:
            return False
        is_unknown = pending.is_blind or pending.asked_at <= seal.session.current.began_at
        return is_unknown and self._seals.has_crossed(seal, proof, now)

    def _join_crossed(self, owner: Peer, arrival: Arrival, pending: Pending, now: float) -> None:
        """Two nodes asked each other: that makes one session, and the keys of both exchanges
        open."""
        proof, number, told = arrival.proof, arrival.message.sequence_number, pending.told
        assert proof is not None
        assert owner.seal is not None
        if not self._seals.has_lost(owner.seal, proof, now):
            # The other one may never receive this node's own request: it knows its own, and the
            # answer to that.
            owner.handshakes.hear(arrival.message.id)
            if told.sequence is not None:
                owner.channel.begin_at(told.sequence)
        if number is not None:
            owner.channel.begin(number)
        self._seals.enter(owner, proof, now)
        owner.session.note_accepted()
        owner.handshakes.note_request(arrival.message.id)
        owner.handshakes.answer(told.kept, told.response_id, told.keys, crossed=True)
        self._state.gate.send_to(owner, b"")
