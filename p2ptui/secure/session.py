"""A secured session with one peer: its current keys, the previous ones and the next ones."""

from collections.abc import Iterator
from typing import Final

from p2ptui.secure.errors import Reason, SecureError
from p2ptui.secure.frames import UnknownSession, counter_of, session_of
from p2ptui.secure.transport import Transport

OVERLAP_S: Final = 10.0
"""How long the previous keys still open what was on its way, once a frame came with the new
ones.
"""

LONGEST_OVERLAP_S: Final = 60.0
"""And how long if none comes: until then the other side may not know that it can use the new
ones.
"""

RECENT_DATAGRAMS: Final = 4_096
"""An "unknown session" that repeats a counter older than this many datagrams says nothing about
now.
"""


class SecureSession:
    """Seals with the keys that both sides have, and opens with any that are still valid.

    The side that began an exchange of new keys `prepare`s them: it has them after message 2, the
    other side only once message 3 arrives. The first frame that they open makes them the current
    keys. With message 3, the other side knows that both have them, and `adopt`s them at once. If
    nothing is heard from the other side, the side that began must `give_up`: only then is it told
    to begin anew.
    """

    __slots__ = ("_before", "_before_until", "_has_forgotten", "_is_under_way", "_next", "current")

    def __init__(self, transport: Transport) -> None:
        """Start with the keys of the first exchange, on either side."""
        self.current: Transport = transport
        self._before: Transport | None = None
        self._before_until = 0.0
        self._next: Transport | None = None
        self._is_under_way = False
        """Whether this side is still exchanging the next keys."""
        self._has_forgotten = False

    def numbers(self) -> Iterator[int]:
        """The session numbers by which the other side may currently name this session."""
        return iter([one.local_number for one in self._all()])

    def seal(self, datagram: bytes) -> bytes:
        """The frame with this datagram inside. SecureError: see `Transport.seal`."""
        return self.current.seal(datagram)

    def open(self, frame: bytes, now: float, number: int | None = None) -> bytes:
        """The datagram inside. SecureError as from `Transport.open`; then nothing has changed.

        Args:
            frame: As it came.
            now: The time, seconds.
            number: The session that it names, if that has been read already.
        """
        if number is None:
            number = session_of(frame)
        current = self.current
        if number == current.local_number:
            datagram = current.open(frame)
            if current.opened == 1:
                self._before_until = min(self._before_until, now + OVERLAP_S)
            return datagram
        if self._next is not None and number == self._next.local_number:
            datagram = self._next.open(frame)
            self.adopt(self._next, now)
            return datagram
        self._expire(now)
        if self._before is not None and number == self._before.local_number:
            return self._before.open(frame)
        raise SecureError(
            Reason.UNKNOWN_SESSION, "a secured datagram is for no session of this peer"
        )

    def is_newest(self, frame: bytes) -> bool:
        """Whether a frame that has just opened is the newest of all: a frame that was delayed, or
        uses keys that newer ones have replaced, says nothing about where its sender is now.
        """
        number, counter = session_of(frame), counter_of(frame)
        current = self.current
        if number == current.local_number:
            return counter == current.highest
        before = self._before
        if current.opened or before is None or number != before.local_number:
            return False
        return counter == before.highest

    @property
    def has_begun(self) -> bool:
        """Whether the other side is known to have keys of this session."""
        return not self.current.is_initiator or any(one.opened for one in self._all())

    def is_ours(self, answer: UnknownSession) -> bool:
        """Whether an "unknown session" repeats the session number and a recent counter of a frame
        that this side sealed: then its sender has seen that frame, or guessed 32 bits.

        It is only a hint: try a handshake beside this session, and end nothing because of it.
        """
        return any(
            one.remote_number == answer.session
            and one.sealed - RECENT_DATAGRAMS <= answer.counter < one.sealed
            for one in self._all()
        )

    def prepare(self, transport: Transport) -> None:
        """Add new keys, which the other side may not have yet: they open, but do not seal yet."""
        self._next, self._is_under_way = transport, True

    def give_up(self) -> None:
        """Stop the exchange of the prepared keys, which nobody has shown to have: others may be
        made. They still open until a minute after they were made, as the other side may have them.
        """
        self._is_under_way = False

    def adopt(self, transport: Transport, now: float) -> None:
        """Switch to new keys that both sides have: they seal from now on; the previous ones only
        open, until 10 s after the first frame with the new ones, or for a minute.
        """
        if transport is self._next:
            self._next = None
        self._is_under_way = False
        overlap_s = OVERLAP_S if transport.opened else LONGEST_OVERLAP_S
        self._keep_before(self.current, now + overlap_s)
        self.current = transport

    def _keep_before(self, transport: Transport | None, until: float) -> None:
        # Nothing made from forgotten keys stays ready for use.
        if self._before is not None:
            self._before.rest()
        self._before, self._before_until = transport, until

    def hold(self, transport: Transport, now: float) -> None:
        """Add keys from an exchange that crossed a preferred one. If the other side has shown the
        preferred keys, these open for 10 s and seal nothing. Otherwise they seal until it does:
        both sides have these, and message 3 of the preferred exchange may be lost.
        """
        if self.awaits(self.current):
            self._next, self.current = self.current, transport
        else:
            self._keep_before(transport, now + OVERLAP_S)

    def awaits(self, transport: Transport) -> bool:
        """Whether there are valid keys that the other side has not yet shown to have: message 3,
        which this side sent for them, may be lost.
        """
        is_good = transport is self.current or transport is self._next
        return is_good and transport.is_initiator and not transport.opened

    def has_heard(self, number: int) -> bool:
        """Whether a frame that named this session number has opened."""
        return any(one.opened > 0 for one in self._all() if one.local_number == number)

    def needs_rekey(self, now: float) -> bool:
        """Whether this side should begin an exchange of new keys; not while one is under way."""
        return not self._is_under_way and self.current.needs_rekey(now)

    @property
    def is_confirmed(self) -> bool:
        """Whether a frame came with the newest keys: message 3 need not be sent again."""
        return self._next is None and (self.current.opened > 0 or not self.current.is_initiator)

    def expire(self, now: float) -> bool:
        """Forget expired keys: the previous ones, and prepared ones that were given up.

        Returns:
            Whether any were forgotten since this was last called.
        """
        self._expire(now)
        has_forgotten, self._has_forgotten = self._has_forgotten, False
        return has_forgotten

    def _expire(self, now: float) -> None:
        if self._before is not None and now >= self._before_until:
            self._keep_before(None, now)
            self._has_forgotten = True
        is_over = self._next is not None and now >= self._next.began_at + LONGEST_OVERLAP_S
        if self._next is not None and is_over and not self._is_under_way:
            self._next.rest()
            self._next = None
            self._has_forgotten = True

    def rest(self) -> None:
        """Release the objects made from the keys, until they are used again."""
        for one in self._all():
            one.rest()

    def _all(self) -> Iterator[Transport]:
        for one in (self.current, self._before, self._next):
            if one is not None:
                yield one
