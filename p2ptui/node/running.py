"""The public state of a running node."""

from collections.abc import Callable
from enum import StrEnum
from typing import TYPE_CHECKING

from p2ptui.core.events import Event
from p2ptui.core.peers import Peer
from p2ptui.core.relay.values import RelayReport
from p2ptui.errors import LocalError
from p2ptui.node.life import NodeLife
from p2ptui.node.lookup import PeerRef, find_peer
from p2ptui.node.metrics import Stats, path_kinds, snapshot
from p2ptui.node.own_identity import NodeIdentity, OwnIdentity, identity_of
from p2ptui.node.roster import Roster
from p2ptui.node.subscription import Subscription
from p2ptui.node.view import PeerView, view
from p2ptui.secure.known_nodes import Judgement, KnownNode
from p2ptui.wire.address import Address
from p2ptui.wire.message import ListedServer, NodeInfo, RouteEntry

if TYPE_CHECKING:
    from p2ptui.node.cluster import ClusterReport, ServerStatus


class RunState(StrEnum):
    """Where a node is in its life."""

    NOT_STARTED = "not started"
    RUNNING = "running"
    CLOSING = "closing"
    FAILED = "failed"


class RunningNode(NodeLife):
    """The state of a node, and what happens to it."""

    @property
    def id(self) -> str:
        """This node's id."""
        return self._endpoint.identity.id

    @property
    def info(self) -> NodeInfo:
        """This node's description, as its peers get it: id, name, version, capabilities."""
        return self._endpoint.identity

    @property
    def own_identity(self) -> OwnIdentity:
        """This node's keys, whether they last, and notices about them for the user.

        Raises:
            LocalError: The node is not running.
        """
        if self._own is None:
            raise LocalError("the node is not running; start it first")
        return self._own

    @property
    def identity(self) -> NodeIdentity:
        """This node's identity as others see it, and how it protects its messages.

        Raises:
            LocalError: The node is not running.
        """
        return identity_of(self.own_identity, self._config, is_secured=self._secured)

    @property
    def known_nodes(self) -> list[KnownNode]:
        """The lasting nodes that this user has met, with this node or another; see `known_node`."""
        return list(self._runtime.acquaintances.book.known)

    @property
    def address(self) -> Address:
        """The address to which its socket is bound."""
        return self._runtime.socket.local_address

    @property
    def peers(self) -> list[PeerView]:
        """All peers, beginning with the one that has been silent longest."""
        return [self._view(peer) for peer in self._endpoint.peers]

    @property
    def roster(self) -> Roster:
        """Peers and the nodes behind them, for a table that shows a few of many."""
        return Roster(self._endpoint, self._clock, self._runtime.refused)

    @property
    def routes(self) -> list[RouteEntry]:
        """The routes: to which node, through which peer, over how many hops."""
        return self._endpoint.routes(self._clock())

    def peer(self, peer: PeerRef) -> PeerView:
        """Look up one peer.

        Raises:
            UnknownPeerError: There is no such peer, or the name fits several.
        """
        return self._view(find_peer(self._endpoint, peer, self._clock()))

    def _view(self, peer: Peer) -> PeerView:
        return view(peer, self._clock(), self._endpoint.peers)

    def known_node(self, node_id: str) -> KnownNode | None:
        """The known node with this id, from earlier sessions; None if it was never met."""
        return self._runtime.acquaintances.book.known.get(node_id)

    def against(self, ref: str, node_id: str, name: str) -> str:
        """Why nothing should be sent to a node that answers to what the user has typed: it has
        changed, the user knows another node by that name, or it has not shown the keys of its id.

        Args:
            ref: The name, the id or the beginning of one that was typed; empty if it was an
                address.
            node_id: The id of the node that answers to it.
            name: The name of that node.

        Returns:
            A line for the user: what happened and what to do; empty if nothing speaks against it.
        """
        return self._runtime.acquaintances.against(ref, node_id, name)

    def judge_listed(self, node_id: str, name: str) -> Judgement | None:
        """Judge a node that is only known from a list, as if it were a peer. Whether it really has
        that id only shows in a session with it.

        Args:
            node_id: Its id.
            name: The name in the list.

        Returns:
            The judgement; None if that id was never met.
        """
        return self._runtime.acquaintances.book.known.judge_listed(node_id, name)

    def has_proved(self, node_id: str) -> bool:
        """Whether a node has a session that cannot be forged: this node asked for it, or the other
        one's address has shown that somebody receives there.

        Args:
            node_id: Its id.
        """
        return self._endpoint.peers.has_proved(node_id)

    def seals_for(self, node_id: str) -> bool:
        """Whether a message to a node would be sealed now, in its session or from end to end
        through others. Otherwise it goes in the open: anyone on the path can read and alter it.

        Args:
            node_id: Its id.
        """
        peer = self._endpoint.peers.authenticated(node_id)
        if peer is not None:
            return peer.is_secured
        return self._endpoint.far_seals.is_needed(node_id)

    def relays(self, limit: int = 100) -> RelayReport:
        """This node's relaying for other nodes, and its refusals, by client.

        Args:
            limit: The number of open relays and clients to list, at most, beginning with the most
                recent.
        """
        return self._endpoint.relays(limit)

    @property
    def cluster(self) -> "ClusterReport | None":
        """The state of this server's cluster and of its link to the broker; None for a node that
        is in no cluster."""
        return None if self._cluster is None else self._cluster.report()

    def cluster_servers(self) -> "list[ServerStatus]":
        """The other servers of the cluster that are up; empty for a node that is in no cluster."""
        return [] if self._cluster is None else self._cluster.servers()

    def network_servers(self) -> list[ListedServer]:
        """The servers of the network, as far as this node knows them without asking: for a server
        in a cluster all of them, itself first; for any other node its home server first, then the
        servers that this one has named. Empty if there is no cluster."""
        return self._runtime.network.servers()

    async def learn_network_servers(self, longest_s: float = 0.0) -> None:
        """Ask this node's home for the other servers: then `network_servers` has their names,
        their numbers of peers, and when they were last heard.

        Args:
            longest_s: The home is not asked again within this time, seconds.
        """
        await self._runtime.network.learn(longest_s)

    @property
    def home(self) -> str | None:
        """The id of this node's home: the server of a cluster through which the nodes at other
        servers reach it. None if it has joined no cluster."""
        server = self._endpoint.home.server
        return None if server is None else server.node_id

    def stats(self) -> Stats:
        """Totals since the start, and how full the node is."""
        runtime = self._runtime
        return snapshot(runtime.endpoint, runtime.socket, runtime.now - runtime.started_at)

    def path_kinds(self) -> dict[str, int]:
        """Count the peers by how they are reached: `direct` without a search, the method that found
        a direct path, or `relay`. This looks at each peer: call it a few times a minute at most."""
        return path_kinds(self._runtime.endpoint)

    @property
    def max_connections(self) -> int:
        """The sessions that it takes at most; a reload may change it."""
        return self._config.server.max_connections

    @property
    def servers_to_join(self) -> int:
        """The number of servers in `join`."""
        return len(self._config.server.join)

    @property
    def configured_servers_joined(self) -> int:
        """The number of servers in `join` with a session; other servers do not count."""
        return self._runtime.joining.joined

    async def wait_joined(self, timeout_s: float | None = None) -> bool:
        """Wait until this node has a session with one of the servers in `join`.

        Args:
            timeout_s: Seconds to wait; None waits as long as it takes.

        Returns:
            Whether it has one. False at once if it has none to join, or has left them all.
        """
        await self._runtime.joining.wait_for_first(timeout_s)
        return self.configured_servers_joined > 0

    @property
    def state(self) -> RunState:
        """`not started`, `running`, `closing` or `failed`: an enum whose members are strings."""
        if self._started is None:
            return RunState.NOT_STARTED
        if self.has_failed:
            return RunState.FAILED
        return RunState.CLOSING if self._started.closing else RunState.RUNNING

    def events(
        self,
        limit: int | None = None,
        *,
        data: bool | str = True,
        wants: Callable[[Event], bool] | None = None,
    ) -> Subscription:
        """Subscribe to what happens from now on: an async iterator of `p2ptui.core.events`.

        A message is reported to its sender as DELIVERED once it waits in the queues of all readers
        of Data. A reader that falls behind by `reader_bytes` makes its senders wait.

        Args:
            limit: Events other than Data that may wait for the reader (`event_queue_size` without
                it). Any more are dropped, and an EventsDropped tells how many.
            data: Whether to read Data. Without Data, a reader never makes a sender wait. A
                string limits it to Data that may be an object with this key.
            wants: Called with each event as it happens; returns whether the reader gets it. Data
                that it does not want counts as read. It must be quick. If it raises, the reader
                gets the exception, and only this subscription ends.

        Returns:
            The iterator. It ends with the node, or with `unsubscribe`.

        Raises:
            LocalError: The limit is below 1.
        """
        if limit is None:
            limit = self._config.server.event_queue_size
        if limit < 1:
            raise LocalError(f"limit = {limit}: at least one event must have room")
        return self._runtime.subscribe(limit, data=data, wants=wants)

    def unsubscribe(self, subscription: Subscription) -> None:
        """End a subscription. Ending it twice, or after the node, does no harm."""
        if self._started is not None:
            self._started.unsubscribe(subscription)

    def trace(self, *, enabled: bool) -> None:
        """Emit a MessageTraced event for every message in and out, or stop doing so."""
        self._endpoint.set_tracing(enabled=enabled)

    def watch_names(self, *, enabled: bool) -> None:
        """Ask the joined servers for their lists regularly, or only when a name is needed."""
        self._endpoint.watching.set_watched(self._runtime.now, enabled=enabled)
        self._runtime.flush()
