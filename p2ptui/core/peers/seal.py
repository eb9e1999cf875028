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
    """Whether they last no longer than it runs."""
    statement: bytes = b""
    """Whose it is then, as its user's identity says; not checked."""
    boot: bytes = b""
    """What it made when it started: an offer for it names this."""


LASTING: Final = Claims()


def claims_of(account: Account) -> Claims:
    """What a node says of its keys."""
    return Claims(account.ephemeral, account.statement, account.boot)


@dataclass(frozen=True, slots=True)
class Proof:
    """A node has proved the keys of its id in a key exchange, which made the keys of a session."""

    transport: Transport
    keys: PublicKeys
    claims: Claims = LASTING
    by_network_key: bool = False
    """Whether the exchange was one that needs the network key."""


@dataclass(slots=True, eq=False)
class Seal:
    """The secured session with a peer."""

    session: SecureSession
    keys: PublicKeys
    """The peer's; its id is theirs."""
    claims: Claims = LASTING
    on_first: Callable[[float], None] | None = None
    """Called with the time when the first frame by the newest keys opens, if somebody waits."""
    due_since: float | None = None
    """Since when new keys are due, and asked for, if they are; seconds."""
    refusal: bytes = b""
    """What the peer names that refuses this node's last message of the key exchange; empty where
    nothing waits for the end of one."""
    by_network_key: bool = False
    """Whether the keys come of an exchange that needs the network key."""
