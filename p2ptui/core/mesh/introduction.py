"""What is known of a node that a joined server named, as long as it is no peer."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias

from p2ptui.core.mesh.repeats import Repeats
from p2ptui.core.peers import Peer
from p2ptui.core.pings import Pings
from p2ptui.wire.address import Address
from p2ptui.wire.offer import TraversalOffer


@dataclass(slots=True)
class Introduction:
    """A node at an address that a joined server named."""

    node_id: str
    address: Address
    server_id: str
    expires: float
    capabilities: tuple[str, ...]
    name: str
    pings: Pings
    punches: Repeats = field(default_factory=Repeats)
    """How often Pings went out to open the way."""
    traversed: bool = False
    """Whether a direct path to it is searched with checks: no Ping has to open it, and one that
    is answered without a session would hide that the session is gone."""


OnIntroduced: TypeAlias = Callable[[Peer, str, Address, TraversalOffer | None, float], None]
"""Is told that a server names a node at an address, with its offer if it made one, and when."""
