"""Relayed sessions and the servers that could carry them: the quickest, with immediate failover.

Each end notices for itself when nothing comes back any more: messages without an Ack, a flow that
stops, a server that answers no Ping. Then it asks every server that it has joined, including the
one in use, whether the other end is behind it. If only other servers bring an answer, the session
moves, along with its queued messages and their state: to the session this is a change of address,
like a direct path. The end that moves announces it, and the other one follows, so that both use one
server.

While no server brings an answer, nothing is sent and no try is counted, for a while: the server may
be restarting, or the other end has not joined it again yet.

A session that began without a server is helped in the same way: when its own address falls silent
and only a server brings an answer, it continues through that server. See `rescue`.
"""

from collections.abc import Callable
from functools import partial
from typing import Final

from p2ptui.core.addresses import relay_address, relayed_node, visible_address
from p2ptui.core.connection import Method
from p2ptui.core.delivery import Delivery
from p2ptui.core.events import Path, PathChanged, PeerStatus
from p2ptui.core.peers import Peer
from p2ptui.core.relay.announcing import Announcing
from p2ptui.core.relay.frames import RelayFrames
from p2ptui.core.relay.rescue import SILENT_ROUNDS, goes_plainly, note_relayed
from p2ptui.core.relay.surveys import SURVEY_AGAIN_S, Surveys, leads
from p2ptui.core.relay.way_checks import WayChecks, is_relayed, relays
from p2ptui.core.relay.ways import RelayedSession, Trouble, Way
from p2ptui.core.sessions.lifecycle import Lifecycle
from p2ptui.core.sessions.server_watch import ServerWatch
from p2ptui.core.state import NodeState
from p2ptui.wire.address import Address, format_address

OVERDUE_S: Final = 0.25
"""A message without an Ack means something if nothing has arrived from its receiver for this long,
or for two round trips."""

SHORTEST_ROUND_S: Final = 0.25
LONGEST_ROUND_S: Final = 1.0
ROUND_GROWTH: Final = 1.4
EVEN_ROUNDS: Final = 3
"""The pauses between rounds of checks: even at first, then growing."""

DECIDING_ROUNDS: Final = 2
"""How many chances to answer the way in use has before it is left: one may be lost; at 10 % loss on
each of four paths that happens in a third of all cases."""

IDLE_ROUNDS: Final = 4
"""Rounds after which a session with nothing queued is left alone."""

PATIENCE_S: Final = 10.0
"""A session whose server is gone ends after this time, unless another server carries it. If that
server is back and only the other end has not joined it again, messages wait until the session
expires (`connection_timeout`): an idle node learns from a heartbeat that its server was
restarted."""

REFUSED_S: Final = 2.5
"""How long a refusal counts: each check that the server does not forward draws the next one."""

REFUSAL_PAUSE_S: Final = 2.0
"""A server's refusal means nothing within this time after an answer has come through it."""

SPREAD_S: Final = 0.2
"""Work that many sessions would do at once is spread over this time."""


class Failover:
    """Moves relayed sessions from server to server.

    Args:
        state: The shared state.
        delivery: Sends messages, and reports overdue ones.
        lifecycle: Reports peers that come and go.
        frames: Relays datagrams.
        watch: Checks whether a server is alive.
    """

    def __init__(
        self,
        state: NodeState,
        delivery: Delivery,
        lifecycle: Lifecycle,
        frames: RelayFrames,
        watch: ServerWatch,
    ) -> None:
        self._state = state
        self._delivery = delivery
        self._lifecycle = lifecycle
        self._frames = frames
        self._watch = watch
        self._checks = WayChecks(state, delivery, frames)
        self._checks.on_question = self._handle_question
        self._checks.on_answer = self._handle_answer
        self.way_checks = self._checks  # they take the messages
        self._announcing = Announcing(state, self._checks)
        self._surveys = Surveys(state, self._checks, watch)
        self._surveys.on_quicker = self._switch
        self.note_received = self._surveys.note_received
        self.note_home = self._surveys.note_home
        self.on_moved: Callable[[Peer, Peer, float], None] = lambda *_: None
        """Called with a node and the server that relays to it from now on."""
        self.on_rescued: Callable[[Peer, Peer, float], None] = lambda *_: None
        """Called likewise when this end has left the node's own address, which fell silent."""
        delivery.on_overdue = self._handle_overdue
        watch.on_silent.append(self._handle_silent)
        frames.on_refused_in_use = self._handle_refusal
        frames.keeps = self._keep
        lifecycle.on_joined.append(self._handle_joined)
        lifecycle.on_left.append(self._handle_left)
        lifecycle.on_removed.append(self._handle_removed)

    # Who comes and goes.

    def _handle_joined(self, peer: Peer, now: float) -> None:
        if relays(peer):
            self._checks.servers.put(peer.address, peer)
            for session in self._checks.sessions.values():
                self._soon(session, now, partial(self._welcome, peer))
        elif is_relayed(peer):
            session = RelayedSession(peer)
            self._checks.sessions.put(peer, session)
            self._surveys.begin(session, now)

    def _soon(
        self, session: RelayedSession, now: float, action: Callable[[RelayedSession, float], None]
    ) -> None:
        spread = SPREAD_S if len(self._checks.sessions) > 1 else 0.0
        self._state.timers.schedule(
            now + self._state.rng.uniform(0.0, spread), lambda at: action(session, at)
        )

    def _welcome(self, server: Peer, session: RelayedSession, now: float) -> None:
        """A server was joined, perhaps after a restart: does it carry this session?"""
        if self._checks.is_current(session) and self._checks.servers.get(server.address) is server:
            self._checks.check(session, self._checks.way(session, server), now)

    def _handle_left(self, peer: Peer, _now: float) -> None:
        if self._checks.servers.get(peer.address) is peer:
            del self._checks.servers[peer.address]
        session = self._checks.sessions.pop(peer, None)
        if session is not None:
            session.stop()
            peer.reach.find()

    def _handle_removed(self, peer: Peer, _reason: str) -> None:
        node_id = peer.node_id or relayed_node(peer.address)
        if node_id and (not peer.is_plain or peer in self._checks.sessions):
            for server in self._checks.servers.values():
                address = relay_address(server.address, node_id)
                if self._state.peers.at(address) is None:
                    self._frames.close(address)

    def _keep(self, peer: Peer, server: Peer, reason: str, now: float) -> bool:
        """The server of a relayed node is gone; returns whether its session waits."""
        session, parted = self._checks.sessions.get(peer), server.session.parted
        if session is None or self._state.closing or (parted and not self._checks.servers):
            return False
        session.lost_id = server.node_id
        self._wait(session, reason, now)
        self._strand(session)
        self._begin_trouble(session, now)
        return True

    def _wait(self, session: RelayedSession, reason: str, now: float) -> None:
        patience = self._state.timers.schedule(
            now + PATIENCE_S, lambda at: self._judge_lost(session, at)
        )
        session.lose(reason, patience)

    def _judge_lost(self, session: RelayedSession, now: float) -> None:
        peer, reason = session.peer, session.lost
        if reason is None or not self._checks.is_current(session):
            return
        if peer.path is not None:
            # It needs no server now; the next one that is joined is asked about it.
            session.find()
        elif self._is_back(session):
            self._wait(session, reason, now)  # for the other end: that is what expiry is for
        else:
            self._lifecycle.remove(peer, PeerStatus.DISCONNECTED, now, reason)

    def _is_back(self, session: RelayedSession) -> bool:
        """Whether the lost server has been joined again, at the same address or another. Any other
        server that carries the session has shown it by now."""
        servers = self._checks.servers
        is_there = visible_address(session.peer.home) in servers
        return is_there or any(one.node_id == session.lost_id for one in servers.values())

    def _handle_question(self, session: RelayedSession, way: Way, use: bool, now: float) -> None:
        if use and way.address != session.peer.home:
            # Both ends have moved at once: one of them stays where it went.
            if not (session.announced and leads(self._state, session)):
                self._go(session, way, "the other side uses this server now", now)
        elif session.trouble is not None and now >= way.asked_at + SHORTEST_ROUND_S / 2:
            self._checks.check(session, way, now)  # it is back, or was found by the other side

    def _handle_answer(self, session: RelayedSession, way: Way, nonce: str, now: float) -> None:
        if nonce == session.announced:
            session.announced = ""
        peer, trouble = session.peer, session.trouble
        way.server.liveness.note_answer(now)  # it forwarded the check there, and the answer back
        if goes_plainly(peer):
            if trouble is not None:
                self._judge_address(session, trouble, now)
            return
        was_silent = trouble is not None and peer.last_received <= trouble.began
        peer.liveness.hear(now)
        if way.address == peer.sends_to:
            peer.liveness.note_answer(now)
        if way.address == peer.home:
            self._recover(session, way, now, was_silent=was_silent)
        elif self._checks.server_in_use(peer) is None or (
            trouble is not None and self._is_hopeless(session, now)
        ):
            self._leave(session, way, now)

    def _recover(self, session: RelayedSession, way: Way, now: float, *, was_silent: bool) -> None:
        """The way in use works, perhaps again."""
        trouble, was_lost = session.trouble, session.lost is not None
        session.recovered_at = now
        session.find()
        if trouble is not None and now >= session.surveyed_at + SURVEY_AGAIN_S:
            best = session.best(trouble.began)
            if best is not None and best is not way and session.is_quicker(best, way):
                self._surveys.survey(session, now)  # it is there, but slow
        was_stranded = self._end_trouble(session)
        if was_lost:
            self.on_moved(session.peer, way.server, now)
        if (was_stranded or was_silent) and session.peer.path is None:
            self._delivery.hasten(session.peer, now)

    # Whether a node's own address can be reached is found out elsewhere: see `resumption`.

    def may_hold(self, peer: Peer) -> bool:
        """Whether a server may carry on a session that began without one."""
        return bool(self._checks.servers) and self._checks.may_adopt(peer)

    def hold(self, peer: Peer, reason: str, now: float) -> None:
        """The node's own address may no longer work: keep what is queued, and ask the servers.

        Args:
            peer: The peer whose session may be held.
            reason: Why, in one line.
            now: The time, seconds.
        """
        session = self._checks.adopt(peer)
        if session is not None and goes_plainly(peer):
            session.held = reason
            peer.reach.stranded = True
            self._begin_trouble(session, now)

    def is_held(self, peer: Peer) -> bool:
        """Whether its session is still held."""
        session = self._checks.sessions.get(peer)
        return session is not None and session.held is not None

    def let_go(self, peer: Peer, now: float) -> None:
        """Nothing has come from its own address in time: messages no longer wait."""
        session = self._checks.sessions.get(peer)
        if session is not None and session.held is not None:
            session.held = None
            session.peer.reach.find()
            self._delivery.hasten(peer, now)

    # Trouble.

    def _handle_overdue(self, peer: Peer, now: float) -> None:
        """Messages to a peer were not acknowledged in time."""
        self._doubt(peer, now)
        session = self._troubled(peer)
        if session is None or session.trouble is not None:
            return
        rtt_s = peer.channel.srtt or 0.0
        if now - peer.hears_at >= max(OVERDUE_S, 2 * rtt_s):
            self._begin_trouble(session, now)

    def check_beat(self, peer: Peer, now: float) -> None:
        """A heartbeat of a peer is due."""
        if peer.is_silent(now):
            self._doubt(peer, now)
            session = self._troubled(peer)
            if session is not None:
                self._begin_trouble(session, now)

    def _doubt(self, peer: Peer, now: float) -> None:
        """Watch a joined server closely, even one whose own session may be rescued: others may
        depend on it."""
        if peer.is_joined_server:
            self._watch.doubt(peer, now)

    def _troubled(self, peer: Peer) -> RelayedSession | None:
        """The session that may need another way, unless its direct path is watched elsewhere."""
        session = self._checks.sessions.get(peer)
        if session is None and self._checks.servers:
            return self._checks.adopt(peer)
        is_watched = peer.path is not None and not goes_plainly(peer)
        return None if is_watched else session

    def _handle_silent(self, server: Peer, now: float) -> None:
        for session in list(self._checks.sessions.values()):
            if visible_address(session.peer.home) == server.address:
                self._soon(session, now, self._begin_trouble)

    def _handle_refusal(self, server: Peer, peer: Peer, now: float) -> None:
        """A server does not forward a datagram to a node with which there is a session."""
        session = self._checks.sessions.get(peer)
        if session is None or self._checks.servers.get(server.address) is not server:
            return
        way = self._checks.way(session, server)
        # Forged refusals must not cause endless checks of the way.
        if now < session.recovered_at + REFUSAL_PAUSE_S:
            return
        way.refused_at = now
        if way.address == peer.home and peer.path is None:
            self._begin_trouble(session, now)

    def _begin_trouble(self, session: RelayedSession, now: float) -> None:
        if session.trouble is None and self._checks.is_current(session):
            session.trouble = Trouble(now)
            self._round(session, now)

    def _round(self, session: RelayedSession, now: float) -> None:
        trouble = session.trouble
        if trouble is None or not self._checks.is_current(session):
            return
        is_plain = goes_plainly(session.peer)
        if (self._judge_address if is_plain else self._judge_server)(session, trouble, now):
            return
        is_wanted = session.peer.channel.waiting or session.lost or session.held
        if trouble.rounds >= IDLE_ROUNDS and not is_wanted:
            self._end_trouble(session)
            return
        self._ask_all(session, trouble, now)

    def _judge_server(self, session: RelayedSession, trouble: Trouble, now: float) -> bool:
        """The server in use has had its time; returns whether the session has left it."""
        if trouble.rounds < DECIDING_ROUNDS:
            return False
        best = session.best(trouble.began)
        if best is not None:
            self._leave(session, best, now)
            return True
        if session.lost is not None or self._is_hopeless(session, now):
            self._strand(session)
        elif session.peer.reach.find():  # the server answers again, and does not refuse
            self._delivery.hasten(session.peer, now)
        return False

    def _judge_address(self, session: RelayedSession, trouble: Trouble, now: float) -> bool:
        """Whether the node's own address has answered, or a server carries the session instead."""
        peer = session.peer
        if peer.hears_at > trouble.began and session.held is None:
            if self._end_trouble(session):
                self._delivery.hasten(peer, now)
            return True
        needed = SILENT_ROUNDS if session.held is None else DECIDING_ROUNDS
        best = session.best(trouble.began) if trouble.rounds >= needed else None
        if best is None:
            return False
        held = session.held
        self._end_trouble(session)
        self._checks.adopt(peer, session)
        where = format_address(visible_address(peer.sends_to))
        words = f"nothing comes from {where} any more" + (f": {held}" if held else "")
        self._switch(session, best, words, now)
        if peer.home == best.address:
            self.on_rescued(peer, best.server, now)
        return True

    def _ask_all(self, session: RelayedSession, trouble: Trouble, now: float) -> None:
        trouble.rounds += 1
        for way in self._checks.ways(session):
            self._checks.check(session, way, now)
            self._watch.doubt(way.server, now)
        if goes_plainly(session.peer):
            self._delivery.ping(session.peer, now)
        growth = ROUND_GROWTH ** min(max(trouble.rounds - EVEN_ROUNDS, 0), 16)
        pause_s = min(SHORTEST_ROUND_S * growth, LONGEST_ROUND_S)
        session.timer = self._state.timers.schedule(now + pause_s, partial(self._round, session))

    def _is_hopeless(self, session: RelayedSession, now: float) -> bool:
        """Whether the reason for the silence is known: the server is gone, or does not carry it."""
        peer = session.peer
        server = self._checks.server_in_use(peer)
        if server is None:
            return True
        way = session.ways.get(peer.home)
        refused = way is not None and now < way.refused_at + REFUSED_S
        return refused or server.liveness.unanswered >= DECIDING_ROUNDS

    def _strand(self, session: RelayedSession) -> None:
        peer = session.peer
        peer.reach.stranded = peer.path is None
        if peer.reach.stranded and relayed_node(peer.address) is None:
            # The address where the session began is a way too: from now on it is asked as well.
            session.lost = None
            self._state.peers.take_home(peer, peer.address)

    def _end_trouble(self, session: RelayedSession) -> bool:
        """All is well; returns whether the session had been stranded."""
        session.trouble = session.held = None
        session.stop(("timer",))
        was_stranded = session.peer.reach.find()
        self._checks.release(session)
        return was_stranded

    # Changes.

    def _leave(self, session: RelayedSession, way: Way, now: float) -> None:
        """The way in use fails, and another one works."""
        where = format_address(visible_address(session.peer.home))
        words = f"the server at {where} no longer delivers to the node"
        self._switch(session, way, words, now)

    def _switch(self, session: RelayedSession, way: Way, reason: str, now: float) -> None:
        """Switch to another server, and tell the other end."""
        self._go(session, way, reason, now)
        self._announcing.begin(session, way, now)

    def _go(self, session: RelayedSession, way: Way, reason: str, now: float) -> None:
        peer = session.peer
        if not self._checks.admit(session, way):
            return
        left = self._checks.server_in_use(peer)
        if goes_plainly(peer):
            self._state.peers.leave_path(peer)
            note_relayed(peer, reason)
        self._state.peers.take_home(peer, way.address)
        if left is not None:
            self._watch.doubt(left, now)  # if it is being restarted, it should be usable again soon
        session.note_switch(now)
        session.find()
        session.announced = ""
        self._end_trouble(session)
        self.on_moved(peer, way.server, now)
        if peer.path is None:
            self._state.emit(
                PathChanged(
                    peer.node_id, Path.RELAY, way.server.address, Method.RELAY.value, reason
                )
            )
            self._delivery.hasten(peer, now)

    def note_restart(self, peer: Peer, address: Address, _now: float) -> None:
        """A relayed node begins a new session, through the server of this address."""
        if address == peer.address or address in self._state.peers.relayed.of(peer):
            self._state.peers.take_home(peer, address)
