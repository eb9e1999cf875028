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
earned, time; whether it took it."""


class Refusal(enum.Flag):
    """When the sender of a refused message is told so with an Error."""

    NEVER = 0
    TO_STRANGERS = enum.auto()
    """It has no session: `unauthenticated`."""
    OF_PAYLOAD = enum.auto()
    """Its payload makes no sense: `bad_payload`."""
    ALWAYS = TO_STRANGERS | OF_PAYLOAD


payload_as_it_is: Final[Reader] = attrgetter("payload")
"""The payload, not decoded."""


class Row(NamedTuple):
    """One type of message; or one meaning of it, where the payload decides what it means."""

    kind: str
    """Its `message_type`."""
    handler: Handler | None
    """Who takes it in a session; None for what is not taken there, and for an Ack."""
    reads: Reader = payload_as_it_is
    """How its payload is decoded; raises MalformedError."""
    trust: Trust = Trust.CLAIMED
    """What its sender must have shown; otherwise it is dropped."""
    doubted: Handler | None = None
    """Who takes it instead from a sender that has not shown that: to ask, or to wait."""
    distrusted: str = "distrusted"
    """What that is counted as."""
    budget: Budget = ALLOWANCE
    """What it draws on before its handler is called."""
    sender: Callable[[Any, Peer, Any], bool] | None = None
    """Whether it may come from this peer, where a part of the node knows who was asked for it;
    otherwise it is dropped in any case. Which call an answer is for is told by its key in its
    waiting room: one that comes too late is acknowledged, so that it does not come again."""
    refusal: Refusal = Refusal.NEVER
    capability: str = ""
    """For an extension: only who announced that is sent it."""
    follows: bool = False
    """Whether it is sent also to who announced nothing, but has sent another of that extension's
    messages: that says as much."""
    short: str = ""
    """In a narrow column, where a question and its answer would be cut to the same beginning: `?`
    asks, `=` answers, `+` is news. Empty: its own name fits."""
    admits: Admission | None = None
    """Whether it can be taken now: room was kept for it, or it was handed on. What cannot, or makes
    no sense, is neither kept nor acknowledged."""
    refuse: Handler | None = None
    """Called for what found no room, and may find it later."""
    meaning: Hashable = None
    """Which of its meanings this row is for."""
    anybody: Taker | None = None
    """Who takes it whether there is a session or not; its source is the address."""
    stranger: Taker | None = None
    """Who takes it from an address that is no peer's; its source is that."""
    introduced: Taker | None = None
    """Who takes it from an address that a server introduced; its source is the Introduction."""
    handshaking: Taker | None = None
    """Who takes it while a handshake with its address is under way; its source is the Peer."""
    routed: Taker | None = None
    """Who takes it inside a routed message; its source is the Writer."""

    @property
    def cost(self) -> Cost:
        """What it may make this node do."""
        return self.budget.cost
