"""How much may be in flight to one peer, and how fast it leaves: slow start, halving, pacing."""

import math
from typing import Final

from p2ptui.core.reliability.rtt import RttEstimator

MIN_WINDOW_DATAGRAMS: Final = 4
"""The window after losses. RFC 9002 (section 7.2) keeps 2; with 4 a megabyte crosses a radio link
that loses a fifth of all datagrams in half the time, and no modern queue overflows because of
it."""

_BURST_DATAGRAMS: Final = 10
"""What may leave back to back (RFC 9002, section 7.7: the initial window)."""

_PACING_GAIN: Final = 1.25
"""Faster than window / RTT, so that pacing alone never limits (RFC 9002, section 7.7)."""

_PACING_GRAIN_S: Final = 0.001
"""Datagrams due within this time leave together: timers are no finer."""


class CongestionWindow:
    """A window in bytes in the manner of NewReno (RFC 5681, RFC 9002 section 7).

    Args:
        datagram_bytes: The unit of the window.
        initial: The initial window, datagrams.
        maximum: The largest window, datagrams.
        rtt: The round-trip estimator of the same path, for pacing.
    """

    __slots__ = (
        "_datagram_bytes",
        "_initial",
        "_maximum",
        "_most_bytes",
        "_most_datagrams",
        "_next_send",
        "_recovery_until",
        "_rtt",
        "_threshold",
        "in_flight",
        "window",
    )

    def __init__(self, datagram_bytes: int, initial: int, maximum: int, rtt: RttEstimator) -> None:
        self._datagram_bytes = datagram_bytes
        self._initial = initial * datagram_bytes
        self._most_datagrams, self._most_bytes = maximum, maximum * datagram_bytes
        self._maximum = self._most_bytes
        self._rtt = rtt
        self._threshold = float(self._maximum)
        self._next_send = 0.0
        self._recovery_until = -math.inf
        self.window = 0.0
        """Bytes that may be in flight."""
        self._set_window(self._initial)
        self.in_flight = 0
        """Bytes in flight."""

    def learnt(self) -> tuple[float, float]:
        """The window and its slow-start threshold, bytes; 0 for the initial values. Nothing else
        matters once nothing is in flight."""
        return (
            0.0 if self.window == self._initial else self.window,
            0.0 if self._threshold == self._maximum else self._threshold,
        )

    def resume(self, datagram_bytes: int, learnt: tuple[float, ...]) -> None:
        """Continue where another window left off.

        Args:
            datagram_bytes: The current unit.
            learnt: What that window had learnt.
        """
        self.resize(datagram_bytes)
        window, threshold = learnt
        self._set_window(window or self.window)
        self._threshold = threshold or float(self._maximum)

    @property
    def has_room(self) -> bool:
        """Whether the window allows another datagram."""
        return self.in_flight + self._datagram_bytes <= self.window or self.in_flight == 0

    def next_send(self, now: float) -> float:
        """The earliest time at which pacing allows the next datagram; `now` if at once."""
        return self._next_send if self._next_send > now + _PACING_GRAIN_S else now

    def handle_sent(self, size: int, now: float) -> None:
        """Count a datagram of `size` bytes as in flight."""
        self.in_flight += size
        srtt = self._rtt.srtt
        if srtt:
            rate = max(_PACING_GAIN * self.window / srtt, 1.0)
            earliest = now - _BURST_DATAGRAMS * self._datagram_bytes / rate
            self._next_send = max(self._next_send, earliest) + size / rate

    def handle_acked(self, size: int) -> None:
        """Count `size` bytes as arrived; the window grows if it was in use (RFC 9002, 7.8)."""
        # A window of less than a datagram, which has grown meanwhile, is never half full.
        in_use = self.in_flight * 2 >= self.window or not self.has_room
        self.in_flight = max(self.in_flight - size, 0)
        if not in_use:
            return
        if self.window < self._threshold:
            self._set_window(self.window + size)
        else:
            self._set_window(self.window + self._datagram_bytes * size / self.window)

    def _set_window(self, window: float) -> None:
        self.window = min(window, float(self._maximum))

    def handle_lost(self, size: int, sent_at: float, now: float) -> None:
        """Count `size` bytes, sent at `sent_at`, as lost; once a round trip the window halves, but
        not below `MIN_WINDOW_DATAGRAMS` where the maximum allows these."""
        self.in_flight = max(self.in_flight - size, 0)
        if sent_at <= self._recovery_until:
            return
        self._recovery_until = now
        self._threshold = max(self.window / 2, MIN_WINDOW_DATAGRAMS * self._datagram_bytes)
        self._set_window(self._threshold)

    def resize(self, datagram_bytes: int) -> None:
        """Datagrams are larger or smaller from now on; the number of bytes in flight stays the
        same."""
        # Larger ones take no more room at the receiver than the same bytes in smaller ones.
        self._maximum = min(self._most_datagrams * datagram_bytes, self._most_bytes)
        self._datagram_bytes = datagram_bytes
        self._set_window(self.window)

    def restart(self, now: float) -> None:
        """The path is another one: losses on the previous one say nothing about it."""
        self._set_window(self._initial)
        self._threshold = float(self._maximum)
        self._recovery_until = now

    def release(self, size: int) -> None:
        """Count `size` bytes as no longer in flight, neither acknowledged nor lost: the message was
        dropped."""
        self.in_flight = max(self.in_flight - size, 0)
