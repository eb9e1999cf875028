"""Why a node is relayed, for as long as that is true.

A reason that was found says where both nodes were. Once either is elsewhere it is withdrawn, and
the next search finds another one.
"""

from dataclasses import dataclass
from typing import Final

from p2ptui.core.state import NodeState
from p2ptui.core.traversal.attempt import Attempt
from p2ptui.core.traversal.check_round import shared_network, why_relayed
from p2ptui.core.traversal.direct_paths import DirectPaths
from p2ptui.core.traversal.offers import Offers
from p2ptui.core.traversal.own_networks import Network, OwnNetworks

ELSEWHERE: Final = "one of the two has changed networks; a direct path is searched again"
"""Where a reason was withdrawn."""

UNANSWERED: Final = "the other node does not answer offers of a direct path"
UNANSWERED_NOW: Final = "the other node stopped answering offers of a direct path"


@dataclass(frozen=True, slots=True)
class _Whereabouts:
    """Where two nodes were when a reason was found."""

    here: str | None
    """Where the server saw this one; None if it did not say."""
    there: str | None
    shared: Network | None
    networks: frozenset[Network]
    """Those of this machine that others share: its own bridges come and go."""


class Reasons:
    """Finds them, tells them, and withdraws them.

    Args:
        state: The shared ground.
        offers: The attempts.
        paths: Tell the user.
    """

    def __init__(self, state: NodeState, offers: Offers, paths: DirectPaths) -> None:
        self._state = state
        self._offers = offers
        self._paths = paths
        self._found_at: dict[Attempt, _Whereabouts] = {}
        offers.on_networks_changed = self._check_all

    def __len__(self) -> int:
        return len(self._found_at)

    def why_relayed(self, attempt: Attempt) -> str:
        """What a search that has ended found."""
        remote = attempt.remote
        if remote is None:
            return UNANSWERED
        if attempt.controlling and remote.round < attempt.offer.round:
            # What it said of itself before may be true no more.
            return UNANSWERED_NOW
        offers = self._offers
        return why_relayed(attempt, offers.facts, self._state.config, offers.own)

    def tell(self, attempt: Attempt, reason: str) -> None:
        """Tell what a search found."""
        self._found_at[attempt] = self._whereabouts(attempt)
        self._paths.explain(attempt, reason, ends_search=True)

    def check(self, attempt: Attempt) -> None:
        """Something may be different from when a reason was found: if so, withdraw it."""
        found_at = self._found_at.get(attempt)
        if found_at is None:
            return
        if attempt.direct is not None:
            del self._found_at[attempt]
        elif _are_apart(found_at, self._whereabouts(attempt), attempt):
            self.withdraw(attempt)

    def withdraw(self, attempt: Attempt) -> None:
        """One of the two is elsewhere: what was found is true no more."""
        if self._found_at.pop(attempt, None) is not None and attempt.direct is None:
            self._paths.explain(attempt, ELSEWHERE)

    def forget(self, attempt: Attempt) -> None:
        """An attempt is over."""
        self._found_at.pop(attempt, None)

    def _check_all(self) -> None:
        for attempt in list(self._found_at):
            self.check(attempt)

    def _whereabouts(self, attempt: Attempt) -> _Whereabouts:
        here, there, own = attempt.server.public_address, attempt.observed, self._offers.own
        return _Whereabouts(
            None if here is None else here[0],
            None if there is None else there[0],
            shared_network(attempt, own),
            _networks(own),
        )


def _networks(own: OwnNetworks) -> frozenset[Network]:
    return frozenset(one.network for one in own.attached if own.is_near(one.host))


def _are_apart(then: _Whereabouts, now: _Whereabouts, attempt: Attempt) -> bool:
    """Whether one of the two is elsewhere than it was; what is not known yet counts as before."""
    if then.networks != now.networks:
        return True
    for before, after in ((then.here, now.here), (then.there, now.there)):
        if after is not None and before != after:
            return True
    # Later rounds of a search need not tell all addresses again.
    is_told = attempt.remote is not None and attempt.remote.round == 0
    return is_told and attempt.observed is not None and then.shared != now.shared
