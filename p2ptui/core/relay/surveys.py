"""Relayed sessions in use: which server is the quickest, and whether the flow has stopped."""

from collections.abc import Callable
from functools import partial
from typing import Final

from p2ptui.core.peers import Peer
from p2ptui.core.relay.way_checks import WayChecks
from p2ptui.core.relay.ways import SURVEY_CHECKS, RelayedSession, Way
from p2ptui.core.sessions.server_watch import ServerWatch
from p2ptui.core.state import NodeState

QUIET_S: Final = 0.5
FLOW_DATAGRAMS: Final = 4
"""This many datagrams and then none for this long are a flow that stopped: its receiver, which
waits for nothing, would not notice otherwise that the server has forgotten it."""

FIRST_SURVEY_S: Final = 1.0
SURVEY_S: Final = 30.0
SURVEY_SPACING_S: Final = 0.15
SURVEY_END_S: Final = 1.5
"""A session in use is surveyed soon after its beginning and at intervals: this is the spacing of
the checks, and answers until the end count."""

SURVEY_AGAIN_S: Final = 5.0
"""How often it is surveyed, at most, when the way in use seems to have become slow."""

TICK_S: Final = 2.0
IN_USE_S: Final = 30.0
"""A session with Data within the latter time is in use, and is surveyed at the former interval."""

ATTENTIVE_S: Final = 180.0
"""For this long after its last Data, a server from which nothing has arrived for half a tick is
pinged with each tick: it may have been restarted, and forwards nothing to nodes that have not
joined it again. That costs 340 bytes each time; later, keepalives and heartbeats must suffice."""

HOME_KNOWN_S: Final = 1.5
SPREAD_S: Final = 1.0
"""When this node has a new home, all sessions through servers of its cluster are surveyed, once the
home is known there: what is asked through another server is answered through the home."""

SLOWER: Final = 2.0
SLOWER_S: Final = 0.02
"""A session whose round trip has grown this much since the last survey is surveyed early."""


class Surveys:
    """Watches sessions while they are used.

    Args:
        state: The shared state.
        checks: Sends checks through the servers.
        watch: Checks whether a server is alive.
    """

    def __init__(self, state: NodeState, checks: WayChecks, watch: ServerWatch) -> None:
        self._state = state
        self._checks = checks
        self._watch = watch
        self.on_quicker: Callable[[RelayedSession, Way, str, float], None] = lambda *_: None
        """Called with a way that is worth a change, and with the reason in words."""

    def begin(self, session: RelayedSession, now: float) -> None:
        """A session begins."""
        when = now + FIRST_SURVEY_S * self._state.rng.uniform(0.8, 1.2)
        session.tick = self._state.timers.schedule(when, partial(self._look_first, session))

    def _look_first(self, session: RelayedSession, now: float) -> None:
        session.tick = None
        if self._checks.is_current(session):
            self._look(session, now)

    def note_received(self, peer: Peer, now: float) -> None:
        """A datagram from a peer came through a server."""
        session = self._checks.sessions.get(peer)
        if session is None:
            return
        session.heard_at = now
        session.heard += 1
        if session.quiet is None:
            session.quiet = self._state.timers.schedule(
                now + QUIET_S, partial(self._look_quiet, session)
            )
        if session.tick is None and now < peer.traffic.data_at + ATTENTIVE_S:
            session.tick = self._state.timers.schedule(now + TICK_S, partial(self._tick, session))

    def _look_quiet(self, session: RelayedSession, now: float) -> None:
        session.quiet = None
        if not self._checks.is_current(session):
            return
        if now < session.heard_at + QUIET_S:
            when = session.heard_at + QUIET_S
            session.quiet = self._state.timers.schedule(when, partial(self._look_quiet, session))
            return
        was_flow, session.heard = session.heard >= FLOW_DATAGRAMS, 0
        # The server's last datagram was the end of this flow.
        server = self._checks.server_in_use(session.peer)
        if was_flow and server is not None and server.last_received <= session.heard_at:
            self._watch.doubt(server, now)

    def _tick(self, session: RelayedSession, now: float) -> None:
        session.tick = None
        peer = session.peer
        if not self._checks.is_current(session) or now >= peer.traffic.data_at + ATTENTIVE_S:
            return
        session.tick = self._state.timers.schedule(now + TICK_S, partial(self._tick, session))
        server = self._checks.server_in_use(peer)
        if peer.path is None and server is not None and now >= server.last_received + TICK_S / 2:
            self._watch.doubt(server, now)
        if now < peer.traffic.data_at + IN_USE_S:
            self._look(session, now)

    def _look(self, session: RelayedSession, now: float) -> None:
        peer = session.peer
        if peer.path is not None or session.trouble is not None or not leads(self._state, session):
            return
        home, rtt_s = session.ways.get(peer.home), peer.channel.srtt or 0.0
        is_slower = home is not None and rtt_s > SLOWER * home.rtt_s + SLOWER_S
        if now >= session.surveyed_at + (SURVEY_AGAIN_S if is_slower else SURVEY_S):
            self.survey(session, now)

    def note_home(self, now: float) -> None:
        """Others reach this node through another server of its cluster from now on."""
        for session in self._checks.sessions.values():
            when = now + HOME_KNOWN_S + self._state.rng.uniform(0.0, SPREAD_S)
            self._state.timers.schedule(when, partial(self._look_moved, session))

    def _look_moved(self, session: RelayedSession, now: float) -> None:
        peer, cluster = session.peer, self._state.peers.cluster
        server = self._checks.server_in_use(peer)
        if server is None or server is cluster.home or not cluster.has(server):
            return
        if self._checks.is_current(session) and peer.path is None and session.trouble is None:
            self.survey(session, now)

    def survey(self, session: RelayedSession, now: float) -> None:
        """Measure all ways of a session, and switch to the quickest if that is worth it."""
        session.surveyed_at = now
        ways = self._checks.ways(session)
        if len(ways) < 2:
            return
        for way in ways:
            way.rtts_s.clear()

        def ask(at: float) -> None:
            if self._checks.is_current(session):
                for way in ways:
                    self._checks.check(session, way, at)

        for number in range(SURVEY_CHECKS):
            self._state.timers.schedule(now + number * SURVEY_SPACING_S, ask)
        self._state.timers.schedule(now + SURVEY_END_S, lambda at: self._judge(session, at))

    def _judge(self, session: RelayedSession, now: float) -> None:
        if not self._checks.is_current(session) or session.trouble is not None:
            return
        quicker = session.quicker(now)
        if quicker is not None:
            words = f"through this server a round trip takes {quicker.rtt_s * 1000:.0f} ms"
            home = session.ways[session.peer.home]
            if home.rtts_s:
                words += f" instead of {home.rtt_s * 1000:.0f}"
            self.on_quicker(session, quicker, words, now)


def leads(state: NodeState, session: RelayedSession) -> bool:
    """Whether this end switches for speed; the other one switches only when something fails."""
    return state.identity.id < session.peer.node_id
