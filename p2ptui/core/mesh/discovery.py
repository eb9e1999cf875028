"""Peer lists: asked for, pushed to newcomers, and kept fresh by coalesced updates."""

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Final

from msgspec import UNSET, Raw

from p2ptui.bounded import BoundedTable
from p2ptui.core.delivery import Delivery
from p2ptui.core.events import PeersDiscovered, PeerStatus
from p2ptui.core.identity import canonical_id, told_name
from p2ptui.core.mesh.entries import (
    entry_for,
    frame_nodes,
    frame_servers,
    node_for,
    page_for,
    read_entry,
)
from p2ptui.core.mesh.evidence import Evidence, Told, note_list, of_list
from p2ptui.core.mesh.news import News
from p2ptui.core.mesh.pager import ENVELOPE_BYTES, PLAIN_ENVELOPE_BYTES, Pager
from p2ptui.core.mesh.roll import Roll
from p2ptui.core.peers import Dialect, Foreign, Listed, Peer, is_claim, peer_info
from p2ptui.core.sessions.lifecycle import Lifecycle
from p2ptui.core.state import NodeState
from p2ptui.core.trust import voucher
from p2ptui.errors import LocalError
from p2ptui.wire.message import (
    Capability,
    DiscoveryUpdatePayload,
    ListNodesRequestPayload,
    MessageType,
    NodeInfo,
    PeerInfo,
)

_AUTHENTICATED: Final = PeerStatus.AUTHENTICATED
"""Bound here, since looking up an enum member runs Python code."""

FIRST_PAGE_ENTRIES: Final = 8
"""Entries considered for a newcomer's first list: more do not fit in a datagram."""

MAX_RECIPIENTS: Final = 256
"""Peers told about a change: all if they are no more than this, else a random sample. The others
ask, or find out in their own searches; the cost of a join must not grow with the number of
peers."""

DRAWN_FOR_EACH: Final = 2
"""How many peers are drawn for each that may be told."""

MAX_CHANGES: Final = 1024
"""Joins, and likewise departures, that may wait for the next update, or as many as there may be
peers; the oldest are dropped."""

TICK_S: Final = 0.01
MESSAGES_PER_TICK: Final = 32
"""The pace of an update: 3,200 messages a second."""

FIRST_QUESTION_S: Final = 1.0
"""From the list that a newcomer is sent to the Ping by which it may prove its address, if the list
had to be cut."""

MAX_UNTOLD: Final = 64
"""Nodes that an unproved peer may still have to be told about; it can ask for the others."""

MAX_LISTED: Final = 1024
"""Entries of a received list that are read."""


def frame_list(joined: bytes, _number: int, _more: bool) -> bytes:
    """The payload of a DiscoveryResponse: the bare list."""
    return b"[" + joined + b"]"


_AROUND_LIST_BYTES: Final = (
    PLAIN_ENVELOPE_BYTES + len(MessageType.DISCOVERY_RESPONSE) + len(frame_list(b"", 0, False))
)
"""The most bytes of a message with a list besides its entries."""


def _ids_of(peers: list[Listed]) -> list[str]:
    return [peer.node_id for peer in peers]


class Discovery:
    """Tells peers about each other.

    Args:
        state: The shared state.
        delivery: Sends messages.
        lifecycle: Reports joins and leaves.
        pager: Sends long lists.
    """

    def __init__(
        self, state: NodeState, delivery: Delivery, lifecycle: Lifecycle, pager: Pager
    ) -> None:
        self._state = state
        self._delivery = delivery
        self._pager = pager
        self._roll = Roll(state)
        # If one must be dropped, it is the oldest, although it is news to some.
        self._joined: BoundedTable[str, None] = self._changes()
        self._left: BoundedTable[str, None] = self._changes()
        self._on_question = self._ask  # one for all peers
        self._told: BoundedTable[str, bool] = BoundedTable(state.most_peers, refuses=True)
        """Peers whose join was announced, and whether with their names."""
        self._due = self._latest = 0.0
        """When the next update leaves, and the latest time for it; seconds."""
        self._is_planned = False
        self._update: Iterator[tuple[Peer, str, Raw | None]] | None = None
        """The messages still to be sent, with their peers; without a payload for a peer that is
        told as much as it may be sent."""
        self.on_listed: list[Callable[[Peer, tuple[PeerInfo, ...], float, Evidence], None]] = []
        """Called with the nodes that a peer lists, and how well the list is supported."""
        self.admits_claim: Callable[[float], bool] = lambda _: True
        """Whether a newcomer that has not proved its address is announced. A forged request costs
        little, and its announcement goes to all: the others are announced once they have proved
        theirs."""
        self.on_unlisted: list[Callable[[Peer, tuple[str, ...], float], None]] = []
        """Called with the nodes that have left, according to a peer."""
        lifecycle.on_joined.append(self._handle_joined)
        lifecycle.on_left.append(self._handle_left)
        lifecycle.on_moved.append(self._handle_moved)
        delivery.on_room = self._tell_untold
        delivery.on_proved.append(self._handle_proved)

    def _changes(self) -> BoundedTable[str, None]:
        state = self._state
        return BoundedTable(
            lambda: max(MAX_CHANGES, state.config.server.max_connections),
            full="news_full",
            count=state.counters.drop,
        )

    # What others ask.

    def handle_request(self, peer: Peer, _content: object, now: float) -> None:
        """Send the whole peer list, without the asking peer."""
        peer.untold = ()  # the answer includes them
        entries = self._entries(peer, now)
        self._pager.start(peer, MessageType.DISCOVERY_RESPONSE, "peers", entries, frame_list, now)

    def _entries(self, receiver: Peer, now: float) -> Iterator[PeerInfo]:
        unix = self._state.unix(now)
        recent = [peer.node_id for peer in self._state.peers.recent()]
        for peer, is_named in self._roll.everybody(recent, now):
            if peer.node_id != receiver.node_id:
                yield entry_for(receiver, peer, now, unix, is_named=is_named)

    def handle_list_nodes(
        self, peer: Peer, content: ListNodesRequestPayload | None, now: float
    ) -> None:
        """Send the nodes here and elsewhere, with names, each at the address that its server sees;
        or the list of servers."""
        kind, start = MessageType.LIST_NODES_RESPONSE, self._pager.start
        if content is not None and content.servers is True:
            servers = iter(self._state.elsewhere.servers_told(now))
            start(peer, kind, "servers", servers, frame_servers, now)
            return
        peer.untold = ()
        nodes = self._nodes(now, with_holders=content is not None and content.holders is True)
        start(peer, kind, "nodes", nodes, frame_nodes, now)

    def _nodes(self, now: float, *, with_holders: bool) -> Iterator[NodeInfo]:
        here = [peer.node_id for peer in self._state.peers]
        for peer, is_named in self._roll.everybody(here, now):
            info = peer.info
            if info is not None:
                yield node_for(peer, info, with_holder=with_holders, is_named=is_named)

    # What others tell.

    def handle_response(self, peer: Peer, told: Told, now: float) -> None:
        """A peer lists others."""
        self._take(peer, DiscoveryUpdatePayload(joined=told.content), told, now)

    def handle_update(self, peer: Peer, told: Told, now: float) -> None:
        """A peer reports nodes that came and left."""
        self._take(peer, told.content, told, now)

    def _take(self, peer: Peer, update: DiscoveryUpdatePayload, told: Told, now: float) -> None:
        own_id = self._state.identity.id
        note_list(peer, told)
        evidence, is_doubted = of_list(peer, told)
        # Programs of the reference's kind list no names: a list with names is somebody else's.
        names = peer.dialect is Dialect.SPEC
        joined = tuple(
            read
            for entry in update.joined[:MAX_LISTED]
            if (read := read_entry(entry, has_names=names)) is not None and read.id != own_id
        )
        left = tuple(
            node_id
            for entry in update.left[:MAX_LISTED]
            if not is_doubted and (node_id := canonical_id(entry)) is not None and node_id != own_id
        )
        for listed in self.on_listed:
            listed(peer, joined, now, evidence)
        for unlisted in self.on_unlisted:
            unlisted(peer, left, now)
        self._state.emit(PeersDiscovered(peer.node_id, joined, left))

    # What this node sends without being asked.

    def _handle_joined(self, peer: Peer, now: float) -> None:
        if not peer.is_claim or self.admits_claim(now):
            self._note_joined(peer.node_id, now)
        if peer.accepted:
            self.push(peer, now)

    def _handle_proved(self, peer: Peer, now: float) -> None:
        is_news = not self._told.get(peer.node_id) and peer.node_id not in self._joined
        if peer.is_authenticated and is_news:
            self._note_joined(peer.node_id, now)

    def _note_joined(self, node_id: str, now: float) -> None:
        self._left.pop(node_id, None)
        self._joined.put(node_id, None)
        self._note_change(now)

    def note_joined_elsewhere(self, foreign: Foreign, now: float) -> None:
        """A node has joined another server, or is seen by it at another address."""
        node = self._state.find(foreign.node_id)
        if isinstance(node, Foreign) and (node.proved or self.admits_claim(now)):
            self._note_joined(foreign.node_id, now)

    def note_left_elsewhere(self, node_id: str, now: float) -> None:
        """No other server holds a node any more."""
        if self._state.find(node_id) is None:
            self._joined.pop(node_id, None)
            self._left.put(node_id, None)
            self._note_change(now)

    def _handle_moved(self, peer: Peer, now: float) -> None:
        """The others are told where a peer is now, as if it had just joined."""
        self._joined.put(peer.node_id, None)
        self._note_change(now)

    def push(self, peer: Peer, now: float) -> None:
        """Send a newcomer the first page of the list: the most recently heard nodes."""
        unix = self._state.unix(now)
        is_reliable = Capability.RETRANSMIT in peer.facts.capabilities
        others = self._most_recent(peer)
        if not is_reliable and not peer.purse.proved and others:
            if peer.untold:
                peer.untold = tuple(dict.fromkeys((*peer.untold, *_ids_of(others))))
                others = self._known(peer)
            self._tell(peer, others, now)
            # A list that was cut uses up what the address may be sent, except for two Pings. These
            # are sent once the peer has had time to become ready for them.
            peer.session.plan_question(
                self._state.timers, now + FIRST_QUESTION_S, self._on_question, peer
            )
            return
        room = self._delivery.datagram_bytes(peer) - ENVELOPE_BYTES
        page, _ = page_for(peer, others, now, unix, room)
        payload = Raw(frame_list(page, 0, False))
        kind = MessageType.DISCOVERY_RESPONSE
        if is_reliable:
            self._delivery.send_reliable(peer, kind, payload, now, ack_for=voucher(peer))
        else:
            self._delivery.pay_acks(peer, now)  # they say more than an empty list
            self._delivery.send(peer, kind, payload, now)

    def _most_recent(self, peer: Peer) -> list[Listed]:
        """The most recently heard nodes other than a peer: as many as may fit on a page."""
        listed: list[Listed] = [
            other
            for other in islice(self._state.peers.recent(), FIRST_PAGE_ENTRIES + 1)
            if other is not peer
            and other.status is _AUTHENTICATED
            and other.is_plain
            and self._is_told_by_name(other)
        ]
        del listed[FIRST_PAGE_ENTRIES:]
        listed += islice(self._roll.elsewhere(), FIRST_PAGE_ENTRIES - len(listed))
        return listed

    def _is_told_by_name(self, peer: Listed) -> bool:
        """Whether a node is no claim, or was announced with its name, which nobody else has."""
        return not is_claim(peer) or self._told.get(peer.node_id) is True

    def _tell_untold(self, peer: Peer, now: float) -> None:
        """Tell a peer about the nodes that it has not heard of, and ask it for a proof if
        necessary."""
        self._tell_room(peer, now)
        self._ask(peer, now)

    def _ask(self, peer: Peer, now: float) -> None:
        peer.session.forget_question()
        if peer.untold and peer.is_authenticated:
            self._delivery.challenge(peer, now)

    def _tell_room(self, peer: Peer, now: float) -> None:
        """Tell a peer about as many nodes as it may be sent, the oldest news first."""
        if peer.untold:
            self._tell(peer, self._known(peer), now)

    def _known(self, peer: Peer) -> list[Listed]:
        """The nodes that a peer must still be told about, as far as they are still there."""
        find = self._state.find
        return [
            other
            for node_id in peer.untold
            if (other := find(node_id)) is not None and other.is_plain
            if not peer.is_ours or self._is_told_by_name(other)
        ]

    def _tell(self, peer: Peer, untold: list[Listed], now: float) -> None:
        """Tell a peer about as many nodes as it may be sent, in their order.

        A peer that has not proved its address hears of the others when it speaks or proves it.
        """
        kind, unix = MessageType.DISCOVERY_RESPONSE, self._state.unix(now)
        budget = self._delivery.datagram_bytes(peer) - ENVELOPE_BYTES
        around = _AROUND_LIST_BYTES
        while untold:
            room = min(budget, peer.purse.spare - around)
            joined, count = page_for(peer, untold, now, unix, room)
            if not count:
                break
            if peer.acks_owed and count == len(untold):
                self._delivery.pay_acks(peer, now, around + len(joined))
            payload = Raw(frame_list(joined, 0, False))
            if not self._delivery.send(peer, kind, payload, now, waits=False):
                break
            untold = untold[count:]
            if room < budget:
                break  # what did not fit in this one does not fit in what is left, either
        peer.untold = tuple(_ids_of(untold))

    def _handle_left(self, peer: Peer, now: float) -> None:
        self._joined.pop(peer.node_id, None)
        if peer.node_id in self._told:
            del self._told[peer.node_id]
            # A node that is at another server by now has not left: the others are told where it is.
            is_gone = self._state.elsewhere.holder(peer.node_id) is None
            (self._left if is_gone else self._joined).put(peer.node_id, None)
            self._note_change(now)

    def _note_change(self, now: float) -> None:
        server = self._state.config.server
        if not self._is_planned:
            self._latest = now + server.peerlist_broadcast_max_wait_ms / 1000
        debounced = now + server.peerlist_broadcast_debounce_ms / 1000
        self._due = min(debounced, self._latest)
        if not self._is_planned:
            self._plan(self._due)

    def _plan(self, when: float) -> None:
        self._is_planned = True
        self._state.timers.schedule(when, self._flush)

    def _flush(self, now: float) -> None:
        if now < self._due:
            self._plan(self._due)  # put off meanwhile: one timer for all changes, however many
            return
        if self._update is not None:
            # The last update is still leaving: this one waits, and gathers more.
            self._plan(now + TICK_S)
            return
        self._is_planned = False
        unix = self._state.unix(now)
        peers = self._state.peers
        joined = []
        for peer, is_named in self._roll.news(self._joined, now):
            joined.append(peer_info(peer, now, unix, told_name(peer.name) if is_named else UNSET))
            if peers.authenticated(peer.node_id) is not None:
                self._told.put(peer.node_id, is_named)
        left = list(self._left)
        self._joined.clear()
        self._left.clear()
        if joined or left:
            self._begin_update(joined, left, now)

    def _begin_update(self, joined: list[PeerInfo], left: list[str], now: float) -> None:
        told = list(self._state.peers)
        if len(told) > MAX_RECIPIENTS:
            # Some may have no session. Only those that are drawn are checked, not all for each
            # change.
            told = self._state.rng.sample(told, min(DRAWN_FOR_EACH * MAX_RECIPIENTS, len(told)))
        recipients = [peer.node_id for peer in told if peer.is_authenticated][:MAX_RECIPIENTS]
        news = News(joined, left, self._state.datagram_bytes - ENVELOPE_BYTES)
        self._update = self._messages(news, recipients)
        self._tick(now)

    def _messages(
        self, news: News, recipients: list[str]
    ) -> Iterator[tuple[Peer, str, Raw | None]]:
        rng = self._state.rng
        for node_id in recipients:
            peer = self._state.peers.authenticated(node_id)
            if peer is None:
                continue
            if Capability.PEER_UPDATES in peer.facts.capabilities:
                for update in news.updates_for(node_id, rng):
                    yield peer, MessageType.DISCOVERY_UPDATE, update
            elif peer.purse.proved:
                for listed in news.lists_for(node_id, rng):
                    yield peer, MessageType.DISCOVERY_RESPONSE, listed
            elif self._note_untold(peer, news.joined):
                yield peer, MessageType.DISCOVERY_RESPONSE, None

    def _note_untold(self, peer: Peer, joined: Sequence[PeerInfo]) -> bool:
        """Note the nodes that a peer must be told about; returns whether there are any but
        itself."""
        untold = dict.fromkeys(peer.untold)
        is_any = False
        for entry in joined:
            if entry.id == peer.node_id:
                continue
            is_any = True
            if len(untold) >= MAX_UNTOLD and entry.id not in untold:
                self._state.counters.drop("untold_full")
                break
            untold[entry.id] = None
        peer.untold = tuple(untold)
        return is_any

    def _tick(self, now: float) -> None:
        if self._update is None:
            return
        sent = 0
        for peer, kind, payload in islice(self._update, MESSAGES_PER_TICK):
            sent += 1
            if peer.is_authenticated:
                self._send(peer, kind, payload, now)
        if sent:
            self._state.timers.schedule(now + TICK_S, self._tick)
        else:
            self._update = None

    def _send(self, peer: Peer, kind: str, payload: Raw | None, now: float) -> None:
        if payload is None:
            self._tell_untold(peer, now)
            return
        if kind == MessageType.DISCOVERY_RESPONSE:
            self._delivery.send(peer, kind, payload, now)
            return
        try:
            self._delivery.send_reliable(peer, kind, payload, now, ack_for=voucher(peer))
        except LocalError:
            self._state.counters.drop("queue_full")
