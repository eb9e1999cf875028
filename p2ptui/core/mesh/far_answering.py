"""The key exchange with a node that is reached through others: the answering side.

An exchange costs about 0.2 ms of CPU. So their number a second is bounded, with a share for each
peer that brings requests: a request over the limit is dropped and will be repeated. A token would
prove nothing here, since a peer that brings a request in another's name also gets the answer.
"""

from dataclasses import dataclass
from typing import Final

from p2ptui.bounded import BoundedTable, TokenBucket
from p2ptui.core.identity import RefusedError
from p2ptui.core.mesh.far_accounts import accept_account, request_bytes, told_from
from p2ptui.core.mesh.far_asking import FarAsking
from p2ptui.core.mesh.far_seals import FarSeals
from p2ptui.core.mesh.sources import Writer
from p2ptui.core.sealing import Seals
from p2ptui.core.sessions.offering import own_account
from p2ptui.core.state import NodeState
from p2ptui.secure import Responder, SecureError, decode_message_3
from p2ptui.secure.exchange import is_first_to_rekey
from p2ptui.secure.identity import PublicKeys
from p2ptui.wire.codec import MalformedError
from p2ptui.wire.exchange import (
    REFUSAL_BYTES,
    InFarAnswer,
    decode_finish,
    encode_inside,
)
from p2ptui.wire.sealed import Sealed, to_bytes

MAX_ANSWERED: Final = 256
"""Exchanges that were answered and wait for their last message; the oldest makes room."""

MAX_FINISHES: Final = 64
"""Last messages of one exchange that are examined: all but one are forged."""

ANSWERED_S: Final = 20.0
"""How long an exchange may take: a path of several hops, and losses on it."""

EXCHANGES_PER_S: Final = 100
"""Exchanges that this node answers per second, and as many at once."""

EXCHANGES_OF_ONE_PER_S: Final = 50
"""The part of these that may come through one peer."""


@dataclass(slots=True, eq=False)
class _Answered:
    """An exchange that another node has begun."""

    node_id: str
    request: str
    responder: Responder
    answer: Sealed
    refusal: bytes
    tries: int = 0


class FarAnswering:
    """Answers requests, and takes over the sessions of nodes that complete them.

    Args:
        state: The shared state.
        seals: This node's keys.
        far: The sessions that result.
        asking: The exchanges that this node has begun.
    """

    def __init__(self, state: NodeState, seals: Seals, far: FarSeals, asking: FarAsking) -> None:
        self._state = state
        self._seals = seals
        self._far = far
        self._asking = asking
        self._answered: BoundedTable[int, _Answered] = state.tables.add(
            "far_answered",
            BoundedTable(
                MAX_ANSWERED,
                full="far_exchange_forgotten",
                shares=state.tables.shares,
                lifetime_s=ANSWERED_S,
                on_evicted=lambda _, answered: self._forget_request(answered),
            ),
        )
        self._by_request: BoundedTable[tuple[str, str], int] = BoundedTable(
            2 * MAX_ANSWERED, full="far_exchange_forgotten", count=state.counters.drop
        )
        self._rate = TokenBucket(EXCHANGES_PER_S, 0.0)
        self._rates: BoundedTable[str, TokenBucket] = BoundedTable(
            state.most_peers, full="far_rate_forgotten", count=state.counters.drop
        )

    def take_request(self, writer: Writer, value: str, now: float) -> Sealed | None:
        """Message 1; returns the answer, if any."""
        node_id, own = writer.node_id, self._state.identity.id
        if self._asking.is_asking(node_id) and is_first_to_rekey(own.encode(), node_id.encode()):
            return None  # both ask: the exchange of the node with the smaller id goes on
        number = self._by_request.get((node_id, value))
        known = None if number is None else self._answered.get(number)
        if known is not None:
            return known.answer
        if not self.admits(writer, now):
            self._state.counters.drop("far_exchange_postponed")
            return None
        try:
            responder = self._seals.respond(request_bytes(node_id, own, value), value)
            number = self._seals.new_number(self._answered)
            refusal = self._state.rng.randbytes(REFUSAL_BYTES)
            account = own_account(self._state.identity, self._seals, self._state.unix(now))
            inside = encode_inside(InFarAnswer(account, refusal))
            answer = Sealed(answer=responder.answer(inside, number=number))
        except SecureError as error:
            self._state.counters.drop(f"far_exchange_{error.reason}")
            return None if error.reason == "malformed" else Sealed(refused=str(error))
        answered = _Answered(node_id, value, responder, answer, refusal)
        self._answered.expire(now)
        if not self._answered.put(number, answered, now, address=told_from(writer)):
            return None
        self._by_request.put((node_id, value), number)
        return answer

    def admits(self, writer: Writer, now: float) -> bool:
        """Whether a key may be used for a request, or a session reported as unknown: see above."""
        hop = writer.origin.node_id or ""
        of_hop = self._rates.get(hop)
        if of_hop is None:
            of_hop = TokenBucket(EXCHANGES_OF_ONE_PER_S, now)
            self._rates.put(hop, of_hop)
        return of_hop.take(now) and self._rate.take(now)

    def take_finish(self, writer: Writer, text: str, now: float) -> Sealed | None:
        """Message 3: it proves the keys of the asking node. Returns the refusal, if any."""
        try:
            message = decode_message_3(to_bytes(text))
        except MalformedError:
            message = None
        if message is None:
            self._state.counters.drop("malformed")
            return None
        answered = self._answered.get(message.session)
        if answered is None:
            return None  # normally it has been handled already
        if answered.node_id != writer.node_id or answered.tries >= MAX_FINISHES:
            self._state.counters.drop("exchange_refused")
            return None
        answered.tries += 1
        try:
            completed = answered.responder.complete(message.message, now)
            account = decode_finish(completed.payload).account
        except (SecureError, MalformedError) as error:
            self._state.counters.drop("far_finish_refused")
            differs = isinstance(error, SecureError) and error.reason == "network_key_differs"
            return self._refuse(answered, str(error)) if differs else None
        keys = PublicKeys(completed.remote_static, account.ed_public)
        try:
            info = accept_account(
                self._state,
                self._seals,
                account,
                keys,
                writer,
                now,
                by_network_key=answered.responder.by_network_key,
                is_asked=True,
            )
        except RefusedError as refusal:
            return self._refuse(answered, str(refusal))
        self._drop_answered(message.session, answered)
        is_restart = self._asking.is_for_restart(keys.id)
        self._asking.forget(keys.id)
        self._far.enter(
            keys.id, completed.transport, keys, info.capabilities, now, address=told_from(writer)
        )
        self._asking.on_ready(keys.id, now, is_restart)
        return None

    @staticmethod
    def _refuse(answered: _Answered, words: str) -> Sealed:
        return Sealed(refused=words, proof=answered.refusal.hex())

    def _drop_answered(self, number: int, answered: _Answered) -> None:
        self._answered.pop(number)
        self._forget_request(answered)

    def _forget_request(self, answered: _Answered) -> None:
        self._by_request.pop((answered.node_id, answered.request))
