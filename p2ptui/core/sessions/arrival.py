"""Handshake requests, decoded: who asks, from where, and whether it can become a peer."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import islice
from typing import Final, TypeAlias

from msgspec import UNSET, UnsetType

from p2ptui.bounded import BoundedTable
from p2ptui.core.accounts import Purse
from p2ptui.core.addresses import relayed_node
from p2ptui.core.identity import (
    RefusedError,
    accept_node_info,
    dialect_of,
    packed_node_info,
    read_account,
    shortened,
    unpacked_node_info,
)
from p2ptui.core.peers.seal import Proof
from p2ptui.core.reliability.channel import Channel
from p2ptui.core.sessions.ghosts import FOUND_S
from p2ptui.core.sessions.greetings import acknowledges
from p2ptui.core.sessions.lifecycle import Lifecycle
from p2ptui.core.sessions.seats import ANSWER_S
from p2ptui.core.state import NodeState
from p2ptui.wire.address import Address
from p2ptui.wire.codec import MalformedError, encode_payload
from p2ptui.wire.message import NULL, Envelope, NodeInfo, ReceivedNodeInfo


@dataclass(frozen=True, slots=True)
class Legacy:
    """What a newcomer had at its last address, which was found silent."""

    channel: Channel | None = None
    former_ids: tuple[str, ...] = ()
    """Ids of the requests that it made from there: copies may arrive late."""


NOTHING: Final = Legacy()


@dataclass(slots=True, eq=False, init=False)
class Arrival:
    """A HandshakeRequest that passed all checks except for that of its id's owner."""

    address: Address
    message: Envelope
    node: NodeInfo | bytes
    """The asking node; for a request that is kept, as text, which takes a third of the memory."""
    earned: Purse
    """What the request pays for."""
    legacy: Legacy
    continues: str | UnsetType
    """What names the session that continues, if any."""
    came_by: Address | None
    """Where its answer is sent, if not to its address: a relayed node may come through another
    server."""
    has_seat: bool
    """Whether there is room; if not, and there is a flood, it is answered all the same."""
    has_answered: bool
    """Whether it answered a Ping while it waited for a place."""
    asked_at: float | None
    """When it first asked, if it has waited."""
    proof: Proof | None
    """The keys that it has proved, and those of the session; None: it speaks in the open."""

    def __init__(
        self,
        address: Address,
        message: Envelope,
        node: NodeInfo | bytes,
        earned: Purse,
        legacy: Legacy = NOTHING,
        continues: str | UnsetType = UNSET,
        came_by: Address | None = None,
        has_seat: bool = True,
        has_answered: bool = False,
        asked_at: float | None = None,
        proof: Proof | None = None,
    ) -> None:
        self.address = address
        self.message = message
        self.node = node
        self.earned = earned
        self.legacy = legacy
        self.continues = continues
        self.came_by = came_by
        self.has_seat = has_seat
        self.has_answered = has_answered
        self.asked_at = asked_at
        self.proof = proof

    @property
    def info(self) -> NodeInfo:
        """The asking node."""
        node = self.node
        return unpacked_node_info(node) if isinstance(node, bytes) else node

    @property
    def acknowledges(self) -> bool:
        """Whether it is of the kind that acknowledges its answer."""
        return acknowledges(self.info, dialect_of(self.message))

    def kept(self) -> "Arrival":
        """The same, as small as possible: for a waiting request, of which there may be many."""
        node = self.node if isinstance(self.node, bytes) else packed_node_info(self.node)
        return replace(self, message=shortened(self.message, NULL), node=node)

    def read_again(self) -> "Arrival":
        """The same, as it was before it was `kept`, except for the message."""
        return replace(self, node=self.info) if isinstance(self.node, bytes) else self

    def bringing(self, channel: Channel | None) -> "Arrival":
        """The same, with what it had elsewhere."""
        return replace(self, legacy=replace(self.legacy, channel=channel))


MAX_REQUEST_BYTES: Final = 4096
"""Most bytes of a request's payload: many are kept for a while, and the relevant content is
short."""

MAX_WAITING: Final = 64
"""Requests that wait until it is known which peer makes room; with more it is a flood, and there is
no time to ask."""


LOOKS: Final = 4
"""How often they are checked meanwhile."""


@dataclass(slots=True)
class _Waiting:
    """A request that waits while a peer is asked whether it is there."""

    message: Envelope
    earned: Purse
    legacy: Legacy
    until: float
    asked_at: float
    """When it came."""
    kept_at: float = 0.0
    """When it last had its turn and continued to wait."""
    ghosts_until: float = 0.0
    """How long it waits if a peer of its address may be gone, while that is not known."""
    acknowledges: bool = True
    """Whether it proves by an Ack that it is there; others are sent a Ping."""
    is_asked: bool = False
    """Whether it has been asked to prove that it is there."""
    has_guessed: bool = False
    """Whether it answered too early: then it sends answers blindly, and none of them counts."""
    has_answered: bool = False


Refuse: TypeAlias = Callable[[Address, Envelope, Purse, str, float], None]
"""Called with the address of a request, the request, what it pays for, why it is refused, and the
time."""


class Requests:
    """Reads requests, and turns away those whose sender cannot become a peer.

    Args:
        state: The shared state.
        lifecycle: Knows whether there is room.
        refuse: Tells a node that it is turned away.
    """

    def __init__(self, state: NodeState, lifecycle: Lifecycle, refuse: Refuse) -> None:
        self._state = state
        self._lifecycle = lifecycle
        self._refuse = refuse
        self._waiting: BoundedTable[Address, _Waiting] = state.tables.add(
            "requests_waiting", BoundedTable(MAX_WAITING, refuses=True, shares=state.tables.shares)
        )
        self._looking = False
        self.on_look: Callable[[float], bool] = lambda _: False
        """Called at each check of waiting requests; returns whether to check again for its sake
        too."""
        self.others_come_first: Callable[[float], bool] = lambda _: False
        """Whether places are reserved for others that have done more than ask, and still wait."""
        self.on_turn: Callable[[Address, Envelope, Purse, float, Legacy], None] = lambda *_: None
        """Called with a request that has waited long enough: it is read anew."""

    def read(
        self, address: Address, message: Envelope, earned: Purse, legacy: Legacy, now: float
    ) -> Arrival | None:
        """Check the asking node; None if it is refused.

        Args:
            address: Where the request came from.
            message: The request.
            earned: What it pays for.
            legacy: What it had at its last address.
            now: The time, seconds.
        """
        try:
            received = _decode(message)
            size, node_id = len(message.payload), relayed_node(address)
            info = accept_node_info(received, self._state.identity, node_id, size)
            if self._is_seated_at_once(address, info):
                return Arrival(address, message, info, earned, legacy, received.continues)
            message = shortened(message, encode_payload(received))
            request = _Waiting(message, earned, legacy, now + ANSWER_S, now)
            before = self._waiting.get(address)
            has_seat = self._finds_room(address, info, request, now)
            if not has_seat and address in self._waiting:
                return None
        except MalformedError as error:
            self._refuse(address, message, earned, f"malformed handshake: {error}", now)
        except RefusedError as refusal:
            self._refuse(address, message, earned, str(refusal), now)
        else:
            return Arrival(
                address,
                message,
                info,
                earned,
                legacy,
                received.continues,
                has_seat=has_seat,
                has_answered=before is not None and before.has_answered,
                asked_at=None if before is None else before.asked_at,
            )
        return None

    def _is_seated_at_once(self, address: Address, info: NodeInfo) -> bool:
        """Whether a request is from a new node, and there is room: then nothing of it is kept."""
        peers = self._state.peers
        is_new = peers.at(address) is None and peers.with_id(info.id) is None
        return (
            is_new and self._waiting.get(address) is None and self._lifecycle.seats.is_free(address)
        )

    def _finds_room(self, address: Address, info: NodeInfo, request: _Waiting, now: float) -> bool:
        """Whether there is room; False while that is being checked, or cannot be because too many
        wait."""
        peers, seats = self._state.peers, self._lifecycle.seats
        if peers.at(address) is not None or peers.with_id(info.id) is not None:
            return True
        waiting = self._waiting.get(address)
        if waiting is not None and waiting.message.id != request.message.id:
            waiting.asked_at = now  # somebody else may have asked before
        if waiting is not None and self._must_wait(address, waiting, now):
            # It repeats itself, or says something else by now.
            waiting.message, waiting.earned, waiting.legacy = (
                request.message,
                request.earned,
                request.legacy,
            )
            return False
        self._waiting.pop(address)
        has_shown = waiting is not None and waiting.has_answered
        if seats.is_free(address) or (
            not self.others_come_first(now)
            and self._lifecycle.make_room(address, now, has_shown=has_shown)
        ):
            return True
        if not seats.ask(address, now, len(self._waiting)):
            raise RefusedError(seats.words(address))
        is_ours = acknowledges(info, dialect_of(request.message))
        if (
            waiting is not None
            and is_ours
            and seats.ghosts.may_gain(address, waiting.asked_at, now)
        ):
            return False  # it is answered, and proves by its Ack that it is there
        if waiting is not None and now < waiting.ghosts_until:
            waiting.kept_at = now  # another one was quicker to take the free place
            self._waiting.put(address, waiting, address=address)
            return False
        if waiting is None and self._waiting.put(address, request, address=address):
            request.acknowledges = is_ours
            request.ghosts_until = now + FOUND_S if seats.ghosts.may_find(address, now) else now
            if not self._looking:
                self._look_after(now)
        elif waiting is not None and not seats.is_crowded(address):
            # A node that can prove more than the peers that would make room is answered for that.
            may_show = is_ours and seats.who_goes(address, now, has_shown=True) is not None
            if not may_show:
                raise RefusedError(seats.words(address))
        return False

    def _must_wait(self, address: Address, waiting: _Waiting, now: float) -> bool:
        if now < waiting.until:
            return True
        asked_at = waiting.asked_at if waiting.acknowledges else None
        return now < waiting.ghosts_until and not self._lifecycle.seats.ghosts.is_settled(
            address, now, asked_at
        )

    def is_waiting(self, address: Address) -> bool:
        """Whether a request from an address waits: its answer is the next datagram sent there."""
        return address in self._waiting

    def take_pong(self, address: Address) -> bool:
        """A Pong came from an address without a session; returns whether a request from there
        waits."""
        waiting = self._waiting.get(address)
        if waiting is None:
            return False
        waiting.has_guessed |= not waiting.is_asked
        waiting.has_answered = not waiting.has_guessed
        return True

    def _look_after(self, now: float) -> None:
        # One timer for all waiting requests, so that a flood costs no more; nobody else knows when
        # it is due.
        self._looking = True
        pause = ANSWER_S / LOOKS * self._state.rng.uniform(0.5, 1.0)
        self._state.timers.schedule(now + pause, self._look)

    def _look(self, now: float) -> None:
        self._looking = False
        is_needed = self.on_look(now)
        for address, waiting in list(self._waiting.items()):
            if not self._must_wait(address, waiting, now):
                self.on_turn(address, waiting.message, waiting.earned, now, waiting.legacy)
                is_needed = True  # it may have been answered without a place
                if waiting.kept_at != now:
                    self._waiting.pop(address)
            elif not (waiting.acknowledges or waiting.is_asked):
                # Deployed clients believe only the first datagram, and this is not their answer.
                seats = self._lifecycle.seats
                waiting.is_asked = seats.may_gain(address, now) and seats.ask_newcomer(
                    address, waiting.earned, now
                )
        for address in islice(self._waiting, 1):
            self._lifecycle.seats.ask(address, now, len(self._waiting))  # a Ping may be lost
        if (is_needed or self._waiting) and not self._looking:
            self._look_after(now)


def _decode(request: Envelope) -> ReceivedNodeInfo:
    size = len(request.payload)
    if size > MAX_REQUEST_BYTES:
        raise RefusedError(f"the handshake is {size} bytes, at most {MAX_REQUEST_BYTES} fit")
    return read_account(request.payload)
