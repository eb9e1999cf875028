"""One session with a peer: both halves of reliability, and the round trip that they share."""

import math
from random import Random
from typing import Final

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
from p2ptui.core.reliability.reassembly import Reassembly, ReassemblyBudget
from p2ptui.core.reliability.rtt import RttEstimator
from p2ptui.core.reliability.sender import ReliableSender
from p2ptui.wire.frames import FragmentAck
from p2ptui.wire.message import Envelope

# A member of an enum is looked up in Python.
_NEW: Final = Verdict.NEW
_DUPLICATE: Final = Verdict.DUPLICATE
_UNKNOWN: Final = Verdict.UNKNOWN

WINDOWS: Final = 4
"""Windows of numbers kept: a peer may come and go quickly, and a handshake that somebody forged
must not make its owner's numbers unknown. One in which nothing ever came makes room first."""


class Channel:
    """What is under way to a peer, and what has come from it.

    When a peer begins a new session, its channel goes on: what waits for it is sent in the new
    session, and what it sent in the one before is still known.

    Args:
        config: The node's configuration.
        first_sequence: Random start of this side's numbering.
        reassembly_budget: Shared by all peers.
    """

    __slots__ = (
        "_config",
        "_gap_options",
        "_numbers",
        "_reassembly",
        "_reassembly_budget",
        "_reliable_ids",
        "_unreliable_ids",
        "busy_told_at",
        "lost_track_at",
        "rtt",
        "sender",
        "skips_heard",
        "windows_told",
    )

    def __init__(
        self, config: Config, first_sequence: int, reassembly_budget: ReassemblyBudget
    ) -> None:
        options = config.reliability
        self.rtt = RttEstimator(
            options.initial_rto_ms / 1000, options.min_rto_ms / 1000, options.max_rto_ms / 1000
        )
        self.sender = ReliableSender(
            options,
            self.rtt,
            first_sequence,
            config.server.datagram_budget,
            config.server.datagram_ceiling,
        )
        # Made for the first fragment: most peers never send one.
        self._reassembly: Reassembly | None = None
        self._reassembly_budget = reassembly_budget
        self._config = config
        self.windows_told = 0
        """How often the peer was told what the readers here have room for."""
        self.busy_told_at = -math.inf
        """When it was last told that there is none."""
        self.skips_heard = 0
        """How often the peer has said that it skips numbers, in this session."""
        self.lost_track_at = -math.inf
        """When the peer was last told that its numbers are unknown here."""
        self._gap_options = options.reorder_wait_ms / 1000, options.retransmit_requests
        # Newest first; empty for a peer that does not number without holes.
        self._numbers: list[ReceivedNumbers] = []
        self._reliable_ids = RecentIds(RELIABLE_IDS)
        self._unreliable_ids = RecentIds(UNRELIABLE_IDS)

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
        """A new session with the same node begins: what waits for it is sent in that one."""
        self.busy_told_at = -math.inf
        self.sender.renew(now)

    def follow(self, earlier: "Channel") -> None:
        """Know how long the way is that an earlier session took, and what came in it.

        The ids only of a node of our kind, which never uses one twice: windows start afresh for
        programs that do.
        """
        self.rtt.learn(earlier.rtt)
        if earlier._numbers:
            self._reliable_ids = earlier._reliable_ids
            self._unreliable_ids = earlier._unreliable_ids

    def recall(self, earlier: "Channel") -> None:
        """Know what came in an earlier session of the same node as well, wherever that was; of whom
        it is known is said in `follow`."""
        if earlier is not self and earlier._numbers:
            self._reliable_ids.recall(earlier._reliable_ids)
            self._unreliable_ids.recall(earlier._unreliable_ids)

    @property
    def numbers(self) -> ReceivedNumbers | None:
        """The window of the session, once the peer has told its first number."""
        return self._numbers[0] if self._numbers else None

    @property
    def has_heard(self) -> bool:
        """Whether anything came but the message with which a session began."""
        return len(self._reliable_ids) > 1 or bool(self._unreliable_ids)

    @property
    def has_gaps(self) -> bool:
        """Whether a number of this session is missing."""
        numbers = self._numbers
        return len(numbers) > 0 and numbers[0].gaps.are_there

    def begin(self, sequence: int) -> None:
        """The peer begins a session, with a message of this number."""
        if self._numbers and self._numbers[0].highest == sequence:
            return
        self.skips_heard = 0
        self._numbers.insert(0, ReceivedNumbers(sequence, *self._gap_options))
        if len(self._numbers) > WINDOWS:
            unused = [each for each in self._numbers[1:] if not each.is_used]
            self._numbers.remove(unused[-1] if unused else self._numbers[-1])

    def covers(self, number: int) -> bool:
        """Whether a number lies in a window, or the peer keeps to none."""
        for window in self._numbers:
            if window.covers(number):
                return True
        return not (self._numbers and self.sender.numbering.bounded)

    def judge(self, message: Envelope, *, numbered: bool) -> Verdict:
        """What is known of a message that asks for an Ack.

        Args:
            message: What was received.
            numbered: Whether the peer numbers without holes what needs an Ack.
        """
        # Whoever alters what passes may have taken the wish for an Ack from a copy.
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
        """A message that asks for an Ack, and is new, was taken.

        Args:
            message: What was received.
            numbered: As for `judge`.
            now: The time, seconds.
            is_odd: Whether it has no number though its peer numbers all such messages. Anybody can
                write as many of these as he likes, and they make nothing of the peer's forgotten.
        """
        if is_odd:
            self._unreliable_ids.add(message.id)
            return
        mark = hash(message.id)
        if mark not in self._reliable_ids.marks:
            self._reliable_ids.add_mark(mark)
        number = message.sequence_number
        if numbered and number is not None:
            for window in self._numbers:
                if window.take(number, now):
                    if window is not self._numbers[0]:
                        # The one in use comes first.
                        self._numbers.remove(window)
                        self._numbers.insert(0, window)
                    return
            if self._numbers:  # it went further than we would, and does not tell of skips
                self._numbers[0].add(number, now)

    def is_repeated(self, message: Envelope) -> bool:
        """Remember a message that asks for no Ack; whether it has come before."""
        mark = hash(message.id)
        if mark in self._reliable_ids.marks or mark in self._unreliable_ids.marks:
            return True
        number = message.sequence_number
        if number is not None and any(window.covers(number) for window in self._numbers):
            # Whoever numbers asks for an Ack: it was altered, and comes again as it was. The many
            # messages without a number must not make it forgotten meanwhile.
            self._reliable_ids.add_mark(mark)
        else:
            self._unreliable_ids.add_mark(mark)
        return False

    def next_timeout(self, now: float) -> float | None:
        """When something of this session is due next, or None."""
        return earliest(self.sender.next_timeout(now), self.next_receive_timeout())

    def next_receive_timeout(self) -> float | None:
        """When something of the receiving half is due next, or None."""
        numbers = self.numbers
        asking = None if numbers is None else numbers.next_timeout()
        if self._reassembly is None:
            return asking
        return earliest(asking, self._reassembly.next_timeout())

    def forget_partial(self) -> None:
        """Give back what partial messages hold: the session is over."""
        if self._reassembly is not None:
            self._reassembly.clear()

    def handle_reassembly_timeout(self, now: float) -> tuple[list[FragmentAck], int]:
        """As `Reassembly.handle_timeout`, if anything ever came in fragments."""
        return ([], 0) if self._reassembly is None else self._reassembly.handle_timeout(now)


class Channels:
    """Makes channels, which share the memory for partial messages.

    Args:
        config: The node's configuration.
        rng: Where their numbering starts.
        shares: Of the memory, for each address and prefix.
    """

    def __init__(self, config: Config, rng: Random, shares: Shares) -> None:
        self._config = config
        self._rng = rng
        self._reassembly = ReassemblyBudget(config.reliability.reassembly_bytes_total, shares)

    def new(self) -> Channel:
        """A channel with a random start of its numbering."""
        return Channel(self._config, self._rng.getrandbits(32), self._reassembly)

    def sizes(self) -> dict[str, int]:
        """What partial messages of all peers hold."""
        return {"reassembly_bytes": self._reassembly.used_bytes}
