"""Outstanding Pings: which one a Pong answers, and which call waits for it."""

import math
from collections.abc import Callable, Iterable
from typing import Final

from msgspec import Raw

from p2ptui.core.addresses import path_at, visible_address
from p2ptui.core.events import PingResult
from p2ptui.core.timers import NEVER
from p2ptui.errors import LocalError, P2PError
from p2ptui.wire.address import Address
from p2ptui.wire.codec import MalformedError, decode_payload
from p2ptui.wire.message import NULL, PingPayload

OUTSTANDING_S: Final = 10.0
"""How long a Ping without a waiting call counts as outstanding."""

MAX_OUTSTANDING_PINGS: Final = 32
"""Pings to one address without a waiting call; the Pong of an older one means nothing any more."""

MAX_WAITING_PINGS: Final = 256
"""Pings to one address with waiting calls; further ones are refused."""

SILENT_PINGS: Final = 2
SILENT_S: Final = 0.5
"""A peer that has left several Pings over this time unanswered is silent: others are asked
first."""


class OutstandingPing:
    """A Ping whose Pong has not come.

    Args:
        sent_at: When it left, seconds.
        is_bare: Whether it carries nothing that its Pong could name.
    """

    __slots__ = ("is_bare", "on_end", "sent_at")

    def __init__(self, sent_at: float, is_bare: bool = False) -> None:
        self.sent_at = sent_at
        self.is_bare = is_bare
        self.on_end: Callable[[PingResult | P2PError], None] | None = None
        """Called once with the result, if a call waits for it."""

    def give_up(self, error: P2PError) -> P2PError:
        """The waiting call has timed out, and ends with `error`."""
        self.on_end = None
        return error

    def end(self, outcome: PingResult | P2PError) -> None:
        """Tell the waiting call, if any, the result."""
        on_end, self.on_end = self.on_end, None
        if on_end is not None:
            on_end(outcome)


_NO_PINGS: Final[dict[str, OutstandingPing]] = {}
"""Shared by all that have no Ping outstanding, and never changed."""


class Pings:
    """The Pings sent to one address, bounded: the oldest is forgotten, unless a call waits for it.

    Args:
        limit: Most Pings remembered without a waiting call.
    """

    __slots__ = (
        "_limit",
        "_pings",
        "answer_s",
        "guessed_s",
        "insists_until",
        "unanswered",
        "unanswered_since",
    )

    def __init__(self, limit: int = MAX_OUTSTANDING_PINGS) -> None:
        self._limit = limit
        # Most of the time none is outstanding.
        self._pings: dict[str, OutstandingPing] = _NO_PINGS
        self.unanswered = 0
        """Pings sent since one was answered."""
        self.unanswered_since = 0.0
        """When the first of these was sent."""
        self.insists_until = NEVER
        """Until when it is pinged for a proof, since a message waits for that; seconds."""
        self.answer_s = 0.0
        """How long a recent answer by name took, measured from the first unanswered Ping; zero
        before there was one."""
        self.guessed_s = 0.0
        """The same with answers that name no Ping: a peer that has not proved its address may send
        them blindly, and so set this at will."""

    def __len__(self) -> int:
        return len(self._pings)

    def insist(self, until: float) -> bool:
        """Ping the peer for a proof until a time, seconds; False if that already happens."""
        is_new = self.insists_until != until
        self.insists_until = until
        return is_new

    @property
    def awaited(self) -> int:
        """How many of them have a waiting call."""
        return sum(ping.on_end is not None for ping in self._pings.values())

    def require_room(self) -> None:
        """Check that one more call may wait for a Ping.

        Raises:
            LocalError: Too many wait already.
        """
        if self.awaited >= MAX_WAITING_PINGS:
            raise LocalError(
                f"{MAX_WAITING_PINGS} Pings to this node already wait for their answer; wait for"
                " one of them, or ping less often"
            )

    def since(self, began: float, until: float = math.inf) -> int:
        """How many were sent in that time, seconds, without a Pong that was taken for their
        answer."""
        return sum(began <= ping.sent_at <= until for ping in self._pings.values())

    def excuse(self) -> None:
        """The Pings sent so far say nothing, although they are unanswered."""
        self.unanswered = 0

    def are_ignored(self, last_received: float, now: float) -> bool:
        """Whether several Pings over a while have drawn nothing from a peer.

        Args:
            last_received: When something last came from it, seconds.
            now: The time, seconds.
        """
        is_overdue = self.unanswered >= SILENT_PINGS and now - self.unanswered_since >= SILENT_S
        return is_overdue and last_received < self.unanswered_since

    def add(
        self,
        nonce: str,
        now: float,
        count: Callable[[str], None],
        *,
        last: bool = True,
        is_bare: bool = False,
    ) -> OutstandingPing:
        """Remember a Ping that is sent now.

        Args:
            nonce: What its Pong will name.
            now: The time, seconds.
            count: Called with a cause if another one is forgotten for it.
            last: Whether it is the first one that an answer without a name is taken for; if not, it
                is the last.
            is_bare: Whether it carries nothing that its Pong could name.
        """
        self._expire(now)
        ping = OutstandingPing(now, is_bare)
        if not self._pings:
            self._pings = {}
        self._pings.pop(nonce, None)
        if last:
            self._pings[nonce] = ping
        else:
            self._pings = {nonce: ping, **self._pings}
        if not self.unanswered:
            self.unanswered_since = now
        self.unanswered += 1
        if len(self._pings) == 1:  # as nearly always
            return ping
        for _ in range(len(self._pings) - self.awaited - self._limit):
            del self._pings[next(n for n, old in self._pings.items() if old.on_end is None)]
            count("ping_forgotten")
        return ping

    def forget(self, nonces: Iterable[str]) -> None:
        """Answers to these are no longer awaited, and an answer that names no Ping is not taken for
        one."""
        for nonce in nonces:
            self._pings.pop(nonce, None)

    def receive_pong(
        self, payload: Raw, address: Address, now: float, *, names_all: bool = False
    ) -> tuple[float, bool] | None:
        """Find the Ping that a Pong answers, end it and forget it.

        Deployed programs answer every Ping with `null`: that means the last one, since an earlier
        Pong may be lost.

        Args:
            payload: The payload of the Pong.
            address: Where it came from.
            now: The time, seconds.
            names_all: Whether the peer names each Ping that carries a name: from such a peer `null`
                would be a guess.

        Returns:
            The round trip in seconds, and whether no other Ping can be meant; None if there
            is no such Ping.
        """
        self._expire(now)
        if payload == NULL:
            pings = self._pings
            last = next((n for n in reversed(pings) if not names_all or pings[n].is_bare), None)
            if last is None:
                return None
            ping = self._pings.pop(last)
            is_certain = not self._pings
        else:
            named = self._pings.pop(_nonce_of(payload), None)
            if named is None:
                return None
            ping, is_certain = named, True
        if self.unanswered:
            took_s = now - self.unanswered_since
            self.guessed_s = max(took_s, (self.guessed_s + took_s) / 2)
            if payload != NULL:
                self.answer_s = max(took_s, (self.answer_s + took_s) / 2)
        self.unanswered = 0
        self._give_back()
        rtt_s = now - ping.sent_at
        if ping.on_end is not None:
            ping.end(PingResult(rtt_s, path_at(address), visible_address(address)))
        return rtt_s, is_certain

    def _expire(self, now: float) -> None:
        if not self._pings:
            return
        old = [
            nonce
            for nonce, ping in self._pings.items()
            if ping.on_end is None and now - ping.sent_at > OUTSTANDING_S
        ]
        for nonce in old:
            del self._pings[nonce]
        self._give_back()

    def _give_back(self) -> None:
        if not self._pings:
            self._pings = _NO_PINGS

    def end_all(self, error: P2PError) -> None:
        """Forget all; waiting calls end with `error`."""
        pings = list(self._pings.values())
        self._pings = _NO_PINGS
        for ping in pings:
            ping.end(error)


def _nonce_of(payload: Raw) -> str:
    try:
        return decode_payload(payload, PingPayload).nonce
    except MalformedError:
        return ""
