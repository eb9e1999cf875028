"""A secured session follows its other end to another address (RFC 9000, section 9).

A frame that opens is from the peer, wherever it came from, and is accepted. But an attacker may
have forwarded it from an address of its own. So data keeps going to the previous address until the
new one has answered a challenge under seal, and the one in use has had time to answer another: an
address that still answers is not left (a stricter rule than that of section 9.3.3). A peer whose
own machine has moved says so under seal and need not wait. Then the session moves, and nothing is
lost.

An attacker may forward challenges and their answers, and nothing else. So an address is left
although it answers, for another one that answers too, if it carries nothing else: the peer's own
frames come only from the other address, time after time; or what is sent to it is not acknowledged
(`unheard`). An attacker that forwards everything in both directions, and does so first, is a better
path as far as can be seen.
"""

from collections.abc import Callable
from typing import Final, TypeAlias

from p2ptui.bounded import BoundedTable, Share
from p2ptui.core.accounts import AMPLIFICATION_LIMIT, Account, Purse, Reason
from p2ptui.core.addresses import address_words, relayed_node, visible_address
from p2ptui.core.events import GOES_ON_AT, Direction
from p2ptui.core.peers import Peer
from p2ptui.core.sealing import Seals
from p2ptui.core.secure.frame_kinds import kind_of
from p2ptui.core.secure.inner import (
    LONGEST_ADDRESS,
    MOVED,
    NONCE_BYTES,
    OF_PATHS,
    PATH_CHALLENGE,
    PATH_RESPONSE,
    SEEN,
)
from p2ptui.core.secure.move import FIRST_REST_S, LEADS, LEADS_S, LONGEST_REST_S, Move
from p2ptui.core.sessions.lifecycle import Lifecycle
from p2ptui.core.state import NodeState
from p2ptui.wire.address import Address, format_address

AGAIN_S: Final = 0.2
"""Between two challenges to one address: one of them, or its answer, may be lost."""

SHORTEST_WAIT_S: Final = 0.1
USUAL_WAIT_S: Final = 0.3
LONGEST_WAIT_S: Final = 0.8
WAIT_ROUND_TRIPS: Final = 2.5
"""How long the address in use has to answer."""

VALID_S: Final = 5.0
"""How long an answer to a challenge counts: somebody may have held it back."""

CHALLENGE_BYTES: Final = 38
MOST_PAID: Final = 256
"""Most bytes that copies from an address pay for, and the size of a challenge."""

ASKED_S: Final = 1.0
"""How long an answer counts from an address that is probed since nothing is acknowledged."""

SEEN_AFTER_S: Final[tuple[float, ...]] = (0.0, 0.4, 1.2)
"""When a peer is told where it is now seen, repeatedly, since that is not answered."""

MAX_MOVES: Final = 4096
"""New addresses of peers that are being probed."""

MOVES_EACH: Final = 4
"""The same for one peer; the oldest makes room."""


_Step: TypeAlias = Callable[[Peer, Address, Move, float], None]


class Roaming:
    """Probes new addresses of secured peers, and moves their sessions.

    Args:
        state: The shared state.
        seals: Seals frames for addresses that belong to no peer so far.
        lifecycle: Reports sessions that moved.
    """

    def __init__(self, state: NodeState, seals: Seals, lifecycle: Lifecycle) -> None:
        self._state = state
        self._seals = seals
        self._lifecycle = lifecycle
        self._moves: BoundedTable[tuple[Peer, Address], Move] = state.tables.add(
            "sessions_moving",
            BoundedTable(
                MAX_MOVES,
                full="move_forgotten",
                peer_share=Share(MOVES_EACH, makes_room=True),
            ),
        )
        self.is_unheard: Callable[[Peer, float], bool] = lambda *_: False
        """Whether datagrams to a peer are not acknowledged; the time is in seconds."""
        self.on_left_unheard: Callable[[Peer, float], None] = lambda *_: None
        """Called with a peer whose session has moved for that reason, and the time."""
        lifecycle.on_left.append(lambda peer, _: self._forget(peer))

    # What shows that a peer is elsewhere.

    def note(self, peer: Peer, inner: bytes, address: Address, earned: Purse, now: float) -> None:
        """The newest frame of a peer came from another address than the one in use.

        Args:
            peer: The peer that sealed the frame, without doubt.
            inner: The content of the frame: it may say that its sender has moved.
            address: Where it came from.
            earned: What the datagram pays for.
            now: The time, seconds.
        """
        is_told = inner[:1] == bytes((MOVED,))
        if self._is_relayed(peer, address) or not self._may_follow(peer, address):
            return
        move = self._moves.get((peer, address))
        is_new = move is None or now >= move.until or (is_told and move.rests)
        if move is None or is_new:
            move = self._begin(peer, address, move, now, is_told=is_told)
        elif is_told and not move.is_told:
            move.is_told = True
            self._judge(peer, address, move, now)
            return
        if inner and inner[0] not in OF_PATHS:
            self._note_led(peer, address, move, now)
        if not is_new and not self._asks_again(peer, address, move, now):
            return
        move.asked_at = now
        self._send(peer, bytes((PATH_CHALLENGE,)) + move.nonce, address, earned)

    def note_copy(self, peer: Peer, address: Address, size: int, now: float) -> None:
        """A frame came a second time. If from the address in use, that carries the peer's own
        frames too, only later than another one. If from elsewhere, the peer may be there: the
        address is probed if nothing else helps.

        Args:
            peer: The peer with the number on it; it was not opened.
            address: Where it came from.
            size: Its bytes.
            now: The time, seconds.
        """
        if address == peer.sends_to:
            self.note_in_use(peer)
            return
        if relayed_node(address) is not None or not self._may_follow(peer, address):
            return
        move = self._moves.get((peer, address))
        if move is None:
            move = Move.resting(now)
            self._moves.put((peer, address), move, peers=(peer,))
        move.carries = True
        move.paid_bytes = min(move.paid_bytes + AMPLIFICATION_LIMIT * size, MOST_PAID)

    def note_in_use(self, peer: Peer) -> None:
        """A frame of a peer, other than an answer, came from the address in use."""
        if self._moves:
            for key in self._moves.of_peer(peer):
                self._moves[key].led = 0

    def _note_led(self, peer: Peer, address: Address, move: Move, now: float) -> None:
        move.note_led(now)
        if move.led == LEADS:
            when = max(move.led_since + LEADS_S, now)
            self._state.timers.schedule(when, lambda at: self._judge_leader(peer, address, at))
        self._judge(peer, address, move, now)

    def _judge_leader(self, peer: Peer, address: Address, now: float) -> None:
        move = self._moves.get((peer, address))
        if move is None or not move.leads(now) or not peer.is_authenticated:
            return
        if move.is_answered and now < move.until:
            self._judge(peer, address, move, now)
        else:
            self._ask_unpaid(peer, address, move, now)

    @staticmethod
    def _asks_again(peer: Peer, address: Address, move: Move, now: float) -> bool:
        if address == peer.sends_to or now < move.asked_at + AGAIN_S:
            return False
        return not move.rests or (move.leads(now) and not move.is_answered)

    def _is_relayed(self, peer: Peer, address: Address) -> bool:
        """Which server relays it is decided elsewhere; that it is relayed is known here."""
        if relayed_node(address) is None:
            return False
        if relayed_node(address) == peer.node_id and relayed_node(peer.address):
            self._state.peers.add_relay(peer, address)
        return True

    def _may_follow(self, peer: Peer, address: Address) -> bool:
        """Whether this address is news: the search handles paths that it found, and other known
        paths to a relayed peer."""
        if not peer.is_authenticated or address == peer.sends_to:
            return False
        is_known = self._state.peers.at(address) is peer
        return not is_known or (relayed_node(peer.home) is None and "#" not in address[0])

    def _begin(
        self, peer: Peer, address: Address, last: Move | None, now: float, *, is_told: bool
    ) -> Move:
        random, wait_s = self._state.rng.randbytes, self._wait_s(peer)
        rest_s = FIRST_REST_S if last is None else min(2 * last.rest_s, LONGEST_REST_S)
        nonce, home_nonce, until = random(NONCE_BYTES), random(NONCE_BYTES), now + VALID_S
        move = Move(nonce, home_nonce, until, rest_s, now + wait_s, now, is_told=is_told)
        if last is not None:
            move.go_on_from(last)
        self._moves.put((peer, address), move, peers=(peer,))
        if not is_told:
            self._ask_home(peer, address, move)
            for share, action in ((0.5, self._ask_again), (1.0, self._judge)):
                self._plan(now + share * wait_s, peer, address, move, action)
        return move

    def _plan(self, when: float, peer: Peer, address: Address, move: Move, action: _Step) -> None:
        self._state.timers.schedule(when, lambda now: action(peer, address, move, now))

    @staticmethod
    def _wait_s(peer: Peer) -> float:
        rtt_s = peer.channel.srtt
        if rtt_s is None:
            return USUAL_WAIT_S
        return min(max(WAIT_ROUND_TRIPS * rtt_s, SHORTEST_WAIT_S), LONGEST_WAIT_S)

    def _ask_again(self, peer: Peer, address: Address, move: Move, _now: float) -> None:
        if self._moves.get((peer, address)) is move and not move.rests:
            self._ask_home(peer, address, move)

    def _ask_home(self, peer: Peer, address: Address, move: Move) -> None:
        if peer.sends_to != address:
            self._state.gate.send_to(peer, bytes((PATH_CHALLENGE,)) + move.home_nonce)

    # Challenges, and their answers.

    def answer(self, peer: Peer, inner: bytes, address: Address, earned: Purse) -> None:
        """A challenge came under a peer's seal: it is answered to its source.

        Args:
            peer: The peer.
            inner: The frame.
            address: Where it came from.
            earned: What its datagram pays for.
        """
        nonce = inner[1 : 1 + NONCE_BYTES]
        if len(nonce) != NONCE_BYTES:
            self._state.counters.drop("malformed")
            return
        seen = _written(address) if inner[0] == MOVED else b""
        self._send(peer, bytes((PATH_RESPONSE,)) + nonce + seen, address, earned)

    def take_answer(self, peer: Peer, inner: bytes, now: float) -> None:
        """The answer to a challenge came under a peer's seal.

        Args:
            peer: The peer.
            inner: The frame.
            now: The time, seconds.
        """
        nonce = inner[1 : 1 + NONCE_BYTES]
        for key in self._moves.of_peer(peer):
            move = self._moves[key]
            if now >= move.until:
                continue
            # Each was sent to one address only, wherever its answer comes from (RFC 9000,
            # section 8.2.3): a copy of the answer may arrive before the answer itself.
            if move.nonce == nonce:
                move.is_answered = move.is_proved = True
                self._judge(peer, key[1], move, now)
                return
            if move.home_nonce == nonce and not move.is_told and not move.rests:
                move.rests, move.until = True, now + move.rest_s
                return
        self._state.counters.drop("path_response_unasked")

    def _judge(self, peer: Peer, address: Address, move: Move, now: float) -> None:
        if self._moves.get((peer, address)) is not move or not peer.is_authenticated:
            return
        if not move.is_answered or now >= move.until:
            return
        is_unheard = move.carries and self.is_unheard(peer, now)
        may_move = not move.rests and (move.is_told or now >= move.judged_at)
        if not (may_move or is_unheard or move.leads(now)):
            return
        self._go(peer, address, move, now, is_unheard=is_unheard)
        if is_unheard:
            self.on_left_unheard(peer, now)

    def _go(
        self, peer: Peer, address: Address, move: Move, now: float, *, is_unheard: bool
    ) -> None:
        """Move the session; remember where it was, and where else the peer may be."""
        before, carried = peer.sends_to, not (is_unheard or move.leads(now))
        for key in self._moves.of_peer(peer):
            other = self._moves[key]
            other.rests, other.until = True, min(other.until, now)
        self._move(peer, address, now)
        if peer.sends_to == address:
            self._moves.pop((peer, address))
            if before != address and relayed_node(before) is None:
                left = Move.resting(now, carries=carried, is_proved=True)
                self._moves.put((peer, before), left, peers=(peer,))

    # Addresses where nothing is acknowledged.

    def has_others(self, peer: Peer) -> bool:
        """Whether other possible addresses of a peer are known."""
        return bool(self._moves) and any(
            self._moves[key].carries for key in self._moves.of_peer(peer)
        )

    def ask_others(self, peer: Peer, now: float) -> None:
        """Probe all other possible addresses of a peer; those that answer are judged.

        Args:
            peer: The peer.
            now: The time, seconds.
        """
        for key in self._moves.of_peer(peer):
            move, address = self._moves[key], key[1]
            if address == peer.sends_to or not move.carries:
                continue
            if move.is_answered and now < move.until:
                continue
            self._ask_unpaid(peer, address, move, now)

    def _ask_unpaid(self, peer: Peer, address: Address, move: Move, now: float) -> None:
        """Probe an address from which no datagram has just come that pays for it."""
        if not move.is_proved:
            if move.paid_bytes < CHALLENGE_BYTES:
                return
            move.paid_bytes -= CHALLENGE_BYTES
        if now >= move.until:
            move.nonce = self._state.rng.randbytes(NONCE_BYTES)
            move.rests, move.until = True, now + ASKED_S
            move.is_answered = False
        move.asked_at = now
        grant = self._state.gate.grant(Reason.OWN_PLAN, address, now)
        self._send(peer, bytes((PATH_CHALLENGE,)) + move.nonce, address, grant)

    def judge_others(self, peer: Peer, now: float) -> None:
        """Move the session if another address has answered and is suitable.

        Args:
            peer: The peer.
            now: The time, seconds.
        """
        for key in self._moves.of_peer(peer):
            move = self._moves.get(key)
            if move is not None and key[1] != peer.sends_to:
                self._judge(peer, key[1], move, now)

    def _forget(self, peer: Peer) -> None:
        for key in self._moves.of_peer(peer):
            del self._moves[key]

    def _send(self, peer: Peer, inner: bytes, address: Address, account: Account) -> None:
        frame, gate = self._seals.seal_for(peer, inner), self._state.gate
        if frame and gate.send(frame, address, account):
            kind = kind_of(inner)
            self._state.trace(Direction.OUT, address, peer.node_id, kind, inner, is_sealed=True)

    def _move(self, peer: Peer, address: Address, now: float) -> None:
        """The peer is there: from now on the session goes there."""
        state = self._state
        if address == peer.sends_to:
            return
        owner = state.peers.at(address)
        if owner is not None and owner is not peer and owner.is_authenticated and owner.proved:
            if owner.seal is not None and state.peers.exchange(peer, owner):
                # A restarted router may give one node the port of another. The node that was there
                # continues from where this one was, if it got that port, or says where it is.
                for each in (peer, owner):
                    self._forget(each)
                    self._tell(each, now)
                return
            # There, only their seals tell two sessions apart; the current one stays.
            if owner.seal is None or not owner.is_silent(now):
                state.counters.drop("moved_to_another")
                return
            reason = f"replaced by node {peer.node_id} at the same address"
            self._lifecycle.give_way(owner, now, reason)
        is_plain = peer.is_plain and peer.path is None and "#" not in address[0]
        if is_plain and not peer.initiated:
            has_moved = state.peers.rehome(peer, address)
        else:
            has_moved = state.peers.take_path(peer, address)
        if has_moved:
            peer.liveness.note_answer(now)
            self._tell(peer, now)

    def _tell(self, peer: Peer, now: float) -> None:
        for later_s in SEEN_AFTER_S:
            self._state.timers.schedule(now + later_s, lambda _: self._tell_seen(peer))
        self._lifecycle.tell_moved(peer, now, GOES_ON_AT + address_words(peer.sends_to))

    def _tell_seen(self, peer: Peer) -> None:
        seen = _written(peer.sends_to)
        if seen and peer.is_authenticated:
            self._state.gate.send_to(peer, bytes((SEEN,)) + seen)


def _written(address: Address) -> bytes:
    """An address as its node is told it; empty if it would mean nothing to that node."""
    if relayed_node(address) is not None:
        return b""
    text = format_address(visible_address((address[0], address[1]))).encode()
    return text if len(text) <= LONGEST_ADDRESS else b""
