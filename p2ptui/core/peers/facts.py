"""What a peer has said about itself, and which dialect it was seen to speak."""

import enum
from functools import lru_cache
from typing import Final

from p2ptui.core.acquaintance import Judged
from p2ptui.wire.address import Address
from p2ptui.wire.message import Capability, NodeInfo

NOTHING: Final[frozenset[str]] = frozenset()
"""One shared object: each empty set takes 216 bytes."""


class Dialect(enum.Enum):
    """Which dialect a peer speaks: see `Envelope.speaks_reference`."""

    SPEC = "spec"
    REFERENCE = "reference"

    # Members are compared by identity; the hash of an Enum is that of its name, at a call each.
    __hash__ = object.__hash__


_SPEC: Final = Dialect.SPEC
"""A member of an enum is looked up in Python."""


@lru_cache(256)
def _with(used: frozenset[str], capability: str) -> frozenset[str]:
    # One object for all peers that have used the same.
    return used | {capability}


class Facts:
    """What is known about a peer, as far as it is believed."""

    __slots__ = (
        "acks",
        "capabilities",
        "contested_at",
        "dialect",
        "info",
        "judged",
        "public_address",
        "used",
        "vouches_lists",
    )

    def __init__(self) -> None:
        self.info: NodeInfo | None = None
        """Who it says it is; None until its handshake. Changed only by `PeerTable.identify`, which
        indexes peers by it."""
        self.dialect: Dialect = _SPEC
        self.capabilities: frozenset[str] = NOTHING
        """What it announced, without extensions of ours that a peer of the reference's kind
        claims."""
        self.used: frozenset[str] = NOTHING
        """Capabilities that it has used in a message since its latest handshake: that is as good as
        an announcement."""
        self.vouches_lists = False
        """Whether it has sent, since its latest handshake, a list that names a handshake message:
        lists that do not may be forged."""
        self.acks = False
        """Whether it has ever acknowledged anything in this session."""
        self.public_address: Address | None = None
        """This node's address as the peer saw it."""
        self.contested_at: float | None = None
        """When another node last asked that may be at its address by now, and would read what is
        sent there: messages from others wait until that is settled. None: nobody did."""
        self.judged: Judged | None = None
        """What this node's user knows about its identity; None before its session, or if nobody
        judges."""

    def describe(self, dialect: Dialect, capabilities: frozenset[str]) -> None:
        """Record the dialect and the capabilities that its handshake message shows: one depends on
        the other."""
        self.dialect = dialect
        self.capabilities = capabilities
        self.used = NOTHING
        self.vouches_lists = False

    @property
    def judged_now(self) -> Judged | None:
        """What is known about its identity; None if that was about another node at its address."""
        judged, info = self.judged, self.info
        is_its = judged is not None and info is not None and judged.met.id == info.id
        return judged if is_its else None

    def note_judged(self, judged: Judged) -> None:
        """Its identity was judged."""
        self.judged = judged

    def note_contested(self, at: float | None) -> None:
        """Another node may be at its address since a time; None: it is not."""
        self.contested_at = at

    def note_ack(self) -> None:
        """It has acknowledged something in this session."""
        self.acks = True

    def begin_session(self) -> None:
        """Another session begins, in which it has acknowledged nothing yet."""
        self.acks = False

    def note_used(self, capability: str) -> None:
        """A message of a capability arrived, and this node takes it."""
        if capability not in self.used:
            self.used = _with(self.used, capability)

    def note_vouched_list(self) -> None:
        """A list came that names a handshake message."""
        self.vouches_lists = True

    @property
    def wants_no_echo(self) -> bool:
        """Whether it announced that it expects no echo, even if little else that it says is
        believed."""
        if self.dialect is _SPEC or self.info is None:
            return Capability.NO_ECHO in self.capabilities  # it is believed
        return Capability.NO_ECHO in self.info.capabilities

    @property
    def is_expected_to_ack(self) -> bool:
        """Whether it will acknowledge; programs of the reference's kind may never do so."""
        return self.dialect is _SPEC or self.acks
