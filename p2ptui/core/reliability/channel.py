"""One session with a peer: both halves of reliability, and the round trip that they share."""

from functools import lru_cache
from random import Random
from typing import Final, NamedTuple, TypeAlias

from p2ptui.bounded import Shares
from p2ptui.config import Config
from p2ptui.core.reliability.deadlines import earliest
from p2ptui.core.reliability.duplicates import (
    RELIABLE_IDS,
    UNRELIABLE_IDS,
    ReceivedNumbers,
    RecentIds,
    Verdict,
)
from p2ptui.core.reliability.numbering import Numbering
from p2ptui.core.reliability.path_mtu import PathMtu
from p2ptui.core.reliability.reassembly import Reassembly, ReassemblyBudget
from p2ptui.core.reliability.resting import NEW, Resting
from p2ptui.core.reliability.rtt import RttEstimator
from p2ptui.core.reliability.sender import ReliableSender
from p2ptui.core.timers import NEVER
from p2ptui.wire.frames import FragmentAck
from p2ptui.wire.message import Envelope

# A member of an enum is looked up in Python.
_NEW: Final = Verdict.NEW
_DUPLICATE: Final = Verdict.DUPLICATE
_UNKNOWN: Final = Verdict.UNKNOWN

Came: TypeAlias = tuple[RecentIds, RecentIds]
"""The ids of received messages: of those that asked for an Ack, and of others."""

WINDOWS: Final = 4
"""Windows of numbers kept: a peer may come and go quickly, and a forged handshake must not make its
owner's numbers unknown. A window in which nothing was ever received is evicted first."""


_NOTHING_CAME: Final = RecentIds(0)
"""Shared by all peers that have sent nothing to remember, and never changed."""


class _Terms(NamedTuple):
    """What all channels of a node have in common, stored once."""

    rto_s: tuple[float, float, float]
    gaps: tuple[float, int]


def _terms(config: Config) -> _Terms:
    options = config.reliability
    rto_ms = options.initial_rto_ms, options.min_rto_ms, options.max_rto_ms
    return _terms_of(*rto_ms, options.reorder_wait_ms, options.retransmit_requests)


@lru_cache(1)
def _terms_of(
    initial_rto_ms: float, min_rto_ms: float, max_rto_ms: float, wait_ms: float, requests: int
) -> _Terms:
    rto_s = initial_rto_ms / 1000, min_rto_ms / 1000, max_rto_ms / 1000
    return _Terms(rto_s, (wait_ms / 1000, requests))


class Channel:
    """What is in flight to a peer, and what was received from it.

    When a peer begins a new session, its channel goes on: queued messages are sent in the new
    session, and messages received in the previous one are still recognised.

    Args:
        config: The node's configuration.
        first_sequence: Random start of this side's numbering.
        reassembly_budget: Shared by all peers.
    """

    __slots__ = (
        "_config",
        "_numbering",
        "_numbers",
        "_reassembly",
        "_reassembly_budget",
        "_reliable_ids",
        "_resting",
        "_rtt",
        "_sender",
        "_unreliable_ids",
        "busy_told_at",
        "lost_track_at",
        "skips_heard",
        "windows_told",
    )

    def __init__(
        self, config: Config, first_sequence: int, reassembly_budget: ReassemblyBudget
    ) -> None:
        # Made for the first sample, or for a sender.
        self._rtt: RttEstimator | None = None
        # One of the two is set. Most of the time a peer is sent nothing that needs an Ack.
        self._sender: ReliableSender | None = None
        self._resting: Resting | None = NEW
        # The number before the first one, until there is more to know about them.
        self._numbering: Numbering | int = first_sequence
        # Made for the first fragment: most peers never send one.
        self._reassembly: Reassembly | None = None
        self._reassembly_budget = reassembly_budget
        self._config = config
        self.windows_told = 0
        """How often the peer was told how much room the readers here have."""
        self.busy_told_at = NEVER
        """When it was last told that there is no room."""
        self.skips_heard = 0
        """How often the peer has said that it skips numbers, in this session."""
        self.lost_track_at = NEVER
        """When the peer was last told that its numbers are unknown here."""
        # Newest first; for a peer that does not number without gaps, the shared empty tuple.
        self._numbers: tuple[ReceivedNumbers, ...] = ()
        # Made for the first of them: of most peers at rest there are none.
        self._reliable_ids = _NOTHING_CAME
        self._unreliable_ids = _NOTHING_CAME

    @property
    def rtt(self) -> RttEstimator:
        """The round-trip estimator; to query it only, use `srtt`."""
        if self._rtt is None:
            self._rtt = RttEstimator(*_terms(self._config).rto_s)
        return self._rtt

    @property
    def srtt(self) -> float | None:
        """The smoothed round trip, seconds; None before the first sample."""
        return None if self._rtt is None else self._rtt.srtt

    @property
    def sender(self) -> ReliableSender:
        """The sending half, active; to query an idle one, use the properties below."""
        sender = self._sender
        return self._wake() if sender is None else sender

    def _wake(self) -> ReliableSender:
        resting, config = self._resting, self._config
        assert resting is not None
        self._resting = None
        self._sender = ReliableSender(
            config.reliability,
            self.rtt,
            0,
            config.server.datagram_budget,
            config.server.datagram_ceiling,
            resting,
            self.numbering,
        )
        return self._sender

    def rest(self, now: float) -> None:
        """Free the memory of the sending half if it has nothing to do.

        Args:
            now: The time, seconds.
        """
        sender = self._sender
        resting = None if sender is None else sender.rest(now)
        if resting is not None:
            self._sender, self._resting = None, resting

    @property
    def rests(self) -> bool:
        """Whether nothing waits to be sent or acknowledged."""
        return self._sender is None

    @property
    def waiting(self) -> int:
        """How many messages are not acknowledged."""
        return 0 if self._sender is None else len(self._sender)

    @property
    def queued_bytes(self) -> int:
        """Their bytes."""
        return 0 if self._sender is None else self._sender.queued_bytes

    @property
    def retransmissions(self) -> int:
        """Retransmitted datagrams."""
        if self._resting is not None:
            return self._resting.retransmissions
        return self.sender.retransmissions

    @property
    def size_on_wire(self) -> tuple[int, int | None]:
        """As `PathMtu.on_wire`."""
        path = self._path
        return (self._config.server.datagram_budget, None) if path is None else path.on_wire

    def within(self, budget_bytes: int) -> int:
        """As `PathMtu.within`."""
        path = self._path
        if path is not None:
            return path.within(budget_bytes)
        assert self._resting is not None
        return min(budget_bytes, self._config.server.datagram_budget) - self._resting.sealed_bytes

    @property
    def _path(self) -> PathMtu | None:
        """None if nothing is known about it."""
        resting = self._resting
        return self.sender.path if resting is None else resting.learnt.path

    @property
    def numbering(self) -> Numbering:
        """The numbers of what is sent, whether or not anything is."""
        numbering = self._numbering
        if isinstance(numbering, int):
            numbering = self._numbering = Numbering(numbering)
        return numbering

    def begin_at(self, sequence: int) -> None:
        """As `ReliableSender.begin_at`: while nothing waits there is nothing to number anew."""
        if self._resting is None:
            self.sender.begin_at(sequence)
        else:
            self.numbering.begin_at(sequence)

    def agree(self, *, bounded: bool, grows: bool) -> None:
        """The peer has said what it supports.

        Args:
            bounded: See `Numbering`.
            grows: See `PathMtu`.
        """
        if bounded or isinstance(self._numbering, Numbering):
            self.numbering.bounded = bounded
        if self._resting is None:
            self.sender.path.grows = grows
        else:
            self._resting = self._resting.agree(grows=grows)

    def seal(self, overhead_bytes: int) -> None:
        """As `PathMtu.seal`."""
        if self._resting is None:
            self.sender.path.seal(overhead_bytes)
        else:
            self._resting = self._resting.seal(overhead_bytes)

    def take_retransmissions(self) -> int:
        """As `ReliableSender.take_retransmissions`."""
        resting = self._resting
        if resting is None:
            return self.sender.take_retransmissions()
        if resting.retransmissions:
            self._resting = resting.without_retransmissions()
        return resting.retransmissions

    @property
    def reassembly(self) -> Reassembly:
        """The messages that come in fragments."""
        if self._reassembly is None:
            options = self._config.reliability
            self._reassembly = Reassembly(
                self._config.server.max_message_size,
                options.reassembly_bytes_per_peer,
                options.reassembly_timeout,
                self._reassembly_budget,
            )
        return self._reassembly

    def renew(self, now: float) -> None:
        """A new session with the same node begins: queued messages are sent in it."""
        self.busy_told_at = NEVER
        self.sender.renew(now)

    def follow(self, earlier: "Channel") -> None:
        """Take over the round trip of an earlier session, and what was received in it. Ids are
        taken over only from a node of our kind, which never reuses one; for other programs,
        windows start afresh."""
        if earlier._rtt is not None:
            self.rtt.learn(earlier._rtt)
        if earlier._numbers:
            self._reliable_ids, self._unreliable_ids = earlier.came

    @property
    def came(self) -> Came:
        """What is remembered of received messages."""
        return self._own_reliable_ids(), self._own_unreliable_ids()

    def _own_reliable_ids(self) -> RecentIds:
        if self._reliable_ids is _NOTHING_CAME:
            self._reliable_ids = RecentIds(RELIABLE_IDS)
        return self._reliable_ids

    def _own_unreliable_ids(self) -> RecentIds:
        if self._unreliable_ids is _NOTHING_CAME:
            self._unreliable_ids = RecentIds(UNRELIABLE_IDS)
        return self._unreliable_ids

    def recall(self, earlier: Came) -> None:
        """Also recognise what was received in an earlier session of the same node, wherever that
        was: both share their memory from now on."""
        reliable, unreliable = earlier
        self._reliable_ids = self._reliable_ids.merged_into(reliable)
        self._unreliable_ids = self._unreliable_ids.merged_into(unreliable)

    def part(self) -> None:
        """Stop sharing that memory: there may be another node now."""
        self._reliable_ids = self._own_reliable_ids().copy()
        self._unreliable_ids = self._own_unreliable_ids().copy()

    @property
    def numbers(self) -> ReceivedNumbers | None:
        """The window of the session, once the peer has told its first number."""
        return self._numbers[0] if self._numbers else None

    @property
    def has_heard(self) -> bool:
        """Whether anything was received besides the message with which a session began."""
        return len(self._reliable_ids) > 1 or bool(self._unreliable_ids)

    @property
    def has_gaps(self) -> bool:
        """Whether a number of this session is missing."""
        numbers = self._numbers
        return len(numbers) > 0 and numbers[0].has_gaps

    def begin(self, sequence: int) -> None:
        """The peer begins a session with a message of this number."""
        if self._numbers and self._numbers[0].highest == sequence:
            return
        self.skips_heard = 0
        former = self._numbers
        if len(former) >= WINDOWS:
            unused = [each for each in former if not each.is_used]
            gone = unused[-1] if unused else former[-1]
            former = tuple([each for each in former if each is not gone])
        self._numbers = (ReceivedNumbers(sequence, *_terms(self._config).gaps), *former)

    def covers(self, number: int) -> bool:
        """Whether a number lies in a window, or the peer has none."""
        for window in self._numbers:
            if window.covers(number):
                return True
        return not (self._numbers and self.numbering.bounded)

    def judge(self, message: Envelope, *, numbered: bool) -> Verdict:
        """What is known about a message that asks for an Ack.

        Args:
            message: What was received.
            numbered: Whether the peer numbers messages that need an Ack without gaps.
        """
        # An attacker on the path may have removed the request for an Ack from a copy.
        mark = hash(message.id)
        if mark in self._reliable_ids.marks or mark in self._unreliable_ids.marks:
            return _DUPLICATE
        number = message.sequence_number
        if not numbered or number is None or self.covers(number):
            return _NEW
        return _UNKNOWN

    def remember(
        self, message: Envelope, *, numbered: bool, now: float, is_odd: bool = False
    ) -> None:
        """A new message that asks for an Ack was accepted.

        Args:
            message: What was received.
            numbered: As for `judge`.
            now: The time, seconds.
            is_odd: Whether it has no number although its peer numbers all such messages. Anybody
                can forge any number of these, and they must not make the peer's own messages
                forgotten.
        """
        if is_odd:
            self._own_unreliable_ids().add(message.id)
            return
        mark = hash(message.id)
        if mark not in self._reliable_ids.marks:
            self._own_reliable_ids().add_mark(mark)
        number = message.sequence_number
        if numbered and number is not None:
            for window in self._numbers:
                if window.take(number, now):
                    if window is not self._numbers[0]:
                        # The one in use comes first.
                        others = [each for each in self._numbers if each is not window]
                        self._numbers = (window, *others)
                    return
            if self._numbers:  # it went further than we would, and does not announce skips
                self._numbers[0].add(number, now)

    def is_repeated(self, message: Envelope) -> bool:
        """Remember a message that asks for no Ack; returns whether it has been received before."""
        mark = hash(message.id)
        if mark in self._reliable_ids.marks or mark in self._unreliable_ids.marks:
            return True
        number = message.sequence_number
        if number is not None and any(window.covers(number) for window in self._numbers):
            # Numbered messages ask for an Ack: this one was altered, and its original will be
            # repeated. The many messages without a number must not make it forgotten meanwhile.
            self._own_reliable_ids().add_mark(mark)
        else:
            self._own_unreliable_ids().add_mark(mark)
        return False

    def next_timeout(self, now: float) -> float | None:
        """When something of this session is due next, or None."""
        sending = None if self._sender is None else self._sender.next_timeout(now)
        return earliest(sending, self.next_receive_timeout())

    def next_receive_timeout(self) -> float | None:
        """When something of the receiving half is due next, or None."""
        numbers = self.numbers
        asking = None if numbers is None else numbers.next_timeout()
        if self._reassembly is None:
            return asking
        return earliest(asking, self._reassembly.next_timeout())

    def forget_partial(self) -> None:
        """Free the memory of partial messages: the session is over."""
        if self._reassembly is not None:
            self._reassembly.clear()

    def handle_reassembly_timeout(self, now: float) -> tuple[list[FragmentAck], int]:
        """As `Reassembly.handle_timeout`, if anything ever came in fragments."""
        return ([], 0) if self._reassembly is None else self._reassembly.handle_timeout(now)


class Channels:
    """Makes channels, which share the memory for partial messages.

    Args:
        config: The node's configuration.
        rng: The source of their first sequence numbers.
        shares: The shares of that memory, for each address and prefix.
    """

    def __init__(self, config: Config, rng: Random, shares: Shares) -> None:
        self._config = config
        self._rng = rng
        self._reassembly = ReassemblyBudget(config.reliability.reassembly_bytes_total, shares)

    def new(self) -> Channel:
        """A channel with a random first sequence number."""
        return Channel(self._config, self._rng.getrandbits(32), self._reassembly)

    def sizes(self) -> dict[str, int]:
        """How much memory the partial messages of all peers hold."""
        return {"reassembly_bytes": self._reassembly.used_bytes}
