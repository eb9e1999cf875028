"""What makes a peer a secured one: the keys of its session, and whose they are."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from p2ptui.secure import SecureSession, Transport
from p2ptui.secure.identity import PublicKeys
from p2ptui.wire.exchange import Account


@dataclass(frozen=True, slots=True)
class Claims:
    """What a node says about its keys, inside the exchange; unverified."""

    ephemeral: bool = False
    """Whether the keys last only as long as the node runs."""
    statement: bytes = b""
    """Then, whose node it is according to that user's identity; not verified."""
    boot: bytes = b""
    """Made by the node when it started: an offer for it names this."""


LASTING: Final = Claims()


def claims_of(account: Account) -> Claims:
    """What a node says about its keys."""
    return Claims(account.ephemeral, account.statement, account.boot)


@dataclass(frozen=True, slots=True)
class Proof:
    """A node has proved the keys of its id in a key exchange, which made the keys of a session."""

    transport: Transport
    keys: PublicKeys
    claims: Claims = LASTING
    by_network_key: bool = False
    """Whether the exchange required the network key."""


@dataclass(slots=True, eq=False)
class Seal:
    """The secured session with a peer."""

    session: SecureSession
    keys: PublicKeys
    """The peer's keys; its id is derived from them."""
    claims: Claims = LASTING
    on_first: Callable[[float], None] | None = None
    """Called with the time when the first frame with the newest keys opens, if something waits for
    it."""
    due_since: float | None = None
    """Since when new keys are due and requested, if they are, seconds."""
    refusal: bytes = b""
    """What a peer names that refuses this node's last message of the key exchange; empty if no
    exchange is pending."""
    by_network_key: bool = False
    """Whether the keys come from an exchange that required the network key."""
