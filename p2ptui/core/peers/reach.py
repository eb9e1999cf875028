"""How a peer is reached: how its path was found, and whether there is one."""

from p2ptui.core.connection import Connection
from p2ptui.wire.address import Address


class Reach:
    """What is known about the path to a peer; where it leads is the peer's own `sends_to`.

    For most peers there is nothing to know: a `Reach` is made when there is something to enter.

    Args:
        stranded: See the attribute.
    """

    __slots__ = ("beside", "connection", "former", "stranded")

    def __init__(self, *, stranded: bool = False) -> None:
        self.connection: Connection | None = None
        """How its path was found, or why there is none; None for a peer that was addressed
        directly."""
        self.beside: Address | None = None
        """Its address, if something came from there to another address of this machine than the one
        it is known to use. Anybody can forge that: only an answer shows that it has moved."""
        self.former: Address | None = None
        """Its address, with the address of this machine that it used before, if its latest
        handshake came to another one and proved no more: somebody may have forged that."""
        self.stranded = stranded
        """Whether no path to it is currently known: queued messages are kept, and no try counts."""

    def find(self) -> bool:
        """A path is known again; returns whether there was none."""
        was_stranded, self.stranded = self.stranded, False
        return was_stranded
