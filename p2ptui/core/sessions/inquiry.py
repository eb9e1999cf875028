"""A keepalive that is sent to a server until it is answered: its id, and how often it was sent."""

import math
from dataclasses import dataclass
from random import Random

from p2ptui.core.peers import Peer
from p2ptui.wire.frames import KEEPALIVE_NONCE_BYTES, Keepalive, encode_keepalive


@dataclass(slots=True, eq=False)
class Inquiry:
    """One inquiry after another; its owner decides when it is repeated and given up."""

    nonce: bytes = b""
    """What the answer will name; empty while none is awaited."""
    later_s: float = 0.0
    """After what time it is to be answered a second time."""
    tries: int = 0
    """How often it was sent."""
    began_at: float = -math.inf
    """When it was first sent, seconds."""
    sent_at: float = -math.inf
    """When it was last sent."""

    def begin(self, rng: Random, now: float, later_s: float = 0.0) -> None:
        """Begin a new inquiry; `write` comes next."""
        bits = rng.getrandbits(8 * KEEPALIVE_NONCE_BYTES)
        self.nonce = bits.to_bytes(KEEPALIVE_NONCE_BYTES, "big")
        self.later_s, self.tries, self.began_at = later_s, 0, now

    def write(self, now: float) -> bytes:
        """The frame, to be sent once more."""
        self.tries += 1
        self.sent_at = now
        return encode_keepalive(Keepalive(self.nonce, self.later_s))

    def is_answered_by(self, nonce: bytes) -> bool:
        """Whether an answer belongs to this inquiry."""
        return bool(self.nonce) and nonce == self.nonce

    def note_answer(self, peer: Peer, now: float, *, is_late: bool = False) -> None:
        """The answer came: the round trip, unless it was the late answer, or it is not known which
        transmission is answered (RFC 6298, section 3)."""
        peer.liveness.note_answer(now)
        if self.tries == 1 and not is_late:
            peer.channel.rtt.observe(now - self.sent_at)

    def end(self) -> None:
        """No answer is awaited any more."""
        self.nonce = b""
