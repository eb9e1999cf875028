"""The round-trip time and the retransmission timeout (RFC 6298)."""

from typing import Final

from p2ptui.bounded import BoundedTable

SECOND_ACKS: Final = 256
"""Acknowledged retransmissions for which a second Ack may arrive."""

_ALPHA: Final = 1 / 8
_BETA: Final = 1 / 4
_K: Final = 4
# RFC 6298, section 2: SRTT gains an eighth of each sample, RTTVAR a quarter, RTO = SRTT + 4 RTTVAR.

_WHAT_IT_KNOWS: Final = (
    "_held_rto_s",
    "_initial_rto_s",
    "_is_supposed",
    "_max_rto_s",
    "_min_rto_s",
    "latest",
    "minimum",
    "srtt",
    "var",
)


class RttEstimator:
    """Smoothed round trip of one path.

    The caller keeps Karn's rule: it passes in no sample from a datagram that was sent more than
    once (RFC 6298, section 3).

    Args:
        initial_rto_s: The timeout before the first sample, seconds.
        min_rto_s: Its floor; RFC 6298 asks for 1 s. Here it is an option, since both ends answer at
            once and a terminal wants to see loss quickly.
        max_rto_s: Its ceiling.
    """

    __slots__ = _WHAT_IT_KNOWS

    def __init__(self, initial_rto_s: float, min_rto_s: float, max_rto_s: float) -> None:
        self._initial_rto_s = initial_rto_s
        self._min_rto_s = min_rto_s
        self._max_rto_s = max_rto_s
        self._held_rto_s = 0.0
        self._is_supposed = False
        self.srtt: float | None = None
        """Smoothed round trip, seconds; None before the first sample."""
        self.var = 0.0
        """Mean deviation (RTTVAR), seconds."""
        self.latest: float | None = None
        self.minimum: float | None = None

    def learn(self, other: "RttEstimator") -> None:
        """Adopt what another estimator knows about the same path."""
        for name in _WHAT_IT_KNOWS:
            setattr(self, name, getattr(other, name))

    def suppose(self, rtt_s: float) -> None:
        """Assume an upper bound of the round trip, seconds, until there is a sample: a handshake
        takes work on both sides."""
        if self.srtt is None:
            self.srtt = max(rtt_s, 0.0)
            self.var = self.srtt / 2
            self._is_supposed = True

    def observe(self, rtt_s: float) -> None:
        """Take one sample, seconds."""
        rtt_s = max(rtt_s, 0.0)
        self._held_rto_s = 0.0
        self.latest = rtt_s
        self.minimum = rtt_s if self.minimum is None else min(self.minimum, rtt_s)
        if self.srtt is None or self._is_supposed:
            self._is_supposed = False
            self.srtt = rtt_s
            self.var = rtt_s / 2
        else:
            self.var = (1 - _BETA) * self.var + _BETA * abs(self.srtt - rtt_s)
            self.srtt = (1 - _ALPHA) * self.srtt + _ALPHA * rtt_s

    def restart(self) -> None:
        """The path is another one: what is known about the previous one is only a rough guess."""
        self._held_rto_s = 0.0
        if self.srtt is not None:
            self.var = max(self.var, self.srtt / 2)

    def hold(self, timeout_s: float) -> None:
        """Go no lower than this timeout until the next sample.

        This is the other half of Karn's rule: a message acknowledged only after its timeout had
        doubled gives no sample, so on a path slower than the timeout nothing else would ever
        correct it (RFC 6298, section 5, at the end).
        """
        self._held_rto_s = max(self._held_rto_s, timeout_s)

    def rto(self, attempts: int = 1) -> float:
        """The timeout after the `attempts`-th transmission, doubled for each after the first."""
        base = self._initial_rto_s if self.srtt is None else self.srtt + _K * self.var
        base = max(base, self._min_rto_s, self._held_rto_s)
        return min(base * 2.0 ** min(attempts - 1, 16), self._max_rto_s)


class SecondAcks:
    """Tells a lost message from a timeout that was too short: in the latter case a second Ack
    arrives.

    Args:
        rtt: The estimator that learns from it.
    """

    __slots__ = ("_expected", "_rtt")

    def __init__(self, rtt: RttEstimator) -> None:
        self._rtt = rtt
        # Made when first needed: most peers acknowledge everything in time.
        self._expected: BoundedTable[int | str, float] | None = None

    def expect(self, key: int | str, timeout_s: float) -> None:
        """A message retransmitted after `timeout_s` was acknowledged."""
        if self._expected is None:
            self._expected = BoundedTable(SECOND_ACKS)
        self._expected.put(key, timeout_s)

    def handle(self, key: int | str) -> bool:
        """An Ack that nothing waits for; returns whether it is the second one of a message."""
        timeout_s = None if self._expected is None else self._expected.pop(key)
        if timeout_s is None:
            return False
        self._rtt.hold(timeout_s)
        return True
