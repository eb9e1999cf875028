"""What two nodes tell each other, by way of a server, to find a direct path."""

from typing import Annotated, Final

from msgspec import Meta, Struct
from msgspec.structs import replace

MAX_CANDIDATES: Final = 96
"""Of one offer: it is read whole or not at all."""

MAX_PREDICTED: Final = 64
"""Of a side's predicted ports at most this many are told, and tried."""

MAX_OWN: Final = (MAX_CANDIDATES - MAX_PREDICTED) // 2 - 1
"""Own addresses that one offer tells; beside them is room for where the server sees the node."""

NAMED: Final = "named"
"""Kind of a candidate that is no address but the fragment of the other side's offer: who names it
has received that. It stands among the candidates since servers hand those on as they are, while
older ones leave out fields that they do not know; and a kind that is not known is passed over."""


class TraversalOffer(Struct, omit_defaults=True):
    """What one side tells the other, by way of a server, to find a direct path (RFC 8445, 5.4)."""

    ufrag: Annotated[str, Meta(min_length=4, max_length=32)]
    """Names this attempt in the checks of the other side."""
    password: Annotated[str, Meta(min_length=16, max_length=64)]
    """Authenticates them."""
    candidates: Annotated[list[tuple[str, str]], Meta(max_length=MAX_CANDIDATES)] = []
    """Kind (`host`, `srflx`, `predicted`) and address."""
    nat_type: Annotated[str, Meta(max_length=32)] = "unknown"
    allocation: Annotated[str, Meta(max_length=32)] = "unknown"
    answer: bool = False
    """Whether it answers an offer, and needs no answer."""
    round: Annotated[int, Meta(ge=0, le=255)] = 0
    """Counts the offers of one side: a later one knows more of its NAT."""
    sockets: Annotated[int, Meta(ge=0, le=1024)] = 0
    """How many sockets send to the other side at once, for it to guess the port of one."""
    flows: Annotated[int, Meta(ge=0, le=1_000_000)] = 0
    """New flows a second that this side's NAT lets pass; 0: no limit is known."""

    @property
    def names(self) -> str | None:
        """The fragment of the other side's offer that it names."""
        return next((text for kind, text in self.candidates if kind == NAMED), None)

    def naming(self, ufrag: str) -> "TraversalOffer":
        """The same offer, in return for one of the other side with this fragment."""
        return replace(self, candidates=[*self.candidates, (NAMED, ufrag)])
