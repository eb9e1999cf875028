"""What all parts of the core share: identity, peers, timers, and the ways out."""

import math
import random
from collections import deque
from collections.abc import Callable, Hashable, Iterator
from itertools import count
from typing import Any, Final

from p2ptui.config import Config
from p2ptui.core.calls import Call, Calls, forgotten
from p2ptui.core.counters import Counters
from p2ptui.core.events import (
    CallFinished,
    DataDropped,
    Direction,
    Event,
    EventsDropped,
    MessageTraced,
    News,
    Outcome,
)
from p2ptui.core.gate import Gate
from p2ptui.core.ids import IdSource
from p2ptui.core.peers import ALONE, NO_TAKER, Elsewhere, Foreign, Listed, Peer, PeerTable, Taker
from p2ptui.core.pongs import Pongs
from p2ptui.core.readers import Readers
from p2ptui.core.reliability.channel import Channel, Channels
from p2ptui.core.sealing import SEAL_BYTES, OwnKeys, Seals, goes_sealed
from p2ptui.core.tables import Shares, Tables
from p2ptui.core.timers import Timers
from p2ptui.wire.address import Address
from p2ptui.wire.message import NodeInfo

MAX_EVENTS: Final = 50_000
"""News that may wait for `next_event`; the driver empties the queue after every batch. Results of
calls, changes of status and tasks for the node's machinery are never dropped, nor is Data, which is
admitted only while there is room."""

MAX_PONGS: Final = 16_384
"""Calls that wait for the Pong of a Ping, over all addresses."""

LAST_RESORT_S: Final = 5.0
"""How long after its timeout a call for a session ends in any case, whatever became of what it
waited for."""

MAX_SESSION_CALLS: Final = 16_384
"""Calls that wait for a session, over all nodes."""


def _nobody() -> Iterator[Foreign]:
    return iter(())


class NodeState:
    """The state that all parts of the core share.

    Args:
        config: All options.
        identity: Who this node is.
        rng: The only source of randomness; `random.SystemRandom` in a real node.
        unix_offset: Unix time minus the clock that `now` comes from, seconds.
        keys: Its keys for secured sessions; None: it speaks only in the open.
    """

    def __init__(
        self,
        config: Config,
        identity: NodeInfo,
        rng: random.Random,
        unix_offset: float,
        keys: OwnKeys | None = None,
    ) -> None:
        self.config = config
        self.identity = identity
        self.rng = rng
        self.unix_offset = unix_offset
        self.ids = IdSource(rng)
        self.counters = Counters()
        shares = Shares(
            lambda: self.config.security.max_share_per_address,
            lambda: self.config.security.max_share_per_prefix,
        )
        self.tables = Tables(self.counters.drop, shares)
        """Every table of the parts: a part that makes one adds it here."""
        self.peers = PeerTable(
            self.counters.drop, lambda: 2 * self.config.server.max_connections, shares
        )
        self.elsewhere: Elsewhere = ALONE
        """The other servers of the network."""
        self.claims_elsewhere: Callable[[], Iterator[Foreign]] = _nobody
        """Nodes of other servers that have not proved their addresses there, and may be invented:
        `Elsewhere.nodes` leaves them out."""
        self.taker: Taker = NO_TAKER
        """Gives this server's peers what other servers hand over for them."""
        self.timers = Timers()
        self.closing = False
        """Whether the node is saying goodbye: it no longer answers anybody."""
        self.tracing = False
        """Whether a MessageTraced is wanted for each message."""
        self.readers = Readers()
        """The local readers of Data, and how much room each has."""
        self._channels = Channels(config, rng, shares)
        self._events: deque[Event] = deque()
        self._events_dropped = 0
        self.gate = gate = Gate(self.counters, self.emit, self._search_pace, shares)
        """The only way out."""
        self.seals: Seals | None = None
        """The secured sessions; None if this node speaks only in the open."""
        if keys is not None:
            self.seals = seals = Seals(keys, self.peers, self.counters, rng)
            gate.sealer = seals.seal
            self.tables.gauge("session_keys", seals.__len__)
        self.detours = gate.detours
        """Addresses that the socket does not reach itself, and functions that take datagrams
        there."""
        self._outgoing = gate.outgoing  # read only
        self.socket_of_version: dict[int, int] = {4: 0, 6: 0}
        """For each IP version, the number of the socket that reaches its addresses: 0, the node's
        own, or a permanent one beside it."""
        self.find_longest_idle_s: Callable[[], float] = lambda: math.inf
        """Set by the code that knows it; see `longest_idle_s`."""
        self._tokens = count(1)
        self._watched: dict[int, Callable[[Outcome], None]] = {}
        self.pongs = Pongs(self.open_room("pings_awaited", "Pings", limit=MAX_PONGS, limit_each=1))
        """Calls that wait for the answer to a Ping."""
        self.session_calls: Calls[None] = self.open_room(
            "sessions_awaited", "sessions", limit=MAX_SESSION_CALLS, limit_each=MAX_SESSION_CALLS
        )
        """Calls that wait for a session. Their key is what they wait for at present: a handshake,
        by its `PeerTable.own_address`; one with several addresses; a direct path, by the id of the
        node."""
        self.tables.watch(self.peers, self.timers, self.readers, self._channels)
        self.tables.gauge("grants", self.gate.__len__)

    @property
    def source(self) -> Address | None:
        """Where the datagram being handled came from."""
        return self.gate.source

    def _search_pace(self) -> tuple[int, float]:
        ice = self.config.ice
        return ice.max_checks, ice.pace_ms / 1000

    def join_cluster(self, elsewhere: Elsewhere, claims: Callable[[], Iterator[Foreign]]) -> None:
        """From now on this server is one of a cluster.

        Args:
            elsewhere: Answers this server's questions about the others.
            claims: See `claims_elsewhere`.
        """
        self.elsewhere, self.claims_elsewhere = elsewhere, claims

    def leave_cluster(self) -> None:
        """This server is alone again."""
        self.join_cluster(ALONE, _nobody)

    @property
    def longest_idle_s(self) -> float:
        """How long a path through this node's NAT may be idle, as far as is known."""
        return self.find_longest_idle_s()

    @property
    def datagram_bytes(self) -> int:
        """The most bytes of a message that goes to many peers in one datagram each, sealed for
        some."""
        budget = self.config.server.datagram_budget
        return budget if self.seals is None else budget - SEAL_BYTES

    def find(self, node_id: str) -> Listed | None:
        """A node with a session here, or with another server of the network. A session here that
        may be a mere claim does not displace one elsewhere, nor does one that was ceded to another
        server.

        Args:
            node_id: Its id, in canonical text.
        """
        peer = self.peers.authenticated(node_id)
        is_sure = peer is not None and (peer.purse.proved or not peer.is_claim)
        if peer is not None and is_sure and not peer.liveness.is_ceded:
            return peer
        other = self.elsewhere.holder(node_id)
        if peer is not None and other is not None and not (other.proved or peer.liveness.is_ceded):
            return peer  # of two claims, this server's own
        return other or peer

    def is_here(self, node_id: str) -> bool:
        """Whether a node has a session here at an address that means the same to others: only then
        does this server list it as its own. It may be a mere claim."""
        peer = self.peers.authenticated(node_id)
        return peer is not None and peer.is_plain

    def most_peers(self) -> int:
        """How many peers there may be: the limit of tables with an entry for each."""
        return max(self.config.server.max_connections, len(self.peers))

    def unix(self, now: float) -> int:
        """The Unix time that belongs to `now`, whole seconds."""
        return int(now + self.unix_offset)

    def unix_ms(self, now: float) -> int:
        """The same in milliseconds; not before 1970."""
        return max(0, int((now + self.unix_offset) * 1000))

    def is_standing(self, socket: int) -> bool:
        """Whether a socket serves all attempts, rather than being opened for one."""
        return socket == 0 or socket in self.socket_of_version.values()

    def new_token(self) -> int:
        """A token for a call whose result a CallFinished will report."""
        return next(self._tokens)

    def open_room(self, name: str, words: str, *, limit: int, limit_each: int) -> Calls[Any]:
        """A room where calls of one kind wait for their answers; see `Calls`.

        Args:
            name: What `Tables.sizes` calls it.
            words: What is awaited, for an error.
            limit: Most calls waiting.
            limit_each: Most calls with one key.
        """
        room: Calls[Any] = Calls(
            self.timers,
            self.finish,
            self.new_token,
            limit=limit,
            limit_each=limit_each,
            words=words,
        )
        self.tables.gauge(name, room.__len__)
        return room

    def await_session(
        self, key: Hashable, now: float, timeout_s: float, token: int | None = None
    ) -> Call[None]:
        """Let a call wait for a session; what it waits for ends it.

        Args:
            key: See `session_calls`.
            now: The time, seconds.
            timeout_s: How long it waits at most, seconds.
            token: The token of the call, if it already has one.

        Raises:
            LocalError: Too many wait already.
        """
        longest_s = timeout_s + LAST_RESORT_S
        return self.session_calls.begin(key, None, now, longest_s, self._handle_forgotten, token)

    def _handle_forgotten(self, call: Call[None]) -> Outcome:
        self.counters.drop("call_forgotten")
        return forgotten(call)

    def answered(self, outcome: Outcome) -> int:
        """A token for a call whose result is already known."""
        token = self.new_token()
        self.finish(token, outcome)
        return token

    def new_channel(self) -> Channel:
        """A channel whose numbering starts at random."""
        return self._channels.new()

    def put_datagram(self, data: bytes, address: Address) -> None:
        """Send a datagram if the peer at its destination pays for it; without a peer nothing is
        sent.

        For callers that have a datagram but use no part of the core to send it.
        """
        peer = self.peers.at(address)
        if peer is not None and peer.sends_to == address:
            self.gate.send_to(peer, data)

    def take_datagrams(self) -> list[tuple[bytes, Address]]:
        """All queued datagrams, oldest first; the queue is empty afterwards."""
        return self.gate.take()

    def emit(self, event: Event) -> None:
        """Queue one event for `next_event`."""
        if len(self._events) >= MAX_EVENTS and isinstance(event, News):
            self._events_dropped += 1
            self.counters.drop("events_full")
            return
        self._events.append(event)

    def admits_data(self, node_id: str, data: bytes, now: float) -> bool:
        """Whether all readers of a message have room for it; if so, the room is taken.

        Args:
            node_id: Its sender.
            data: Its payload.
            now: The time, seconds.
        """
        readers = self.readers
        if not readers.reads(data):
            readers.leave_line(node_id)
            return True  # it causes no event
        # The event of an admitted message needs room, too.
        return len(self._events) < MAX_EVENTS and readers.admit(node_id, len(data), now, data)

    def drop_data(self, node_id: str) -> None:
        """Data that requests no Ack found no room: count and report it."""
        self.counters.drop("reader_full")
        self.emit(DataDropped(node_id, 1))

    def finish(self, token: int | None, outcome: Outcome) -> None:
        """Report the result of a call; does nothing without a token, when nobody waits for it."""
        if token is None:
            return
        watcher = self._watched.pop(token, None)
        if watcher is not None:
            watcher(outcome)
        else:
            self._events.append(CallFinished(token, outcome))

    def watch(self, on_end: Callable[[Outcome], None]) -> int:
        """A token for a call that a part of the core waits for: only `on_end` gets its result."""
        token = self.new_token()
        self._watched[token] = on_end
        return token

    def unwatch(self, token: int) -> None:
        """The result of that call no longer matters, and is not reported."""
        if token in self._watched:
            self._watched[token] = lambda _: None

    def forget_watch(self, token: int) -> None:
        """That call has never begun: there is no result to wait for."""
        self._watched.pop(token, None)

    def next_event(self) -> Event | None:
        """The oldest event, or None."""
        if self._events:
            return self._events.popleft()
        if self._events_dropped:
            dropped, self._events_dropped = self._events_dropped, 0
            return EventsDropped(dropped)
        return None

    def trace(
        self,
        direction: Direction,
        address: Address,
        node_id: str,
        kind: str,
        data: bytes,
        *,
        is_sealed: bool = False,
    ) -> None:
        """Report one message, if somebody traces them.

        Args:
            direction: Which way it went.
            address: The address of the other side.
            node_id: Its id; empty if that is not known.
            kind: The message type.
            data: Its content.
            is_sealed: Whether it travelled under seal.
        """
        if self.tracing:
            size = len(data)
            event = MessageTraced(direction, address, node_id or None, kind, size, data, is_sealed)
            self.emit(event)

    def trace_from(
        self, address: Address, node_id: str, kind: str, data: bytes, *, is_sealed: bool = False
    ) -> None:
        """Report one received message or frame, if somebody traces them; see `trace`."""
        self.trace(Direction.IN, address, node_id, kind, data, is_sealed=is_sealed)

    def trace_to(self, peer: Peer, to: Address, kind: str, data: bytes) -> None:
        """Report one message sent to a peer at an address, if somebody traces them."""
        sealed = goes_sealed(peer, data)
        self.trace(Direction.OUT, to, peer.node_id, kind, data, is_sealed=sealed)
