"""The columns of the table in `rows`, for one type of message."""

import enum
from collections.abc import Callable, Hashable
from operator import attrgetter
from typing import Any, Final, NamedTuple, TypeAlias

from p2ptui.core.accounts import Purse
from p2ptui.core.messages.budgets import ALLOWANCE, Budget, Cost
from p2ptui.core.peers import Peer
from p2ptui.core.trust import Trust
from p2ptui.wire.message import Envelope

Handler: TypeAlias = Callable[[Any, Peer, Any, float], None]
"""A method of a part of the core, not bound yet: peer, content, time."""

Reader: TypeAlias = Callable[[Envelope], Any]
Admission: TypeAlias = Callable[[Any, Peer, Any, float], bool]


Taker: TypeAlias = Callable[[Any, Any, Envelope, Purse, float], bool]
"""A method that takes messages outside of a session, not bound yet: source, message, what it has
earned, time; returns whether it took the message."""


class Refusal(enum.Flag):
    """When the sender of a refused message is told so with an Error."""

    NEVER = 0
    TO_STRANGERS = enum.auto()
    """It has no session: `unauthenticated`."""
    OF_PAYLOAD = enum.auto()
    """Its payload is malformed: `bad_payload`."""
    ALWAYS = TO_STRANGERS | OF_PAYLOAD


payload_as_it_is: Final[Reader] = attrgetter("payload")
"""The payload, not decoded."""


class Row(NamedTuple):
    """One type of message; or one meaning of it, if the payload decides what it means."""

    kind: str
    """Its `message_type`."""
    handler: Handler | None
    """Its handler within a session; None for messages that are not taken there, and for an Ack."""
    reads: Reader = payload_as_it_is
    """How its payload is decoded; raises MalformedError."""
    trust: Trust = Trust.CLAIMED
    """What its sender must have proved; otherwise it is dropped."""
    doubted: Handler | None = None
    """Its handler for a sender that has not proved that: to ask, or to wait."""
    distrusted: str = "distrusted"
    """How that is counted."""
    budget: Budget = ALLOWANCE
    """The budget that is charged before its handler is called."""
    sender: Callable[[Any, Peer, Any], bool] | None = None
    """Whether it may come from this peer, decided by the part of the node that knows which peer it
    asked; otherwise it is dropped. Which call an answer belongs to is decided by its key where
    calls wait: one that comes too late is acknowledged, so that it is not repeated."""
    refusal: Refusal = Refusal.NEVER
    capability: str = ""
    """For an extension: it is sent only to peers that announced this capability."""
    follows: bool = False
    """Whether it is also sent to peers that announced nothing but have sent another of that
    extension's messages: that is as good as an announcement."""
    short: str = ""
    """For a narrow column, where a request and its answer would be cut to the same beginning: `?`
    asks, `=` answers, `+` is news. Empty: its own name fits."""
    admits: Admission | None = None
    """Whether it can be taken now: room was reserved for it, or it was forwarded. Otherwise, or if
    it is malformed, it is neither kept nor acknowledged."""
    refuse: Handler | None = None
    """Called for messages that found no room but may find it later."""
    meaning: Hashable = None
    """Which of its meanings this row is for."""
    anybody: Taker | None = None
    """Its handler whether there is a session or not; the source is the address."""
    stranger: Taker | None = None
    """Its handler from an address that is no peer's; the source is the address."""
    introduced: Taker | None = None
    """Its handler from an address that a server introduced; the source is the Introduction."""
    handshaking: Taker | None = None
    """Its handler while a handshake with its address is in progress; the source is the Peer."""
    routed: Taker | None = None
    """Its handler inside a routed message; the source is the Writer."""

    @property
    def cost(self) -> Cost:
        """What it may make this node do."""
        return self.budget.cost
