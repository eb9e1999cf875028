"""The handshake messages of a peer's session, by which both sides recognise each other."""

from collections.abc import Collection
from typing import Final

from p2ptui.core.peers.facts import Dialect
from p2ptui.core.timers import NEVER
from p2ptui.wire.address import Address

HANDSHAKES_REMEMBERED: Final = 4
"""Message ids of a peer's earlier handshakes: a late copy of one must not reset the session."""

_FORMER_KEYS: Final = 2
"""Keys of the previous handshake, its id and its number, an Ack of which may be in flight."""


class ToldBefore:
    """What an answer to a request is rebuilt from: the answer takes half a kilobyte, this a fifth
    of that. It is never changed.

    Args:
        response_id: The id of the answer.
        sequence: Its number, if the asker acknowledges by number.
        address: Where the request came from.
        dialect: Which dialect the asker speaks.
        is_extended: Whether it knows any of our extensions.
        ack_for: The id that names the request.
        written_at: When the answer is first written, seconds.
    """

    __slots__ = (
        "ack_for",
        "address",
        "dialect",
        "is_extended",
        "is_short",
        "response_id",
        "sequence",
        "written_at",
    )

    def __init__(
        self,
        response_id: str,
        sequence: int | None,
        address: Address,
        dialect: Dialect,
        is_extended: bool,
        ack_for: int | str | None,
        written_at: float,
    ) -> None:
        self.response_id = response_id
        self.sequence = sequence
        self.address = address
        self.dialect = dialect
        self.is_extended = is_extended
        self.is_short = False
        """Whether the request paid for no more than the short form."""
        self.ack_for = ack_for
        self.written_at = written_at

    @property
    def keys(self) -> tuple[int | str, ...]:
        """What an Ack of it may name."""
        return keys_of(self.response_id, self.sequence)


def keys_of(response_id: str, sequence: int | None) -> tuple[int | str, ...]:
    """What an Ack of an answer may name."""
    return (response_id,) if sequence is None else (response_id, sequence)


class Handshakes:
    """Which handshake messages came from a peer and were sent to it."""

    __slots__ = ("heard", "keys", "requests", "response", "said", "undecided_until")

    def __init__(self) -> None:
        self.requests: tuple[str, ...] = ()
        """Ids of the peer's own requests, the latest last."""
        self.response: bytes | ToldBefore = b""
        """The answer to the latest request, for repetitions of it; or what the answer is rebuilt
        from."""
        self.keys: tuple[int | str, ...] = ()
        """Numbers and ids of the handshake messages sent to it: an Ack of one proves its
        address."""
        self.said: tuple[str, ...] = ()
        """Ids of this session's handshake messages sent to it: only a node that received them knows
        them."""
        self.heard = ""
        """Id of the handshake message received from it: a goodbye that names it is genuine."""
        self.undecided_until = NEVER
        """Until when its request may also come from another of its addresses, seconds."""

    def ask(self, request_id: str, sequence: int) -> None:
        """This node asks for a new session: nothing before it belongs to that.

        Args:
            request_id: The id of its request.
            sequence: The number of its request.
        """
        self.keys = (request_id, sequence)
        self.said = (request_id,)

    def ask_beside(self, request_id: str, sequence: int) -> None:
        """This node asks for a new session, and the current one goes on until the answer."""
        self.keys = (*self.keys[-_FORMER_KEYS:], request_id, sequence)

    def note_request(self, request_id: str) -> None:
        """The peer asks for a session, and is admitted."""
        self.requests = (*self.requests[1 - HANDSHAKES_REMEMBERED :], request_id)

    def hear(self, message_id: str) -> None:
        """The peer's handshake message with this id is the one that counts for the session."""
        self.heard = message_id

    def answer(
        self,
        response: bytes | ToldBefore,
        response_id: str,
        keys: Collection[int | str],
        *,
        crossed: bool,
    ) -> None:
        """The peer's request is answered.

        Args:
            response: The answer, or what it is rebuilt from.
            response_id: The id of the answer.
            keys: What an Ack of the answer may name.
            crossed: Whether a request of this node was pending: it belongs to the same session.
        """
        self.response = response
        self.said = (*(self.said if crossed else ()), response_id)
        known = (*self.keys[-_FORMER_KEYS:], *keys)
        self.keys = self.said if known == self.said else known  # one object for a plain peer

    def answer_again(self, request_id: str, response: bytes | ToldBefore) -> None:
        """The peer's request is answered, and the session remains the same."""
        self.note_request(request_id)
        self.response = response

    def forget_response(self) -> None:
        """The peer has its answer, and will not ask for it again."""
        self.response = b""

    def take_over(self, other: "Handshakes") -> None:
        """Messages sent to another address of the same node began the same session."""
        self.keys = (*self.keys[-_FORMER_KEYS:], *other.keys[-_FORMER_KEYS:])
        self.said = (*self.said[-2:], *other.said[-1:])

    def is_latest(self, request_id: str) -> bool:
        """Whether a request is the peer's latest."""
        return self.requests[-1:] == (request_id,)

    def may_repeat(self, request_id: str) -> bool:
        """Whether the answer to a request is the one that the session began with."""
        return self.response != b"" and self.is_latest(request_id)

    def leave_open(self, until: float) -> None:
        """Until this time, seconds, the latest request may also come from another address."""
        self.undecided_until = until

    def decide(self) -> None:
        """The peer has accepted an answer: the session is at the address that it was sent to."""
        self.undecided_until = NEVER

    def is_undecided(self, request_id: str, now: float) -> bool:
        """Whether a request may still move the session to another address that it comes from."""
        return now < self.undecided_until and self.is_latest(request_id)
