"""An end that switches to another server announces it until the other end has answered."""

from typing import Final

from p2ptui.core.relay.way_checks import WayChecks
from p2ptui.core.relay.ways import RelayedSession, Way
from p2ptui.core.state import NodeState

ANNOUNCEMENTS: Final = 6
ANNOUNCEMENT_PAUSE_S: Final = 0.1
"""A change is announced until the other end answers; each pause is twice the previous one."""


class Announcing:
    """Announces changes to the other ends.

    Args:
        state: The shared state.
        checks: Sends checks through the servers.
    """

    def __init__(self, state: NodeState, checks: WayChecks) -> None:
        self._state = state
        self._checks = checks

    def begin(self, session: RelayedSession, way: Way, now: float) -> None:
        """A session uses this way from now on."""
        self._announce(session, way, ANNOUNCEMENT_PAUSE_S, ANNOUNCEMENTS, now)

    def _announce(
        self, session: RelayedSession, way: Way, pause_s: float, left: int, now: float
    ) -> None:
        if not self._checks.is_current(session) or session.peer.home != way.address or not left:
            return
        session.announced = nonce = self._checks.check(session, way, now, use=True)

        def again(at: float) -> None:
            if session.announced == nonce:
                self._announce(session, way, 2 * pause_s, left - 1, at)

        self._state.timers.schedule(now + pause_s, again)
