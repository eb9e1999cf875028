"""What an answer to a key exchange begins: whether it is believed, message 3, the first frame.

The asking side has the keys once message 2 is good. It sends message 3 before anything else, and
repeats it until the first frame comes back. Without a network key it continues at once. With one,
it waits for that frame: only that proves that the other side knows the network key too. It also
waits if the other side has said that it must first see who asks.
"""

from collections.abc import Callable
from typing import Final

from p2ptui.core.accounts import Reason
from p2ptui.core.addresses import address_words
from p2ptui.core.events import Direction
from p2ptui.core.peers import Peer
from p2ptui.core.policy import OPEN, RULES, STRIPPED, WITH_KEY, WITHOUT_KEY
from p2ptui.core.sealing import CROSSING_S, Mode, SealFrame, Seals
from p2ptui.core.sessions.asking import Answer, Asking
from p2ptui.core.sessions.offering import Shown, finish, own_account
from p2ptui.core.state import NodeState
from p2ptui.secure import Transport
from p2ptui.text import about

REPEAT_S: Final = 0.25
"""From message 3 to its first repetition."""

REPEAT_GROWTH: Final = 1.4
REPEATS: Final = 10
"""Over 17 seconds in total, the fourth 1.8 s after the first: a node whose seats are all taken has
by then asked which peers may have gone, and this proves again that this node is here. By the end
the session falls silent, or its handshake is over."""

UNCONFIRMED: Final = (
    "it has answered, and has not confirmed the last message of the key exchange, which was lost or"
    " altered on the way"
)


class SealedAnswers:
    """Judges answers by what they prove, and begins secured sessions on the asking side.

    Args:
        state: The shared state.
        seals: The secured sessions.
    """

    def __init__(self, state: NodeState, seals: Seals) -> None:
        self._state = state
        self._seals = seals

    def is_ignored(self, attempt: Asking, answer: Answer) -> bool:
        """Whether an answer is treated as if it had not come: the genuine one may follow.

        A node that was secured is not believed in the open, nor is another node in its place that
        was not asked for. Nor is a node whose keys a server must have removed.
        """
        peer, shown = attempt.peer, answer.shown
        if shown is None and answer.response.success and self._must_show(peer):
            self._state.counters.drop("stripped_exchange")
            attempt.why = RULES[STRIPPED].here
            return True
        if peer.seal is None:
            return False
        if attempt.refused and not (attempt.is_kept or answer.response.success):
            # It was asked once more, after a refusal that only it can send: this ends that attempt
            # alone.
            return False
        is_other = shown is not None and attempt.is_kept and shown.keys != peer.seal.keys
        is_other = is_other and shown is not None and shown.keys.id != attempt.node_id
        if shown is None or is_other:
            self._state.counters.drop("another_key" if is_other else "stripped_exchange")
            return True
        return False

    def _must_show(self, peer: Peer) -> bool:
        return self._seals.must_show(peer.address) or self._seals.must_show(peer.sends_to)

    def flaw(self, attempt: Asking, answer: Answer, now: float) -> str:
        """Why this node has no session with the answering node; empty if nothing speaks against
        it."""
        address, shown = attempt.peer.address, answer.shown
        where = address_words(address)
        assert answer.info is not None
        owner = self._state.peers.with_id(answer.info.id)
        keys, offer = self._seals.keys, attempt.greeting.offer
        if shown is None:
            if keys.mode is Mode.REQUIRE:
                return f"{where}: {RULES[OPEN].here}"
            if owner is not None and owner.seal is not None:
                return f"{where} claims the id of a node that has shown its keys"
        elif offer is not None:
            by_key, unix = offer.by_network_key, self._state.unix(now)
            if fault := keys.fault_of(shown.keys.id, shown.claims, unix, by_network_key=by_key):
                # If it was asked without the key, it has another one or none.
                words = RULES[attempt.refused or fault].here
                return f"{where}: node {shown.keys.id}: {words}"
        words = self._seals.judge(address, answer.info.id, None if shown is None else shown.keys)
        return about(where, words)

    def may_ask_otherwise(self, attempt: Asking, reason: object) -> bool:
        """Whether a node that refuses is asked once more, without the network key or with it; if
        so, that is noted, and what was begun with it is over.

        A node may come without the key if its id is allowed; if its id is not known yet, the answer
        will tell it. If no ids are allowed, nobody is asked without the key.
        """
        keys, offer, seal = self._seals.keys, attempt.greeting.offer, attempt.peer.seal
        if attempt.refused or offer is None or keys.network_key is None or not keys.allowed_ids:
            return False
        if seal is not None and seal.refusal:
            unix = self._state.unix(self._state.gate.now)
            may_come = keys.allows(seal.keys.id, seal.claims, unix)
        else:
            may_come = not attempt.node_id or attempt.node_id in keys.allowed_ids
        if not may_come:
            return False
        changes = WITHOUT_KEY if offer.by_network_key else WITH_KEY
        if not isinstance(reason, str) or reason not in changes:
            return False
        attempt.refused, attempt.without_key = reason, offer.by_network_key
        if seal is not None:
            seal.refusal, seal.on_first = b"", None
        return True

    def is_crossed(self, owner: Peer, now: float) -> bool:
        """Whether an answering node has itself just begun a session."""
        seal = owner.seal
        if seal is None or not owner.is_authenticated:
            return False
        current = seal.session.current
        return not current.is_initiator and now <= current.began_at + CROSSING_S

    def is_better(self, shown: Shown, owner: Peer, now: float) -> bool:
        """Whether the answering node replaces the peer that has its id elsewhere: at once if that
        peer has proved no keys, or is silent; of two requests that cross, that of the smaller id
        wins."""
        if owner.seal is None or owner.is_silent(now) or owner.seal.keys != shown.keys:
            return True
        return self.is_crossed(owner, now) and self._seals.keys.identity.id < owner.node_id

    def begin(
        self, attempt: Asking, answer: Answer, now: float, conclude: Callable[[float], None]
    ) -> bool:
        """Begin the secured session; returns whether the attempt ends now, by the caller.

        Args:
            attempt: The request.
            answer: The answer.
            now: The time, seconds.
            conclude: Ends the attempt successfully, at a given time, if that is later.
        """
        offer, shown, peer = attempt.greeting.offer, answer.shown, attempt.peer
        if offer is None or shown is None:
            return True
        state = self._state
        account = own_account(state.identity, self._seals, state.unix(now))
        finished = finish(offer, shown, account, now)
        if finished is None:
            state.counters.drop("exchange_over")
            return False
        proof, frame = finished
        seal = self._seals.enter(peer, proof, now)
        seal.refusal = shown.refusal
        attempt.why = UNCONFIRMED
        waits = offer.by_network_key or shown.is_choosy
        if waits:
            attempt.is_paused = True
            seal.on_first = conclude
        self._send(peer, frame, proof.transport, REPEATS, REPEAT_S, now)
        return not waits

    def _send(
        self, peer: Peer, frame: bytes, transport: Transport, left: int, pause_s: float, now: float
    ) -> None:
        state, seal = self._state, peer.seal
        if seal is None or not seal.session.awaits(transport):
            return
        if not seal.refusal:
            return  # the other side has refused it, and is asked anew
        grant = state.gate.grant(Reason.HANDSHAKE, peer.sends_to, now, peer.purse)
        if state.gate.send(frame, peer.sends_to, grant):
            state.trace(Direction.OUT, peer.sends_to, peer.node_id, SealFrame.FINISH, frame)
        if left:
            state.timers.schedule(
                now + pause_s,
                lambda at: self._send(
                    peer, frame, transport, left - 1, REPEAT_GROWTH * pause_s, at
                ),
            )
