"""What is known about a peer's new address while its session may move there."""

from dataclasses import dataclass
from typing import Final

FIRST_REST_S: Final = 0.5
LONGEST_REST_S: Final = 1.5
"""An address that was not followed, since the one in use answers, is asked again so late; each time
twice as late."""

LEADS: Final = 3
LEADS_S: Final = 1.0
"""An address that answers is left for another one if so many frames came from there alone, over so
long: newest ones, which are no answers to challenges and the like. A copy of one that comes from
the address in use, if later, shows that it carries them, too."""


@dataclass(slots=True, eq=False)
class Move:
    """One address that is being probed, besides the one in use."""

    nonce: bytes
    """For the new address."""
    home_nonce: bytes
    """For the one in use."""
    until: float
    """So long answers count; or the rest goes on."""
    rest_s: float
    judged_at: float
    """When the address in use has had its time."""
    asked_at: float
    is_told: bool = False
    """Whether the peer itself says that it has moved."""
    is_answered: bool = False
    rests: bool = False
    """Whether the address in use has answered."""
    is_proved: bool = False
    """Whether this one has ever answered, or was in use."""
    paid_bytes: int = 0
    """Bytes that may go there before that, besides what each newest frame draws."""
    carries: bool = False
    """Whether it was more than answers and the like that came from there; or the session was there,
    and was not left for carrying nothing."""
    led: int = 0
    """Newest frames that came from there since any came from the address in use."""
    led_since: float = 0.0

    @classmethod
    def resting(cls, now: float, *, carries: bool = True, is_proved: bool = False) -> "Move":
        """One that nobody has been asked about."""
        move = cls(b"", b"", now, FIRST_REST_S / 2, now, now, rests=True)
        move.carries, move.is_proved = carries, is_proved
        return move

    def go_on_from(self, last: "Move") -> None:
        """The same address was asked before: what was seen of it holds."""
        self.is_proved, self.paid_bytes = last.is_proved, last.paid_bytes
        self.carries, self.led, self.led_since = last.carries, last.led, last.led_since

    def note_led(self, now: float) -> None:
        """One more of the newest frames came from there."""
        if not self.led:
            self.led_since = now
        self.led += 1
        self.carries = True

    def leads(self, now: float) -> bool:
        """Whether what the peer says comes from there alone."""
        return self.led >= LEADS and now >= self.led_since + LEADS_S
