"""Budgets: what others may make this node do, each of them and in total, by message type.

A budget that the table of messages judges is charged before the handler is called, so no handler
can forget it. The others need to know more than the sender of a message, and name the code that
judges them.
"""

import enum
from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple, TypeAlias

from p2ptui.bounded import BoundedTable, TokenBucket
from p2ptui.core.accounts import Purse
from p2ptui.core.delivery import Delivery
from p2ptui.core.filter_probes import PROBES_PER_SECOND, REQUESTS_OF_ONE, REQUESTS_PER_SECOND
from p2ptui.core.gate import Gate
from p2ptui.core.mesh.pager import Pager
from p2ptui.core.mesh.routing import Routing
from p2ptui.core.mobility.guests import STATEMENTS_OF_ONE, STATEMENTS_PER_SECOND
from p2ptui.core.peers import Peer
from p2ptui.core.relay.control import RelayControl
from p2ptui.core.stun import PARTNER_REPLIES_PER_SECOND
from p2ptui.core.traversal.offer_intake import SEARCHES_AT_ONCE, SEARCHES_PER_SECOND, OfferIntake

INTRODUCTIONS_PER_SECOND: Final = 2000
"""Introductions by this node for all its peers together: a whole LAN may want to meet at once."""

INTRODUCTIONS_OF_ONE: Final = 200
"""The part of these for one peer."""

Handle: TypeAlias = Callable[[Peer, Any, float], None]


class Cost(enum.Enum):
    """What a message may make this node do."""

    CONSTANT = "constant"
    """One answer at most."""
    LIST = "list"
    """Pages of a list."""
    SEARCH = "search"
    """A message to a third node, which may send to a fourth."""
    RELAY = "relay"
    """Its bytes are forwarded to another node."""


class Budget(NamedTuple):
    """The limit for messages of one kind."""

    name: str
    cost: Cost
    rate: float | None = None
    """Per second, for all peers together; None if an option or an account sets it."""
    burst: float | None = None
    """At once; None: as much as in one second."""
    rate_each: float | None = None
    """The part of this for one peer; None: a peer may use all of it."""
    over: str = ""
    """The counter of messages dropped because the budget is used up."""
    judge: type | None = None
    """What judges it; None: the table of messages, before the handler is called."""
    is_vouched: bool = False
    """Whether a request of this kind may name a handshake message that its sender was sent. A
    request without one is charged to what each peer may be sent unvouched."""


ALLOWANCE: Final = Budget("allowance", Cost.CONSTANT, judge=Delivery)
"""What an unproved address may be sent; a proved one may ask as often as it likes."""

PAGES: Final = Budget("pages", Cost.LIST, judge=Pager, is_vouched=True)
"""One list of each kind at a time for each peer, and a limited number of pages a second."""

AGAIN: Final = Budget("again", Cost.CONSTANT, judge=Gate, is_vouched=True)
"""One message that was sent before, and may be much longer than the request for it."""

FLOODS: Final = Budget("floods", Cost.RELAY, over="flood_limited", judge=Routing)
"""Messages without a route that go to several peers: `routing.flood_rate`."""

RELAYED: Final = Budget("relayed", Cost.RELAY, over="relay_refused", judge=RelayControl)
"""Bytes of each client: `traffic_forwarding.max_relay_rate_per_client`."""

INTRODUCTIONS: Final = Budget(
    "introductions",
    Cost.SEARCH,
    INTRODUCTIONS_PER_SECOND,
    rate_each=INTRODUCTIONS_OF_ONE,
    over="introductions_limited",
)

SEARCHES: Final = Budget(
    "searches",
    Cost.SEARCH,
    SEARCHES_PER_SECOND,
    SEARCHES_AT_ONCE,
    over="offer_refused",
    judge=OfferIntake,
)
"""Only offers that begin a search are charged. Offers with proof (the server vouches for them, or
they name this side's fragment) have the same amount again for themselves."""

FILTER_PROBE_REQUESTS: Final = Budget(
    "filter probe requests",
    Cost.SEARCH,
    REQUESTS_PER_SECOND,
    rate_each=REQUESTS_OF_ONE,
    over="probe_request_refused",
)

FILTER_PROBES: Final = Budget("filter probes", Cost.SEARCH, PROBES_PER_SECOND, over="probe_refused")

PARTNER_REPLIES: Final = Budget(
    "partner replies", Cost.SEARCH, PARTNER_REPLIES_PER_SECOND, over="stun_delegation_refused"
)

STATEMENTS: Final = Budget(
    "statements",
    Cost.CONSTANT,
    STATEMENTS_PER_SECOND,
    rate_each=STATEMENTS_OF_ONE,
    over="presence_limited",
)
"""Each needs the verification of a signature, which takes 0.1 ms."""

BUDGETS: Final = (
    ALLOWANCE,
    PAGES,
    AGAIN,
    FLOODS,
    RELAYED,
    INTRODUCTIONS,
    SEARCHES,
    FILTER_PROBE_REQUESTS,
    FILTER_PROBES,
    PARTNER_REPLIES,
    STATEMENTS,
)
"""All of them; a test compares this with docs/limits.md."""


class UnvouchedAnswers:
    """Bytes sent to proved peers for requests that anybody may have forged in their name.

    A recent proof of the address does not help there: the peer is alive, and answers whatever it is
    asked. So each peer has an allowance of bytes a minute for all such requests together, beyond
    three times their own size. Half of it may be used at once, and the rest becomes available over
    time, so no minute exceeds it.

    Args:
        bytes_per_minute: The current value of the option.
    """

    def __init__(self, bytes_per_minute: Callable[[], int]) -> None:
        self._bytes_per_minute = bytes_per_minute

    def take(self, purse: Purse, size: int, now: float) -> bool:
        """Whether this many bytes may be sent to a peer now; if so they are charged.

        Args:
            purse: The peer's purse.
            size: Bytes.
            now: The time, seconds.
        """
        bucket = purse.unvouched
        if bucket is None:
            half = self._bytes_per_minute() / 2
            bucket = purse.unvouched = TokenBucket(half / 60, now, half)
        return bucket.take(now, size)


class Accounts:
    """What has been used of the budgets that the table of messages judges.

    Args:
        drop: Called with a cause for each message that exceeds its budget.
        most_peers: How many peers there may be, each with its own share.
    """

    def __init__(self, drop: Callable[[str], None], most_peers: Callable[[], int]) -> None:
        self._drop = drop
        self._most_peers = most_peers
        self._accounts: dict[Budget, _Account] = {}

    def guard(self, budget: Budget, handle: Handle) -> Handle:
        """Put a handler behind a budget: it is called only while the budget allows.

        Args:
            budget: The budget.
            handle: The handler.
        """
        if budget.judge is not None:
            return handle
        account = self._accounts.setdefault(budget, _Account(budget, self._most_peers))

        def handle_within_budget(peer: Peer, content: Any, now: float) -> None:
            if account.take(peer, now):
                handle(peer, content, now)
            else:
                self._drop(budget.over)

        return handle_within_budget

    def forget(self, peer: Peer, _now: float) -> None:
        """A peer has left."""
        for budget, account in self._accounts.items():
            if budget.rate_each is not None:
                account.shares.pop(peer)

    def __iter__(self) -> Iterator[Budget]:
        """The budgets that are judged here."""
        return iter(self._accounts)


class _Account:
    """What has been used of one budget."""

    __slots__ = ("_all", "_budget", "shares")

    def __init__(self, budget: Budget, most_peers: Callable[[], int]) -> None:
        self._budget = budget
        self._all: TokenBucket | None = None
        self.shares: BoundedTable[Peer, TokenBucket] = BoundedTable(most_peers)
        """Those of the present peers."""

    def take(self, peer: Peer, now: float) -> bool:
        budget = self._budget
        if budget.rate_each is not None:
            share = self.shares.get(peer)
            if share is None:
                share = TokenBucket(budget.rate_each, now)
                self.shares.put(peer, share)
            # A peer that asks too often takes nothing away from the others.
            if not share.take(now):
                return False
        if self._all is None:
            self._all = TokenBucket(budget.rate or 0.0, now, budget.burst)
        return self._all.take(now)
