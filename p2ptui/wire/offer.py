"""What two nodes tell each other, through a server, to find a direct path."""

from typing import Annotated, Final

from msgspec import Meta, Struct
from msgspec.structs import replace

MAX_CANDIDATES: Final = 96
"""Of one offer, which is read whole or not at all."""

MAX_PREDICTED: Final = 64
"""Predicted ports of one side that are told, and tried, at most."""

MAX_OWN: Final = (MAX_CANDIDATES - MAX_PREDICTED) // 2 - 1
"""Own addresses in one offer; this leaves room for the address at which the server sees the node.
"""

NAMED: Final = "named"
"""Kind of a candidate that is not an address but the fragment of the other side's offer: naming it
shows that the offer arrived. It is a candidate because servers pass candidates on as they are,
while older servers drop fields that they do not know; a candidate of an unknown kind is ignored.
"""


class TraversalOffer(Struct, omit_defaults=True):
    """What one side tells the other, through a server, to find a direct path (RFC 8445, 5.4)."""

    ufrag: Annotated[str, Meta(min_length=4, max_length=32)]
    """Names this attempt in the checks of the other side."""
    password: Annotated[str, Meta(min_length=16, max_length=64)]
    """Authenticates them."""
    candidates: Annotated[list[tuple[str, str]], Meta(max_length=MAX_CANDIDATES)] = []
    """Kind (`host`, `srflx`, `predicted`) and address."""
    nat_type: Annotated[str, Meta(max_length=32)] = "unknown"
    allocation: Annotated[str, Meta(max_length=32)] = "unknown"
    answer: bool = False
    """Whether it answers an offer, and so needs no answer."""
    round: Annotated[int, Meta(ge=0, le=255)] = 0
    """Counts the offers of one side: a later offer knows more about its NAT."""
    sockets: Annotated[int, Meta(ge=0, le=1024)] = 0
    """How many sockets send to the other side at once, so that it can guess the port of one."""
    flows: Annotated[int, Meta(ge=0, le=1_000_000)] = 0
    """New flows a second that this side's NAT admits; 0: no limit known."""

    @property
    def names(self) -> str | None:
        """The fragment of the other side's offer that it names."""
        return next((text for kind, text in self.candidates if kind == NAMED), None)

    def naming(self, ufrag: str) -> "TraversalOffer":
        """The same offer, marked as a reply to the other side's offer with this fragment."""
        return replace(self, candidates=[*self.candidates, (NAMED, ufrag)])
