"""A routed message of this node that waits for its receiver's answer."""

from dataclasses import dataclass

from p2ptui.core.events import SendResult, SendStatus
from p2ptui.core.peers import Peer
from p2ptui.core.timers import Timer
from p2ptui.text import counted


@dataclass(slots=True)
class PendingMessage:
    """One such message."""

    node_id: str
    message: bytes
    max_hops: int
    is_ping: bool
    attempts: int = 0
    excused: int = 0
    """The tries that found the receiver without room or without keys."""
    sent_at: float = 0.0
    timer: Timer | None = None
    route_id: str = ""
    """The `route_id` of its last try."""
    hops: tuple[Peer, ...] = ()
    """The peers that were handed the last try."""
    refused_by: tuple[Peer, ...] = ()
    """The peers among these that refused it."""
    refused: str = ""
    """The reason that the next node gave."""
    refusals: int = 0
    """How many tries were refused on the way."""
    awaits_keys: bool = False
    """Whether it leaves as soon as there is a session with the node; until then that is no try."""

    def given_up(self, status: SendStatus, reason: str) -> SendResult:
        """The result of its call if nobody has confirmed it."""
        may_have_arrived = self.attempts > self.refusals
        size = len(self.message)
        return SendResult(status, self.attempts, None, size, reason, may_have_arrived)

    def stop(self) -> None:
        """No further try follows."""
        if self.timer is not None:
            self.timer.cancel()

    @property
    def unanswered_words(self) -> str:
        """What its call is told if no answer comes."""
        tries = counted(self.attempts, "try", "tries")
        return f"no answer from node {self.node_id} after {tries}"
