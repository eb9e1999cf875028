"""Answers to handshake requests: written, and sent where they begin no session."""

from typing import Final

from p2ptui.core.accounts import Purse
from p2ptui.core.delivery import Delivery
from p2ptui.core.events import Direction
from p2ptui.core.identity import dialect_of
from p2ptui.core.peers.handshakes import ToldBefore
from p2ptui.core.sessions.arrival import Arrival
from p2ptui.core.sessions.greetings import (
    is_extended,
    response_payload,
    shortest_response_bytes,
)
from p2ptui.core.sessions.other_ways import Told
from p2ptui.core.state import NodeState
from p2ptui.wire.address import Address
from p2ptui.wire.codec import encode_payload
from p2ptui.wire.frames import Plain
from p2ptui.wire.message import Envelope, ErrorCode, ErrorPayload, MessageType

WHO: Final = "shake hands again"
"""The text for an address at which there may be a different node than before."""


class Answers:
    """Writes HandshakeResponses, and sends those that begin no session.

    Args:
        state: The shared state.
        delivery: Makes messages.
    """

    def __init__(self, state: NodeState, delivery: Delivery) -> None:
        self._state = state
        self._delivery = delivery
        self.shortest_bytes = shortest_response_bytes(state.identity)
        """What the shortest of them takes, at most."""

    def refuse(
        self,
        address: Address,
        message: Envelope,
        earned: Purse,
        reason: str,
        now: float,
        *,
        rule: str = "other",
    ) -> None:
        """Refuse a request.

        Args:
            address: Where it came from.
            message: The request.
            earned: What it pays for.
            reason: The reason, in one line; included if that is paid for.
            now: The time, seconds.
            rule: The counter of the refusal.
        """
        self._state.counters.refuse(rule)
        peer = self._state.peers.at(address)
        purse = None if peer is None else peer.purse
        limit = (purse or earned).allowance
        told = ToldBefore(
            self._state.ids.uuid(),
            None,
            address,
            dialect_of(message),
            False,
            _named_by(message),
            now,
        )
        data = self._write(told, reason)
        if len(data) > limit:
            told.is_short = True
            data = self._write(told, reason)
        to = address if peer is None else peer.sends_to
        if self._state.gate.refuse(data, to, earned, now, purse):
            self._trace(address, data)
        else:
            self._state.counters.drop("refusal_unsent")

    def send(self, arrival: Arrival, data: bytes, now: float, *, is_known: bool = False) -> bool:
        """Send an answer to an address where the request begins no session; returns whether it is
        paid for.

        Args:
            arrival: The request.
            data: The answer.
            now: The time, seconds.
            is_known: Whether it carries the id of a peer; see `Gate.refuse`.
        """
        gate, to = self._state.gate, arrival.address
        is_out = gate.refuse(data, to, arrival.earned, now, is_known=is_known)
        if is_out:
            self._trace(arrival.address, data)
        else:
            self._state.counters.drop("refusal_unsent")
        return is_out

    def answer_held(
        self,
        arrival: Arrival,
        data: bytes,
        now: float,
        kind: str = MessageType.HANDSHAKE_RESPONSE,
    ) -> bool:
        """Answer a request that is held beside a peer, from what it has earned and no more.

        Args:
            arrival: The request.
            data: The answer.
            now: The time, seconds.
            kind: Its type.

        Returns:
            Whether it pays for that.
        """
        to, peer = arrival.came_by or arrival.address, self._state.peers.at(arrival.address)
        # What the request has earned is also in the purse of the peer there: one of them pays.
        is_victim = peer is not None and not (peer.proved or peer.initiated)
        purse = peer.purse if peer is not None and is_victim else None
        is_out = self._state.gate.refuse(data, to, arrival.earned, now, purse, is_known=True)
        if not is_out and peer is not None and peer.proved:
            # An Ack was lost, and the request pays for no more: the peer's allowance for requests
            # that may be forged pays instead.
            gate = self._state.gate
            if gate.draw(peer.purse, len(data)):
                is_out = gate.send(data, to, gate.grant_answer(peer.purse, to))
        if is_out:
            self._trace(to, data, kind)
        return is_out

    def ask_who(self, arrival: Arrival, now: float) -> bool:
        """Have the node at a request's address say who it is: it shakes hands again.

        Args:
            arrival: The request.
            now: The time, seconds.

        Returns:
            Whether it pays for that.
        """
        payload = encode_payload(ErrorPayload(WHO, ErrorCode.UNAUTHENTICATED))
        _, data = self._delivery.build(MessageType.ERROR, payload, now)
        return self.answer_held(arrival, data, now, MessageType.ERROR)

    def _trace(
        self, address: Address, data: bytes, kind: str = MessageType.HANDSHAKE_RESPONSE
    ) -> None:
        self._state.trace(Direction.OUT, address, "", kind, data)

    def accept(
        self,
        arrival: Arrival,
        sequence: int | None,
        limit: float,
        now: float,
        response_id: str = "",
    ) -> Told:
        """Write the answer to an accepted request; it has not been sent yet.

        Args:
            arrival: The request.
            sequence: The number of the answer, if it is numbered.
            limit: Most bytes.
            now: The time, seconds.
            response_id: The id of the answer; empty for a new one.
        """
        message, dialect = arrival.message, dialect_of(arrival.message)
        again = ToldBefore(
            response_id or self._state.ids.uuid(),
            sequence,
            arrival.address,
            dialect,
            is_extended(arrival.info),
            _named_by(message),
            now,
        )
        data = self._write(again)
        if len(data) > limit:
            again.is_short = True
            data = self._write(again)
        return Told(again.response_id, sequence, data, again)

    def again(self, told: ToldBefore) -> Told:
        """The same answer, byte for byte."""
        return Told(told.response_id, told.sequence, self._write(told), told)

    def repeated(self, kept: bytes | ToldBefore) -> bytes:
        """The bytes of an answer, from what a peer keeps of it."""
        return self._write(kept) if isinstance(kept, ToldBefore) else kept

    def _write(self, told: ToldBefore, reason: str | None = None) -> bytes:
        """An answer to a request; a refusal if there is a reason."""
        sequence = told.sequence
        payload = response_payload(
            self._state.identity,
            told.dialect,
            told.address,
            reason,
            extended=told.is_extended,
            is_short=told.is_short,
        )
        _, data = self._delivery.build(
            MessageType.HANDSHAKE_RESPONSE,
            payload,
            told.written_at,
            sequence_number=sequence,
            requires_ack=sequence is not None,
            ack_for=told.ack_for,
            message_id=told.response_id,
        )
        return Plain(data)


def _named_by(request: Envelope) -> int | None:
    """The request's number is returned, as proof to the asker; the reference writes null."""
    return None if request.speaks_reference else request.sequence_number
