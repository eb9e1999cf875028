"""Who is still there: heartbeats, expiry, answers to Pings, and suspicions settled by a Ping."""

import math
from collections.abc import Callable
from typing import Final, TypeAlias

from msgspec import Raw

from p2ptui.core.accounts import Reason
from p2ptui.core.delivery import Delivery, not_sent
from p2ptui.core.events import PeerStatus
from p2ptui.core.peers import Dialect, Peer, Suspicion
from p2ptui.core.peers.timing import FIRST_AFTER_S, HOPELESS_PINGS, PAUSE_S, WINDOW_S
from p2ptui.core.sessions.lifecycle import Lifecycle
from p2ptui.core.state import NodeState
from p2ptui.text import seconds_words
from p2ptui.wire.codec import encode_payload
from p2ptui.wire.message import NULL, Capability, DisconnectPayload, MessageType

HEARTBEAT_JITTER: Final = 0.1
"""Heartbeats drift apart by this fraction of their interval."""

MANY_PEERS: Final = 64
TICKS_PER_S: Final = 16
TICKS_A_BEAT: Final = 64
"""With more peers than this, their due actions wait for the next tick. There are this many ticks a
second, or between two heartbeats, whichever is more: the process wakes up for all peers together
rather than for each. A wake-up costs about as much as pinging a peer and handling its answer."""
SECRET_TICKS_PER_S: Final = 256
"""Ticks for actions whose moment nobody may guess: 4 ms reveal nothing, since answers may take
`TOLERANCE_S` longer than others. In a rush every tick has something planned, so that newcomers
need no timers of their own."""
CROWD: Final = 1000
TICKS_OF_CROWD: Final = 4
THRONG: Final = 4000
TICKS_OF_THRONG: Final = 2
"""With this many peers a tick has many of them anyway, and there are fewer ticks."""

UNANSWERED_SHARE: Final = 0.2
"""After an unanswered Ping the next one follows after this fraction of the interval, from the first
on: silence to a single Ping must not end a session, and with only two within a timeout, at 20 %
loss, one peer in three would be lost within a quarter of an hour."""

EARLY_SHARE: Final = 0.4
"""A heartbeat due within this fraction of the interval replaces a keepalive."""

LATEST_SHARE: Final = 0.98
"""Under seal a heartbeat is sent no later than the interval, including all waiting for others: in
30 s one keepalive, in the middle, keeps the path open from one answered heartbeat to the next."""

ANSWERED_SHARE: Final = 1 - 2 * HEARTBEAT_JITTER
"""A server that has answered anything under seal within this fraction of the interval, a keepalive
for example, is not pinged: nobody else can have answered, so that proves as much as a Pong."""

LAST_CHANCE_SHARE: Final = 0.2
LAST_CHANCE_PINGS: Final = 8
"""In this last fraction of the timeout this many Pings are sent to a peer that has answered before:
if 2 % of all datagrams are lost, fewer than one session in a million is lost to that in a day.
With only the heartbeats, the last of which may come too late for an answer, it was one in two
hundred."""

SEVERAL_PINGS: Final = 2
"""Pings that a peer that never answered must miss, if its allowance permits that many."""

SUSPICION_PROBES: Final = 3
SUSPICION_INTERVAL_S: Final = 0.3
"""A suspected peer is sent three Pings over 0.6 s, and is judged at 0.9 s."""

CLOSER_PROBES: Final = 9
CLOSER_INTERVAL_S: Final = 0.1
"""One that has proved its address is pinged more often in the same time, until it answers: if every
fifth datagram is lost, one in ten thousand answers none of these, and one in twenty none of
three."""

ALARMED_S: Final = 60.0
ALARMED_PROBES: Final = 2 * CLOSER_PROBES
"""For this long after a wrong doubt, goodbyes count as forged: the next doubt is twice as long."""

DOUBTFUL_PROBES: Final = 6
DOUBTFUL_INTERVAL_S: Final = 0.15
"""The same for a peer that has not proved its address, after a wrong doubt, as far as what came
from there pays for it. If that pays for fewer than `SUSPICION_PROBES`, each doubt waits a while
until it does: a short goodbye pays for one Ping, and a lost Ping says nothing."""

LONGEST_DOUBT_S: Final = 2.9
"""How long a suspicion waits: after a genuine goodbye nothing arrives that pays for Pings."""

PROVING_PROBES: Final = 12
PROVING_INTERVAL_S: Final = 0.2
"""How often a peer whose goodbyes name its session is asked after one that does not: that one is
most likely forged, and there is no hurry."""

UNDER_WAY_S: Final = 0.25
"""A datagram this soon after a goodbye may have been sent before it; a later one shows that it was
forged."""

SUSPICION_PAUSE_S: Final = 1.0
"""A peer that was there after all is not suspected again this soon, whatever comes in its name."""

REJOIN_JITTER_S: Final = 0.1
"""Many clients learn at the same time that their server was restarted."""


_Pace: TypeAlias = tuple[int, float]
"""How many Pings, and seconds between two."""


class Liveness:
    """Keeps sessions alive, and ends those whose peer is gone.

    Args:
        state: The shared state.
        delivery: Sends messages.
        lifecycle: Where lost peers are removed.
    """

    def __init__(self, state: NodeState, delivery: Delivery, lifecycle: Lifecycle) -> None:
        self._state = state
        self._delivery = delivery
        self._lifecycle = lifecycle
        self.on_forgotten: Callable[[Peer, float, str], None] | None = None
        """Called when a peer that this node had asked for no longer knows it."""
        self._heartbeat = self._beat  # one for all peers
        self.is_asked_anew: Callable[[Peer], bool] = lambda _: False
        """Whether a peer is asked for a new session while the old one goes on."""
        self.on_beat: list[Callable[[Peer, float], None]] = []
        """Called with each heartbeat of a peer."""
        self.on_pinged: Callable[[Peer, float], None] = lambda *_: None
        """Called with each Ping of a peer."""
        self.tell_whither: Callable[[Peer], bytes] = lambda _: b""
        """Called when this node says goodbye to a peer; returns where the peer may go instead, as
        JSON."""
        self.on_goodbye: Callable[[Peer, float], bool] = lambda *_: False
        """Called after a genuine goodbye; returns whether the peer goes on at another address."""
        lifecycle.on_joined.append(self._begin)
        delivery.on_proved.append(self._handle_proved)

    @property
    def patience_s(self) -> float:
        """How long a peer may be silent before it counts as lost, seconds."""
        return self._state.config.server.connection_timeout

    def _begin(self, peer: Peer, now: float) -> None:
        self._spread(peer, now)
        if peer.initiated:
            # The side that asked for the session wants to know how far away the other is.
            self._delivery.ping(peer, now)

    def _handle_proved(self, peer: Peer, now: float) -> None:
        was_timed = not peer.initiated and Capability.RETRANSMIT not in peer.facts.capabilities
        if was_timed and peer.is_authenticated:
            self._spread(peer, now)

    def _spread(self, peer: Peer, now: float) -> None:
        # The first heartbeat falls anywhere in the interval: peers that came together
        # are not pinged together.
        if self._may_be_timed(peer):
            # Messages wait for the proof: it begins as soon as the client has got its answers.
            first = now + self._state.rng.uniform(0.0, WINDOW_S) + FIRST_AFTER_S
        else:
            interval = self._state.config.server.heartbeat_interval
            first = now + interval * self._state.rng.uniform(HEARTBEAT_JITTER, 1.0)
        peer.liveness.heartbeat_due = first
        self._plan(peer, min(first, self._last_chance(peer)))

    def _plan(self, peer: Peer, heartbeat: float, *, is_spent: bool = False) -> None:
        server = self._state.config.server
        when = min(heartbeat, peer.liveness.last_received + server.connection_timeout)
        peers = len(self._state.peers)
        if peers > MANY_PEERS:
            ticks = _ticks_of(peers)
            if peer.proves_by_timing and not is_spent:
                ticks = SECRET_TICKS_PER_S
            ticks_per_s = max(ticks, TICKS_A_BEAT / server.heartbeat_interval)
            when = math.ceil(when * ticks_per_s) / ticks_per_s
        peer.session.schedule_about(self._state.timers, when, self._heartbeat, peer)

    def _plan_beat(self, peer: Peer) -> None:
        """The last Ping was answered: the process need not wake up before the next one is due."""
        beat = peer.liveness.heartbeat_due
        if peer.is_authenticated and peer.session.next_step_at < beat:
            self._plan(peer, min(beat, self._last_chance(peer)))

    def _last_chance(self, peer: Peer) -> float:
        """When the last Pings to a silent peer begin."""
        timeout = self._state.config.server.connection_timeout
        return peer.liveness.last_received + timeout * (1 - LAST_CHANCE_SHARE)

    def _beat(self, peer: Peer, now: float) -> None:
        if not peer.is_authenticated:
            return
        liveness, server = peer.liveness, self._state.config.server
        timeout = server.connection_timeout
        if now >= liveness.last_received + timeout:  # as planned, to the last digit
            reason = f"nothing heard for {seconds_words(timeout)}"
            self._lifecycle.remove(peer, PeerStatus.DISCONNECTED, now, reason)
            return
        peer.rest(now)  # if something other than a message has activated it
        last_chance = self._last_chance(peer)
        if now >= last_chance:
            has_answered = peer.purse.proved or liveness.has_answered_ping
            is_spent = False
            if has_answered or liveness.outstanding < SEVERAL_PINGS:
                is_spent = not self._delivery.ping(peer, now)
            # Only its own datagrams could pay for one, and they would end its silence.
            pings = 1 if is_spent else LAST_CHANCE_PINGS
            self._plan(peer, now + timeout * LAST_CHANCE_SHARE / pings, is_spent=is_spent)
            return
        if now < liveness.heartbeat_due and not liveness.has_missed_ping:
            self._plan(peer, min(liveness.heartbeat_due, last_chance))
            return
        if self._may_be_timed(peer):
            self._beat_in_secret(peer, now)
            return
        interval = server.heartbeat_interval
        longest_s = (1 + HEARTBEAT_JITTER) * interval
        has_answered = now < liveness.answered_at + ANSWERED_SHARE * interval
        if has_answered and peer.is_secured and peer.is_joined_server:
            self._tell_beat(peer, now)
            due = peer.liveness.heartbeat_due = liveness.answered_at + longest_s
            self._plan(peer, min(due, last_chance))
            return
        is_drawn = now >= liveness.heartbeat_due
        is_secret = is_drawn and 2 * HEARTBEAT_JITTER * interval >= WINDOW_S
        self._ask(peer, now, is_secret=is_secret)

    def _ask(self, peer: Peer, now: float, *, is_secret: bool) -> None:
        """Send a heartbeat, and plan the next one."""
        interval = self._state.config.server.heartbeat_interval
        self._delivery.ping(peer, now, is_secret=is_secret)
        self._tell_beat(peer, now)
        latest = LATEST_SHARE if peer.is_secured else 1 + HEARTBEAT_JITTER
        interval *= self._state.rng.uniform(1 - HEARTBEAT_JITTER, latest)
        peer.liveness.heartbeat_due = now + interval
        self._plan(peer, min(now + UNANSWERED_SHARE * interval, self._last_chance(peer)))

    def beat_early(self, peer: Peer, now: float) -> bool:
        """Something must be sent to a server: send a heartbeat that is due soon, if there is one.

        Returns:
            Whether it left.
        """
        liveness = peer.liveness
        early_s = EARLY_SHARE * self._state.config.server.heartbeat_interval
        if liveness.heartbeat_due > now + early_s or liveness.unanswered:
            return False
        self._ask(peer, now, is_secret=False)
        return True

    def _tell_beat(self, peer: Peer, now: float) -> None:
        for listener in self.on_beat:
            listener(peer, now)

    def _may_be_timed(self, peer: Peer) -> bool:
        """Whether a peer that this node did not ask may prove its address by timing, and there is
        time."""
        if peer.initiated or not peer.proves_by_timing:
            return False
        return self.patience_s * (1 - LAST_CHANCE_SHARE) > PAUSE_S + WINDOW_S

    def _beat_in_secret(self, peer: Peer, now: float) -> None:
        """Send a heartbeat at a moment that nobody can guess; the next one soon, unless that is in
        vain."""
        liveness = peer.liveness
        # A peer that speaks but does not answer is there: its credit is for its own requests.
        is_vain = liveness.unanswered > 0 and not liveness.has_missed_ping
        is_spent = False
        if not is_vain or now - liveness.last_ping_sent > WINDOW_S:
            is_spent = not self._delivery.ping(peer, now, is_secret=now >= liveness.heartbeat_due)
        self._tell_beat(peer, now)
        interval = self._state.config.server.heartbeat_interval
        pause_s = PAUSE_S
        if not liveness.signs.has_begun:
            pause_s = max(pause_s, UNANSWERED_SHARE * interval - WINDOW_S / 2)
        liveness.signs.is_under_way = not is_vain
        if is_vain or liveness.unanswered > HOPELESS_PINGS:
            pause_s = max(pause_s, interval - WINDOW_S / 2)
        if is_spent:
            # It is checked ever more rarely, at the same ticks as others: none of this is secret.
            pause_s = max(pause_s, min(now - liveness.last_received, interval))
        peer.liveness.heartbeat_due = now + self._state.rng.uniform(pause_s, pause_s + WINDOW_S)
        next_at = min(liveness.heartbeat_due, self._last_chance(peer))
        self._plan(peer, next_at, is_spent=is_spent)

    def ping(self, peer: Peer, now: float, timeout_s: float) -> int:
        """Ping a peer; the token of its PingResult.

        Raises:
            LocalError: Too many Pings to it wait for their answer, or it does not leave.
        """
        self._state.pongs.require_room(peer.pings)
        ping = self._delivery.send_ping(peer, Reason.USER_ASKED, now)
        if ping is None:
            raise not_sent(peer)
        return self._state.pongs.begin(ping, peer.sends_to, now, timeout_s)

    def handle_ping(self, peer: Peer, payload: Raw, now: float) -> None:
        """Answer with the same payload."""
        peer.liveness.note_known(now)
        self._delivery.send(peer, MessageType.PONG, payload, now)
        self.on_pinged(peer, now)

    def handle_pong(self, peer: Peer, payload: Raw, now: float) -> None:
        """A Pong names its Ping, or is a deployed program's `null`."""
        liveness = peer.liveness
        names_all = Capability.RETRANSMIT in peer.facts.capabilities
        # Under seal nobody else can have sent it, whenever it comes.
        is_timed = peer.session.seal is None and liveness.signs.receive_pong(now)
        answered = liveness.pings.receive_pong(payload, peer.sends_to, now, names_all=names_all)
        liveness.signs.note_pong(now, is_answer=answered is not None)
        if answered is None:
            self._state.counters.drop("pong_without_ping")
            return
        rtt_s, is_certain = answered
        source = self._state.gate.source
        if source is not None and peer.hears_former(source):
            peer.follow_pair(source)
        if is_certain:
            peer.channel.rtt.observe(rtt_s)
            self._state.counters.round_trips.note(rtt_s)
        liveness.clear(now)
        self._plan_beat(peer)
        peer.purse.note_answered_ping()
        self._delivery.prove(peer, now, guessable=payload == NULL)
        if is_timed:
            self._delivery.trust_address(peer, now)

    def say_goodbye(self, peer: Peer, reason: str, now: float) -> None:
        """Tell a peer that its session ends, in a way that only this node can."""
        goodbye = DisconnectPayload(reason)
        if peer.dialect is Dialect.SPEC:
            goodbye.handshake = peer.handshake_heard
        if whither := self.tell_whither(peer):
            goodbye.servers = Raw(whither)
        payload, kind = encode_payload(goodbye), MessageType.DISCONNECT
        if peer.initiated:
            self._delivery.send(peer, kind, payload, now, reason=Reason.GOODBYE)
        else:
            peer.purse.keep_nothing()  # there will be no Pings
            self._delivery.send(peer, kind, payload, now, waits=False)

    def handle_goodbye(self, peer: Peer, now: float, reason: str) -> None:
        """A peer has said a genuine goodbye. One that has tried several addresses of this machine
        leaves those that it does not need: then it is asked whether it has left.

        Args:
            peer: The peer.
            now: The time, seconds.
            reason: What is reported about it.
        """
        if peer.beside is not None:
            self.suspect(peer, Suspicion.LEFT, now, reason, is_vouched=True)
        elif not self.on_goodbye(peer, now):
            self._lifecycle.remove(peer, PeerStatus.DISCONNECTED, now, reason)

    def suspect(
        self,
        peer: Peer,
        suspicion: Suspicion,
        now: float,
        reason: str,
        *,
        is_vouched: bool = False,
    ) -> None:
        """Assume the worst about a peer unless it answers a Ping, normally within a second.

        Args:
            peer: The peer.
            suspicion: The suspicion.
            now: The time, seconds.
            reason: Why, in one line.
            is_vouched: Whether nobody else can have said so.
        """
        if peer.liveness.suspicion is not None or self.is_asked_anew(peer):
            return
        pace = _pace(peer, suspicion, now, is_vouched=is_vouched)
        peer.liveness.suspect(suspicion, now)
        if suspicion is Suspicion.LEFT:
            if not peer.proved:
                # News and answers would use up what the goodbye itself pays for.
                peer.purse.keep_for_doubt(pace[0])
            self._probe(peer, pace, pace[0], reason, now, now)
            return
        left = 0 if _is_restarted(peer, now) else pace[0]
        # What was forged once may be forged without end.
        due = max(now, peer.liveness.cleared_at + SUSPICION_PAUSE_S)
        due += self._state.rng.uniform(0.0, REJOIN_JITTER_S)
        self._state.timers.schedule(due, lambda at: self._probe(peer, pace, left, reason, now, at))

    def _probe(
        self, peer: Peer, pace: _Pace, left: int, reason: str, began: float, now: float
    ) -> None:
        # An answer ends a suspicion, and the next one gets its full time again.
        if not (peer.liveness.is_suspected_since(began) and peer.is_authenticated):
            return
        liveness = peer.liveness
        if liveness.suspicion is Suspicion.LEFT and liveness.last_received > began + UNDER_WAY_S:
            liveness.clear(now)
            peer.purse.end_doubt()
            self._delivery.release(peer, now)
            return
        is_sure = liveness.suspicion is Suspicion.FORGOT and _is_restarted(peer, now)
        has_left = liveness.suspicion is Suspicion.LEFT
        if left == 0 or is_sure or (has_left and now >= began + LONGEST_DOUBT_S):
            self._judge(peer, reason, now)
            return
        is_asked = self._delivery.ping(peer, now)
        is_enough = pace[0] - left >= SUSPICION_PROBES
        if is_asked or is_enough or not has_left:
            left -= 1  # otherwise it cannot pay for the Ping yet
        self._state.timers.schedule(
            now + pace[1], lambda at: self._probe(peer, pace, left, reason, began, at)
        )

    def _judge(self, peer: Peer, reason: str, now: float) -> None:
        forgot = peer.liveness.judge() is Suspicion.FORGOT
        peer.purse.end_doubt()
        if not forgot and peer.acknowledges and (peer.path is not None or not peer.is_plain):
            return  # its path is dead, and a server may carry the session on
        if forgot and peer.initiated and self.on_forgotten is not None:
            self.on_forgotten(peer, now, reason)
        else:
            self._lifecycle.remove(peer, PeerStatus.DISCONNECTED, now, reason)


def _pace(peer: Peer, suspicion: Suspicion, now: float, *, is_vouched: bool) -> _Pace:
    """How a suspected peer is asked, given its kind, its proofs and earlier wrong doubts."""
    is_alarmed = suspicion is Suspicion.LEFT and now < peer.liveness.alarmed_at + ALARMED_S
    if not peer.proved and is_alarmed and not is_vouched:
        return DOUBTFUL_PROBES, DOUBTFUL_INTERVAL_S
    if not peer.proved or is_vouched:
        return SUSPICION_PROBES, SUSPICION_INTERVAL_S
    if suspicion is Suspicion.LEFT and peer.acknowledges:
        return PROVING_PROBES, PROVING_INTERVAL_S
    return ALARMED_PROBES if is_alarmed else CLOSER_PROBES, CLOSER_INTERVAL_S


def _ticks_of(peers: int) -> int:
    """How many ticks a second there are for this many peers."""
    if peers < CROWD:
        return TICKS_PER_S
    return TICKS_OF_CROWD if peers < THRONG else TICKS_OF_THRONG


def _is_restarted(server: Peer, now: float) -> bool:
    """Whether a server that says that it knows no session may be believed: Pings drew nothing else.

    Any other peer may be about to begin a new session, and then answers none for a second.
    """
    return server.is_joined_server and server.is_silent(now)
