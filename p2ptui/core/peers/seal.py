"""What makes a peer a secured one: the keys of its session, and whose they are."""

from collections.abc import Callable
from dataclasses import dataclass

from p2ptui.secure import SecureSession, Transport
from p2ptui.secure.identity import PublicKeys


@dataclass(frozen=True, slots=True)
class Proof:
    """A node has shown the keys of its id in a key exchange, which made keys for a session."""

    transport: Transport
    keys: PublicKeys
    by_network_key: bool = False
    """Whether the exchange was one that needs the network key."""


@dataclass(slots=True, eq=False)
class Seal:
    """The secured session with a peer."""

    session: SecureSession
    keys: PublicKeys
    """The peer's; its id is theirs."""
    on_first: Callable[[float], None] | None = None
    """Called with the time when the first frame by the newest keys opens, if somebody waits."""
    refusal: bytes = b""
    """What the peer names that refuses this node's last message of the key exchange; empty where
    nothing waits for the end of one."""
    by_network_key: bool = False
    """Whether the keys come of an exchange that needs the network key."""
