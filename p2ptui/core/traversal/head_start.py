"""The head start of a direct path over the relay, if two nodes seem to be on one LAN.

A path inside a LAN is found as fast as a session through the server begins. So nothing is relayed
at first: on a LAN where all nodes connect to each other, the server would carry thousands of
datagrams and open a relay for each pair, for nothing.
"""

from collections.abc import Callable
from typing import Final

from p2ptui.core.peers import Peer
from p2ptui.core.relay.frames import RelayFrames
from p2ptui.core.sessions.handshake import Handshake
from p2ptui.core.state import NodeState
from p2ptui.core.traversal.attempt import Attempt
from p2ptui.core.traversal.offers import Offers
from p2ptui.core.traversal.path_calls import begin_call, go_on
from p2ptui.wire.address import Address

HEAD_START_S: Final = 1.0
"""An offer and its answer take two round trips to a server, and a round of checks that finds
nothing takes 0.7 s."""

LONGER_EACH_S: Final = 0.3
LONGEST_SHARE: Final = 0.5
"""If many searches run at once, the machines and the server are busy: each search gets the first of
these longer for each other one, up to this share of the call's timeout."""

SLOW_ANSWERS: Final = 3
"""If everything is slow, the head start is the time of this many answers."""

SHORTEST_HANDSHAKE_S: Final = 0.1


class HeadStart:
    """Holds the relay back, and starts it when the direct path is late.

    Args:
        state: The shared state.
        handshake: Connects to relayed nodes.
        offers: Know the attempts and this node's networks.
        relay: Reaches nodes through servers.
    """

    def __init__(
        self, state: NodeState, handshake: Handshake, offers: Offers, relay: RelayFrames
    ) -> None:
        self._state = state
        self._handshake = handshake
        self._offers = offers
        self._relay = relay
        self.listed_address: Callable[[str, float], Address | None] = lambda *_: None
        """Returns where a server lists a node."""

    def is_due(self, server: Peer, node_id: str, now: float) -> bool:
        """Whether the node seems to be on this node's LAN: behind the same outside address, or in
        a network that this machine is attached to."""
        there, here = self.listed_address(node_id, now), server.public_address
        if there is None:
            return False
        return (here is not None and there[0] == here[0]) or self._offers.own.is_near(there[0])

    def begin(self, attempt: Attempt, now: float, timeout_s: float) -> int:
        """Let a call first wait for the direct path; its token."""
        others = len(self._offers.asking - {attempt.node_id})
        longer_s = LONGER_EACH_S * others
        pause_s = min(HEAD_START_S + longer_s, LONGEST_SHARE * timeout_s)
        attempt.waiting.holds_relay_until = now + pause_s
        self._plan(attempt, now, now + LONGEST_SHARE * timeout_s)
        return begin_call(self._state, attempt, now, timeout_s)

    def _plan(self, attempt: Attempt, began: float, latest: float) -> None:
        until = attempt.waiting.holds_relay_until

        def expire(now: float) -> None:
            if until is None or attempt.waiting.holds_relay_until != until:
                return
            self._offers.slowness.note(now - until, now)
            # If everybody is late, so is the server, which would only have more to do.
            server = attempt.server.address
            slow_s = SLOW_ANSWERS * self._offers.slowness.answer_s(now, server)
            longer = min(began + HEAD_START_S + slow_s, latest)
            if longer > now and attempt.remote is None:
                attempt.waiting.holds_relay_until = longer
                self._plan(attempt, began, latest)
            else:
                self._expire(attempt, now)

        if until is not None:
            self._state.timers.schedule(until, expire)

    def _expire(self, attempt: Attempt, now: float) -> None:
        # The first round reports its end; later ones succeed less often.
        is_first = attempt.punching is not None and attempt.offer.round == 0
        if self._offers.get(attempt.node_id) is attempt and not is_first:
            self.check(attempt, now)

    def check(self, attempt: Attempt, now: float) -> None:
        """No round is running: the relay begins if its time has come."""
        until = attempt.waiting.holds_relay_until
        if until is not None and now >= until and attempt.direct is None:
            self.end(attempt, now)

    def end(self, attempt: Attempt, now: float) -> bool:
        """There is no direct path yet: calls that wait for it are relayed; returns whether there
        are any."""
        if attempt.waiting.holds_relay_until is None or not attempt.server.is_authenticated:
            return False
        attempt.waiting.holds_relay_until = None
        left_s = max(attempt.waiting.deadline - now, SHORTEST_HANDSHAKE_S)
        address = self._relay.open(attempt.server, attempt.node_id)
        return go_on(self._state, self._handshake, attempt.node_id, address, now, left_s) > 0
