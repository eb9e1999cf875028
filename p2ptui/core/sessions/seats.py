"""Room for newcomers in a full peer table: which peers make it, and which are pinged first.

An attacker that forges addresses fills the table with sessions that nobody answers for. They are
told apart from those of deployed programs, which prove their address late or never, by a Ping at a
moment that the attacker cannot know. A peer that this node asked itself never makes room, and one
that proved its address only if it is one of the `ghosts`.
"""

from typing import Final

from p2ptui.bounded import Crowd
from p2ptui.core.accounts import PING_BYTES, Purse
from p2ptui.core.delivery import Delivery
from p2ptui.core.peers import Peer
from p2ptui.core.peers.liveness import Shown
from p2ptui.core.sessions.ghosts import Ghosts
from p2ptui.core.state import NodeState
from p2ptui.text import counted
from p2ptui.wire.address import Address
from p2ptui.wire.message import NULL, MessageType

ANSWER_S: Final = 0.4
"""How long a Ping may be unanswered before its peer makes room: round trips are shorter."""

ASKED_AT_ONCE: Final = 8
"""Peers that are pinged for one newcomer: in a flood, at least one of these is forged."""

LEFT_FOR_ANSWER: Final = 600
"""Bytes of credit that the Ping to a newcomer leaves for the answer to its request."""

KNOWN_S: Final = 10.0
"""How long a peer that answered for its place need not be pinged again: a short request pays for
one Ping and its answer, and no more."""

ASKED_TWICE: Final = 2
"""A Ping, or its answer, may be lost."""


class Seats:
    """Finds peers that make room in the peer table.

    The shares of an address and of a prefix are like full tables of their own: a newcomer from
    there takes the place of a peer from there.

    Args:
        state: The shared state.
        delivery: Sends the Pings.
    """

    def __init__(self, state: NodeState, delivery: Delivery) -> None:
        self._state = state
        self._delivery = delivery
        self.ghosts = Ghosts(state, delivery)
        """Finds dead sessions at a newcomer's address."""

    @property
    def _all(self) -> int:
        return self._state.config.server.max_connections

    @property
    def limit(self) -> str:
        """How many there may be, in words."""
        return f"{counted(self._all, 'peer is', 'peers are')} the limit"

    @property
    def _is_full(self) -> bool:
        return len(self._state.peers) >= self._all

    def is_free(self, address: Address | None) -> bool:
        """Whether there is room for one more peer at an address, or by this node's own choice
        (None)."""
        most = self._all
        if len(self._state.peers) >= most:
            return False
        return address is None or self._state.peers.crowd_at(address, most) is None

    def is_share_free(self, address: Address) -> bool:
        """Whether there is room in the shares of an address, regardless of the rest."""
        return self._crowd(address) is None

    def _crowd(self, address: Address | None) -> Crowd[Address] | None:
        return None if address is None else self._state.peers.crowd_at(address, self._all)

    def who_goes(
        self,
        address: Address | None,
        now: float,
        *,
        in_haste: bool = False,
        has_shown: bool = False,
        shown: Shown | None = None,
    ) -> Peer | None:
        """The peer that makes room for one more if there is none; None if no peer does.

        Args:
            address: The newcomer's address; None: this node wants it, and its share does not
                matter.
            now: The time, seconds.
            in_haste: Whether the newcomer has proved its address, and there is no time to ask: then
                the latest of the peers that have never answered may go too; or, if there is none,
                of those that have not answered since they got their place.
            has_shown: Whether the newcomer has answered something, or this node itself wants it:
                then a peer that speaks but answers nothing may go too.
            shown: When it proved that it is there, by something that nobody else can know: then a
                ghost that proved its address may go too.
        """
        mute: Peer | None = None
        for peer in self._state.peers.doubtful(self._crowd(address)):
            if not has_shown and _speaks(peer):
                continue
            if _is_overdue(peer, now):
                return peer
            if not in_haste or peer.answered_at > peer.session.joined_at:
                continue
            if mute is None or _is_more_doubtful(peer, mute):
                mute = peer
        gone = None if address is None else self.ghosts.find(address, now, shown)
        return mute if gone is None else gone

    def ask(self, address: Address | None, now: float, waiting: int = 0) -> bool:
        """Ping peers that might make room; returns whether any may be found silent.

        Args:
            address: The newcomer's address; None: this node wants it.
            now: The time, seconds.
            waiting: How many other newcomers wait.
        """
        asked = 0
        for peer in self._state.peers.doubtful(self._crowd(address)):
            if peer.liveness.unanswered < ASKED_TWICE:
                self._delivery.ping(peer, now)
            asked += 1
            if asked >= ASKED_AT_ONCE + waiting:
                break
        may_have_gone = address is not None and self.ghosts.ask(address, now)
        return may_have_gone or asked > 0

    def ask_newcomer(self, address: Address, earned: Purse, now: float) -> bool:
        """Let a newcomer without a place prove that it is there; returns whether it can.

        Args:
            address: Its address.
            earned: What its request pays for.
            now: The time, seconds.
        """
        _, ping = self._delivery.build(MessageType.PING, NULL, now)
        leaves_enough = earned.allowance >= len(ping) + LEFT_FOR_ANSWER
        return leaves_enough and self._state.gate.send(ping, address, earned)

    def may_gain(self, address: Address, now: float) -> bool:
        """Whether a newcomer that proves that it is there replaces a peer that speaks but answers
        nothing, as far as known by now: otherwise it is not asked.

        Args:
            address: Its address.
            now: The time, seconds.
        """
        # In half the time, so that the newcomer has the other half.
        return any(
            _speaks(peer) and _is_overdue(peer, now, part=0.5)
            for peer in self._state.peers.doubtful(self._crowd(address))
        )

    def is_crowded(self, address: Address) -> bool:
        """Whether there is a peer that has said nothing yet: then others were quicker."""
        doubtful = self._state.peers.doubtful(self._crowd(address))
        return any(
            peer.answered_at <= peer.session.joined_at
            or not (peer.liveness.unanswered or peer.purse.may_receive(PING_BYTES))
            for peer in doubtful
            if not _speaks(peer)
        )

    def greet(self, peer: Peer, now: float) -> None:
        """A newcomer has its place: if the table is full it is pinged at once, so that it can soon
        show that it is live."""
        if not (peer.purse.proved or peer.initiated) and self._is_full:
            self._delivery.ping(peer, now)

    def words(self, address: Address | None) -> str:
        """Which limit leaves no room, for the node that is turned away."""
        crowd = self._crowd(address)
        if crowd is None:
            return f"the server is full: {counted(self._all, 'peer')} (max_connections)"
        held = counted(crowd.holdings.held_by(crowd.owner), "peer")
        if crowd.is_prefix:
            return f"this server takes at most {held} from your network (max_share_per_prefix)"
        return f"this server takes at most {held} from your address (max_share_per_address)"


def _is_overdue(peer: Peer, now: float, part: float = 1.0) -> bool:
    """Whether a peer has left a Ping unanswered for its full time, or a part of it, or has earned
    too little to be pinged."""
    if peer.liveness.unanswered:
        return now - peer.pings.unanswered_since >= part * peer.liveness.patience_s(ANSWER_S, now)
    is_known = peer.liveness.answered_for_seat and now < peer.session.joined_at + KNOWN_S
    return not (is_known or peer.purse.may_receive(PING_BYTES))


def _is_more_doubtful(peer: Peer, other: Peer) -> bool:
    """Of two peers that have answered nothing since they got their places, whether the first should
    go."""
    has, other_has = (each.liveness.answered_for_seat for each in (peer, other))
    return other_has if has is not other_has else peer.session.joined_at > other.session.joined_at


def _speaks(peer: Peer) -> bool:
    """Whether a peer has said something since it came. It may be a program that answers no Ping,
    and makes room only for newcomers that have proved more."""
    return peer.liveness.last_received > peer.session.joined_at
