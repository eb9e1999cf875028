"""How a peer is reached: how the way to it was won, and whether there is one."""

from dataclasses import dataclass

from p2ptui.core.connection import Connection
from p2ptui.wire.address import Address


@dataclass(slots=True, eq=False)
class Reach:
    """What is known of the way to a peer; where it leads is the peer's own `sends_to`."""

    connection: Connection | None = None
    """How its path was won, or why there is none; None for a peer that was addressed directly."""
    beside: Address | None = None
    """Its address, where something came from there to another address of this machine than the one
    it is known to know. Anybody can forge that: only an answer shows that it has moved."""
    former: Address | None = None
    """Its address, with the address of this machine that it knew before, where its latest handshake
    came to another one and showed no more: somebody may have forged that."""
    stranded: bool = False
    """Whether no way to it is known for the moment: what waits is kept, and no try counts."""

    def find(self) -> bool:
        """A way is known again; whether there was none."""
        was_stranded, self.stranded = self.stranded, False
        return was_stranded
