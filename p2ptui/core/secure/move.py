"""What is known about a peer's new address while its session may move there."""

from dataclasses import dataclass
from typing import Final

FIRST_REST_S: Final = 0.5
LONGEST_REST_S: Final = 1.5
"""An address that was not followed because the one in use answers is probed again after the first
of these, then after twice as long each time, up to the second."""

LEADS: Final = 3
LEADS_S: Final = 1.0
"""An address that answers is left for another one if this many frames came only from there, over
this time: newest frames other than answers to challenges and the like. A copy that arrives later
from the address in use shows that it carries them too."""


@dataclass(slots=True, eq=False)
class Move:
    """One address that is being probed, besides the one in use."""

    nonce: bytes
    """The challenge to the new address."""
    home_nonce: bytes
    """The challenge to the one in use."""
    until: float
    """Until when answers count, or when the rest ends."""
    rest_s: float
    judged_at: float
    """When the address in use has had its time to answer."""
    asked_at: float
    is_told: bool = False
    """Whether the peer itself says that it has moved."""
    is_answered: bool = False
    rests: bool = False
    """Whether the address in use has answered."""
    is_proved: bool = False
    """Whether this address has ever answered, or was in use."""
    paid_bytes: int = 0
    """Bytes that may be sent there before that, besides what each newest frame pays for."""
    carries: bool = False
    """Whether more than answers and the like came from there; or the session was there, and did not
    leave because nothing else came."""
    led: int = 0
    """Newest frames that came from there since one came from the address in use."""
    led_since: float = 0.0

    @classmethod
    def resting(cls, now: float, *, carries: bool = True, is_proved: bool = False) -> "Move":
        """A move that nobody has been asked about."""
        move = cls(b"", b"", now, FIRST_REST_S / 2, now, now, rests=True)
        move.carries, move.is_proved = carries, is_proved
        return move

    def go_on_from(self, last: "Move") -> None:
        """The same address was probed before: keep what was seen of it."""
        self.is_proved, self.paid_bytes = last.is_proved, last.paid_bytes
        self.carries, self.led, self.led_since = last.carries, last.led, last.led_since

    def note_led(self, now: float) -> None:
        """Another newest frame came from there."""
        if not self.led:
            self.led_since = now
        self.led += 1
        self.carries = True

    def leads(self, now: float) -> bool:
        """Whether the peer's own frames come only from there."""
        return self.led >= LEADS and now >= self.led_since + LEADS_S
