"""Why a node is relayed, for as long as that is true.

A reason records where both nodes were. Once either has moved, it is withdrawn, and the next search
finds a new one.
"""

from dataclasses import dataclass, replace
from ipaddress import ip_network
from typing import Final

from p2ptui.bounded import BoundedTable
from p2ptui.core.state import NodeState
from p2ptui.core.traversal.attempt import Attempt
from p2ptui.core.traversal.check_round import why_relayed
from p2ptui.core.traversal.common_ground import shared_network
from p2ptui.core.traversal.direct_paths import DirectPaths
from p2ptui.core.traversal.offers import MAX_ATTEMPTS, Offers
from p2ptui.core.traversal.own_networks import Network, OwnNetworks
from p2ptui.wire.address import Address

ELSEWHERE: Final = "one of the two has changed networks; searching for a direct path again"
"""The text where a reason was withdrawn."""

IPV6_NETWORK_BITS: Final = 64
"""The bits of an IPv6 address that name the network (RFC 4291, section 2.5.4)."""

UNANSWERED: Final = "the other node does not answer offers of a direct path"
UNANSWERED_NOW: Final = "the other node stopped answering offers of a direct path"


@dataclass(frozen=True, slots=True)
class _Whereabouts:
    """Where two nodes were when a reason was found; None: unknown."""

    server: Address
    """The server that saw them: another one may see them elsewhere, for example one in the same
    network."""
    here: str | None
    """Where it saw this node."""
    there: str | None
    shared: str | None
    """The network in which both were; empty if none."""
    networks: frozenset[Network]
    """The networks of this machine that others share: its own bridges come and go. Empty:
    unknown."""

    def is_left_in(self, now: "_Whereabouts") -> bool:
        """Whether one of the two is elsewhere now, as far as both places are known."""
        if self.networks and now.networks and not self.networks <= now.networks:
            return True  # one more may have been found late: this one is not left because of that
        if self.server != now.server:
            return False
        is_left = _differ(self.here, now.here) or _differ(self.there, now.there)
        # Which network is shared depends on where the server sees this node.
        is_comparable = (self.here is None) == (now.here is None)
        is_apart = None not in (self.shared, now.shared) and self.shared != now.shared
        return is_left or (is_comparable and is_apart)

    def with_news(self, now: "_Whereabouts") -> "_Whereabouts":
        """With what was learnt since, or from another server."""
        networks = self.networks or now.networks
        if self.server != now.server:
            return replace(now, networks=networks)
        is_placed = self.here is not None or now.here is None
        return _Whereabouts(
            self.server,
            now.here if self.here is None else self.here,
            now.there if self.there is None else self.there,
            self.shared if is_placed and self.shared is not None else now.shared,
            networks,
        )


class Reasons:
    """Finds reasons, reports them, and withdraws them.

    Args:
        state: The shared state.
        offers: The attempts.
        paths: Tell the user.
    """

    def __init__(self, state: NodeState, offers: Offers, paths: DirectPaths) -> None:
        self._state = state
        self._offers = offers
        self._paths = paths
        self._found_at: BoundedTable[Attempt, _Whereabouts] = BoundedTable(MAX_ATTEMPTS)
        offers.on_networks_changed = self._check_all

    def __len__(self) -> int:
        return len(self._found_at)

    def why_relayed(self, attempt: Attempt) -> str:
        """What a search that has ended found."""
        remote = attempt.remote
        if remote is None:
            return UNANSWERED
        if attempt.controlling and remote.round < attempt.offer.round:
            # What it said about itself before may no longer hold.
            return UNANSWERED_NOW
        offers = self._offers
        return why_relayed(attempt, offers.facts, self._state.config, offers.own)

    def tell(self, attempt: Attempt, reason: str) -> None:
        """Report the result of a search."""
        self._found_at.put(attempt, self._whereabouts(attempt, is_found=True))
        self._paths.explain(attempt, reason, ends_search=True)

    def check(self, attempt: Attempt) -> None:
        """Something may have changed since a reason was found: if so, withdraw it."""
        found_at = self._found_at.get(attempt)
        if found_at is None:
            return
        if attempt.direct is not None:
            del self._found_at[attempt]
            return
        now = self._whereabouts(attempt)
        if found_at.is_left_in(now):
            self.withdraw(attempt)
        else:
            self._found_at.replace(attempt, found_at.with_news(now))

    def withdraw(self, attempt: Attempt) -> None:
        """One of the two has moved: the reason no longer holds."""
        if self._found_at.pop(attempt, None) is not None and attempt.direct is None:
            self._paths.explain(attempt, ELSEWHERE)

    def forget(self, attempt: Attempt) -> None:
        """An attempt is over."""
        self._found_at.pop(attempt, None)

    def _check_all(self) -> None:
        for attempt in list(self._found_at):
            self.check(attempt)

    def _whereabouts(self, attempt: Attempt, *, is_found: bool = False) -> _Whereabouts:
        """Where both are; `is_found` if a search has ended and has all its information."""
        own, remote = self._offers.own, attempt.remote
        networks = _networks(own)
        # Later rounds of a search need not offer all addresses again.
        is_told = remote is not None and (is_found or remote.round == 0)
        shared = None
        if networks and is_told and attempt.observed is not None:
            shared = str(shared_network(attempt, own) or "")
        return _Whereabouts(
            attempt.server.address,
            _place(attempt.server.public_address),
            _place(attempt.observed),
            shared,
            networks,
        )


def _differ(before: str | None, after: str | None) -> bool:
    """Whether both places are known and differ; over the other IP version, a node is seen elsewhere
    without having moved."""
    if before is None or after is None or (":" in before) != (":" in after):
        return False
    return before != after


def _place(address: Address | None) -> str | None:
    """What stays the same until a node moves: a host has many IPv6 addresses and alternates
    them."""
    if address is None or ":" not in address[0]:
        return None if address is None else address[0]
    return str(ip_network((address[0].partition("%")[0], IPV6_NETWORK_BITS), strict=False))


def _networks(own: OwnNetworks) -> frozenset[Network]:
    return frozenset(one.network for one in own.attached if own.is_near(one.host))
