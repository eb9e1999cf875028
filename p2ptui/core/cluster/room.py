"""The room of the cluster: what other rooms ask other servers, and what the broker reports."""

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from p2ptui.core.cluster.bus import Delete, Order, Publish
from p2ptui.core.cluster.claims import Claims
from p2ptui.core.cluster.deletions import Deletions
from p2ptui.core.cluster.handing import MAX_WAITING_BYTES, HandOvers
from p2ptui.core.cluster.others import Others, ServerStatus, Trouble
from p2ptui.core.cluster.own import Own
from p2ptui.core.cluster.presence import OwnPresence
from p2ptui.core.cluster.statements import Statements
from p2ptui.core.cluster.view import HEARTBEAT_S, MAX_NODES, View
from p2ptui.core.delivery import Delivery
from p2ptui.core.peers import Foreign, Handing, Peer, Taker
from p2ptui.core.sessions.lifecycle import Lifecycle
from p2ptui.core.state import NodeState
from p2ptui.secure.identity import Identity
from p2ptui.wire.cluster import (
    Beacon,
    Claim,
    HandOver,
    MalformedError,
    Message,
    Undelivered,
    decode_message,
    decode_presence,
    encode_message,
    is_this_version,
)

SERVERS: Final = "servers"
"""The subject that all servers listen to."""

MAX_ORDERS: Final = 65_536
MAX_ORDERED_BYTES: Final = 16_777_216
"""Orders waiting for the code that drives this room: it is called at once, so this limit is only
reached if it stalls."""


@dataclass(frozen=True, slots=True)
class ClusterStatus:
    """The state of the cluster as this server sees it."""

    server_id: str
    name: str
    is_up: bool
    """Whether the link to the broker is up."""
    is_complete: bool
    """Whether it is known who holds whom."""
    since: float
    """Since when the link has been up, or down; seconds on this node's clock."""
    servers: tuple[ServerStatus, ...]
    """The other live servers."""
    nodes: int
    """Nodes elsewhere that can be reached."""
    entries: int
    """Peers of this server that are announced to the others."""
    entries_due: int
    waiting: int
    """Items that wait for the link, to be handed over."""
    waiting_bytes: int
    puts: int
    """A total since the start, like all that follow."""
    refused: int
    handed: int
    """Without items that came back: this one may fall."""
    taken: int
    failed: int
    returned: int = 0
    """Items given to the link and not sent: they wait for the link, or have failed."""

    @property
    def given(self) -> int:
        """Items given to the link, whether they came back or not."""
        return self.handed + self.returned


class Cluster:
    """This server as one of several that serve one network; an `Elsewhere`, and a `Heard`.

    Args:
        state: The shared state.
        delivery: Reports proved addresses.
        lifecycle: Reports joins, leaves and moves.
        taker: Gives the peers of this server what comes for them.
        name: The display name of the server.
        advertised: Where clients reach it, `HOST:PORT`.
        identity: Its keys, which sign its beacons.
        max_nodes: Most nodes elsewhere.
        heartbeat_s: How often an entry is put again.
        max_waiting_bytes: Most bytes that wait for the link.
    """

    def __init__(
        self,
        state: NodeState,
        delivery: Delivery,
        lifecycle: Lifecycle,
        taker: Taker,
        name: str,
        advertised: str,
        identity: Identity,
        *,
        max_nodes: int = MAX_NODES,
        heartbeat_s: float = HEARTBEAT_S,
        max_waiting_bytes: int = MAX_WAITING_BYTES,
    ) -> None:
        self._state = state
        self._lifecycle = lifecycle
        self._delivery = delivery
        self._own = own = Own(state.identity, name, advertised, state.rng)
        self._orders: deque[Order] = deque()
        self._ordered_bytes = 0
        self._is_up = self._is_complete = False
        self._since = 0.0
        self.on_orders: Callable[[], None] = lambda: None
        """Called when there are orders and there were none before."""
        self._others = others = Others(state, own, identity, self._say)
        self._statements = statements = Statements(state)
        self._view = view = View(state, others, statements, max_nodes, heartbeat_s)
        self._claims = claims = Claims(
            state, own, others, view, delivery, lifecycle, statements, self._send_message
        )
        self._deletions = Deletions(state, view)
        self._mine = mine = OwnPresence(state, own, view, claims, statements, self._order)
        self._handing = HandOvers(
            state, own, others, view, taker, mine.news, self._send_message, max_waiting_bytes
        )
        view.on_change = mine.reconsider
        claims.on_settled = mine.reconsider
        others.on_silent.append(mine.handle_run)
        others.on_heard.append(mine.handle_run)
        others.on_twin = self._handle_twin
        self.on_trouble: Callable[[Trouble, str], None] = lambda *_: None
        """Called with a problem in the cluster and its description, which contains remote text:
        once, and again at intervals if it persists."""
        others.on_trouble = self._tell_trouble
        self.on_joined_elsewhere = view.on_joined
        """Called with a node that has come to another server, or changed there, and the time."""
        self.on_left_elsewhere = view.on_left
        """Called with the id of a node that has left all others, and the time."""
        self.servers_told = others.told
        """See `Elsewhere.servers_told`."""
        self.on_servers = others.on_changed
        """Called with the time when other servers have come, gone, or changed their addresses."""

    def _tell_trouble(self, trouble: Trouble, words: str) -> None:
        self.on_trouble(trouble, words)

    def open(self, now: float) -> None:
        """Begin: from now on other rooms ask here."""
        lifecycle, mine = self._lifecycle, self._mine
        self._since = now
        lifecycle.on_joined.append(mine.note)
        lifecycle.on_moved.append(mine.note)
        lifecycle.on_left.append(mine.handle_left)
        self._delivery.on_proved.append(mine.note)
        self._state.join_cluster(self, self._claimed)
        self._others.begin(now)

    def drain(self, now: float) -> None:
        """This server will be gone soon: the others are told."""
        self._others.is_draining = True
        if self._is_up:
            self._others.say(now)

    def close(self, now: float) -> None:
        """End: `orders` then deletes the entries of this server."""
        if not self._own.is_open:
            return
        self.drain(now)
        lifecycle, mine = self._lifecycle, self._mine
        for listeners, listener in (
            (lifecycle.on_joined, mine.note),
            (lifecycle.on_moved, mine.note),
            (lifecycle.on_left, mine.handle_left),
            (self._delivery.on_proved, mine.note),
        ):
            listeners.remove(listener)
        if self._is_up:
            for order in mine.all_deleted():
                self._order(order)
        self._own.is_open = False
        self._state.leave_cluster()

    # What other rooms ask: `Elsewhere`.

    def holder(self, node_id: str) -> Foreign | None:
        """See `Elsewhere.holder`; also of a node that has a session here as well."""
        return self._view.foreign(node_id)

    def nodes(self, text: str = "") -> Iterator[Foreign]:
        """See `Elsewhere.nodes`; without the peers of this server."""
        for foreign in self._view.nodes(text):
            if not self._view.is_here(foreign.node_id):
                yield foreign

    def _claimed(self) -> Iterator[Foreign]:
        """Nodes that no server has confirmed: they may be made up."""
        for node_id in list(self._view.unproved):
            if (found := self._view.foreign(node_id)) is not None and not found.proved:
                yield found

    def hand(
        self, target: Foreign, source: Peer, kind: Handing, body: bytes, ref: str, now: float
    ) -> bool:
        """See `Elsewhere.hand`."""
        return self._handing.hand(target, source, kind, body, ref, now)

    def note_statement(self, peer: Peer, counter: int, signature: bytes, now: float) -> bool:
        """A peer says that this server holds it; see `Statements.note`."""
        if not self._statements.note(peer, counter, signature, now):
            return False
        self._mine.note(peer, now)
        return True

    def statement_of(self, peer: Peer) -> tuple[int, bytes]:
        """The latest statement of a peer; see `Statements.of`."""
        return self._statements.of(peer.node_id)

    def servers(self, now: float) -> list[ServerStatus]:
        """The other live servers."""
        return self._others.servers(now)

    def status(self, now: float) -> ClusterStatus:
        """The current status."""
        mine, handing = self._mine, self._handing
        return ClusterStatus(
            self._own.server_id,
            self._own.name,
            self._is_up,
            self._is_complete,
            self._since,
            tuple(self._others.servers(now)),
            self._view.reachable(),
            len(mine),
            mine.waiting,
            handing.waiting,
            handing.waiting_bytes,
            mine.puts,
            mine.refused,
            handing.handed,
            handing.taken,
            handing.failed,
            handing.returned,
        )

    # Orders for the broker.

    def orders(self) -> list[Order]:
        """The orders due for the broker, in this order, each once."""
        orders = list(self._orders)
        self._orders.clear()
        self._ordered_bytes = 0
        return orders

    def _order(self, order: Order) -> bool:
        if not self._is_up:
            return False
        size = 0 if not isinstance(order, Publish) else len(order.data)
        is_full = len(self._orders) >= MAX_ORDERS
        if is_full or self._ordered_bytes + size > MAX_ORDERED_BYTES:
            self._state.counters.drop("cluster_orders_full")
            return False
        self._orders.append(order)
        self._ordered_bytes += size
        if len(self._orders) == 1:
            self.on_orders()
        return True

    def _say(self, beacon: Beacon) -> None:
        self._publish(SERVERS, beacon)

    def _send_message(self, server_id: str, message: Message) -> bool:
        return self._publish(server_id, message)

    def _publish(self, subject: str, message: Message) -> bool:
        try:
            data = encode_message(message)
        except MalformedError:
            self._state.counters.drop("cluster_unwritable")
            return False
        return self._order(Publish(subject, data))

    # What the broker reports: `Heard`.

    def handle_link(self, is_up: bool, now: float) -> None:
        """See `Heard.handle_link`."""
        if not self._own.is_open:
            return
        self._is_up, self._is_complete, self._since = is_up, False, now
        # A bus forgets what it is told while its link is down.
        orders = self.orders()
        self._handing.handle_down()
        for order in orders:
            self.handle_unsent(order, False, now)
        self._claims.forget_all()
        self._deletions.handle_link()
        self._view.handle_link(is_up)
        self._mine.handle_link(is_up)
        self._others.handle_link(is_up, now)

    def handle_complete(self, now: float) -> None:
        """See `Heard.handle_complete`."""
        if self._is_up and not self._is_complete and self._own.is_open:
            self._is_complete = True
            self._view.handle_complete(now)
            self._mine.handle_complete(now)
            self._handing.handle_ready(now)

    def receive_entry(self, key: str, value: bytes | None, revision: int, now: float) -> None:
        """See `Heard.receive_entry`."""
        if not self._is_up or not self._own.is_open:
            return
        if not self._view.can_hold(key) or revision <= 0:
            self._state.counters.drop("cluster_malformed")
            if value is not None and revision > 0 and self._deletions.may_tidy(now):
                self._order(Delete(key, revision))  # else it takes up room until it expires
            return
        view, mine, own = self._view, self._mine, self._own
        if value is None:
            self._deletions.take_out(key, revision, now)
            mine.note_standing(key, revision, None, now, is_own=False)
            return
        try:
            presence = decode_presence(value)
        except MalformedError:
            self._handle_malformed(value, now)
            presence = None
        if presence is not None and presence.network != own.network:
            self._handle_network(presence.network, now)
            presence = None
        is_own = False
        if presence is None:
            view.note_odd(key, revision)
        elif presence.server != own.server:
            view.receive(key, presence, revision, now)
            entry = view.entry(key)
            self._deletions.note_put(key, entry.run if entry is not None else None)
        elif presence.instance != own.instance:
            view.note_odd(key, revision)  # of a former run
        else:
            is_own = True
            if mine.is_known(key):
                view.take_out(key, revision, now)
        mine.note_standing(key, revision, value, now, is_own=is_own)

    def receive_message(self, subject: str, data: bytes, now: float) -> None:
        """See `Heard.receive_message`."""
        if not self._is_up or not self._own.is_open:
            return
        try:
            message = decode_message(data)
        except MalformedError:
            self._handle_malformed(data, now)
            return
        if message.network != self._own.network:
            self._handle_network(message.network, now)
        elif isinstance(message, Beacon):
            self._others.receive(message, now)
        elif subject == self._own.server_id:
            self._receive(message, now)
        else:
            self._state.counters.drop("cluster_malformed")

    def _receive(self, message: Message, now: float) -> None:
        run = self._others.known(message.server, message.instance)
        if run is None:
            self._state.counters.drop("cluster_unknown_server")
        elif not run.rate.take(now):
            self._state.counters.drop("cluster_rate")
        elif isinstance(message, HandOver):
            self._handing.receive(message, run, now)
        elif isinstance(message, Undelivered):
            self._handing.receive_undelivered(message, run, now)
        elif isinstance(message, Claim):
            self._claims.receive(message, run, now)
        elif not isinstance(message, Beacon):
            self._claims.receive_answer(message, run, now)

    def handle_put(self, key: str, revision: int, now: float) -> None:
        """See `Heard.handle_put`."""
        if self._is_up and self._own.is_open:
            self._mine.handle_put(key, revision, now)

    def handle_refused(self, key: str, now: float) -> None:
        """See `Heard.handle_refused`."""
        if self._is_up and self._own.is_open:
            self._mine.handle_refused(key, now)

    def handle_unsent(self, order: Order, is_too_large: bool, now: float) -> None:
        """See `Heard.handle_unsent`; entries are reported anew anyway."""
        if not isinstance(order, Publish) or not self._own.is_open:
            return
        try:
            message = decode_message(order.data)
        except MalformedError:
            return  # no server would have read it
        if isinstance(message, HandOver):
            self._handing.handle_unsent(message, order.subject, is_too_large, now)
        elif isinstance(message, Claim):
            self._claims.handle_unsent(message, order.subject, now)

    # What the parts tell each other.

    def _handle_malformed(self, data: bytes, now: float) -> None:
        if not is_this_version(data):
            self._state.counters.drop("cluster_version")
            words = (
                "ignored data that this version cannot read: servers of another version, or another"
                " program, write to the same account of the broker"
            )
            self._others.tell(Trouble.OTHER_VERSION, words, now)
        else:
            self._state.counters.drop("cluster_malformed")

    def _handle_network(self, network: str, now: float) -> None:
        self._state.counters.drop("cluster_network")
        words = (
            f"ignored data of another network, {network[:64]!r}: give each network its own account"
            " on the broker"
        )
        self._others.tell(Trouble.OTHER_NETWORK, words, now)

    def _handle_twin(self, now: float) -> None:
        self._mine.is_paused = self._others.has_twin
        if not self._mine.is_paused:
            self._mine.mark_all(now)
