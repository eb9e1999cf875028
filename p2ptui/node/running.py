"""What a running node shows to the outside."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from p2ptui.core.events import Event
from p2ptui.core.peers import Peer
from p2ptui.core.relay.values import RelayReport
from p2ptui.errors import LocalError
from p2ptui.node.life import NodeLife
from p2ptui.node.lookup import PeerRef, find_peer
from p2ptui.node.metrics import Stats, snapshot
from p2ptui.node.own_identity import NodeIdentity, OwnIdentity, identity_of
from p2ptui.node.roster import Roster
from p2ptui.node.subscription import Subscription
from p2ptui.node.view import PeerView, view
from p2ptui.secure.known_nodes import Judgement, KnownNode
from p2ptui.wire.address import Address
from p2ptui.wire.message import ListedServer, NodeInfo, RouteEntry

if TYPE_CHECKING:
    from p2ptui.node.cluster import ClusterReport, ServerStatus


class RunningNode(NodeLife):
    """The state of a node, and what happens to it."""

    @property
    def id(self) -> str:
        """This node's id."""
        return self._endpoint.identity.id

    @property
    def info(self) -> NodeInfo:
        """Who this node says it is."""
        return self._endpoint.identity

    @property
    def own_identity(self) -> OwnIdentity:
        """This node's keys, whether they last, and what the user should know about them.

        Raises:
            LocalError: The node is not running.
        """
        if self._own is None:
            raise LocalError("the node is not running; start it first")
        return self._own

    @property
    def identity(self) -> NodeIdentity:
        """Who this node is to others, and how it protects what it says.

        Raises:
            LocalError: The node is not running.
        """
        return identity_of(self.own_identity, self._config, is_secured=self._secured)

    @property
    def known_nodes(self) -> list[KnownNode]:
        """The lasting nodes that its user has met, in any of them; see `known_node`."""
        return list(self._runtime.acquaintances.book.known)

    @property
    def address(self) -> Address:
        """Where its socket is bound."""
        return self._runtime.socket.local_address

    @property
    def peers(self) -> list[PeerView]:
        """All peers, the one heard of longest ago first."""
        return [self._view(peer) for peer in self._endpoint.peers]

    @property
    def roster(self) -> Roster:
        """Peers, and the nodes behind them, for a table that shows a few of many."""
        return Roster(self._endpoint, self._clock, self._runtime.refused)

    @property
    def routes(self) -> list[RouteEntry]:
        """To whom there is a way, through whom, and how far it is (hops)."""
        return self._endpoint.routes(self._clock())

    def peer(self, peer: PeerRef) -> PeerView:
        """One peer.

        Raises:
            UnknownPeerError: There is none, or the name fits several.
        """
        return self._view(find_peer(self._endpoint, peer, self._clock()))

    def _view(self, peer: Peer) -> PeerView:
        return view(peer, self._clock(), self._endpoint.peers)

    def known_node(self, node_id: str) -> KnownNode | None:
        """What this node's user knows of an id, from sessions before; None if it was never met."""
        return self._runtime.acquaintances.book.known.get(node_id)

    def against(self, ref: str, node_id: str, name: str) -> str:
        """What speaks against giving anything to a node that answers to what the user has typed: it
        is not as it was, or not the node that the user knows by that, or has not shown the keys of
        its id.

        Args:
            ref: A name, an id, or the beginning of one; empty for who was named by its address.
            node_id: Who answers to it.
            name: What that is called.

        Returns:
            A line for the user: what happened and what to do; empty if nothing speaks against it.
        """
        return self._runtime.acquaintances.against(ref, node_id, name)

    def judge_listed(self, node_id: str, name: str) -> Judgement | None:
        """What is known of a node that others tell of, in the words for one with a session; who has
        the id is only shown in a session with it.

        Args:
            node_id: Its id.
            name: What it is said to be called.

        Returns:
            None if that id was never met.
        """
        return self._runtime.acquaintances.book.known.judge_listed(node_id, name)

    def seals_for(self, node_id: str) -> bool:
        """Whether what is sent to a node now is sealed for it: in its session, or from end to end
        by way of others. Else it goes in the open: who is on the way can read and alter it.

        Args:
            node_id: Its id.
        """
        peer = self._endpoint.peers.authenticated(node_id)
        if peer is not None:
            return peer.is_secured
        return self._endpoint.far_seals.is_needed(node_id)

    def relays(self, limit: int = 100) -> RelayReport:
        """What this node relays for others, and what it refuses, by client.

        Args:
            limit: Open relays and clients to name, at most; the most recent ones are.
        """
        return self._endpoint.relays(limit)

    @property
    def cluster(self) -> "ClusterReport | None":
        """How this server stands among the others of its network, and with their broker; None for
        one that serves it alone."""
        return None if self._cluster is None else self._cluster.report()

    def cluster_servers(self) -> "list[ServerStatus]":
        """The other servers of the network that are there; none for one that serves it alone."""
        return [] if self._cluster is None else self._cluster.servers()

    def network_servers(self) -> list[ListedServer]:
        """The servers of the network, as far as this node knows them without asking: of a server in
        a cluster all, itself first; of any other node the one that it is at, first, and those that
        this one told it of. None where the servers are no cluster."""
        return self._runtime.network.servers()

    async def learn_network_servers(self, longest_s: float = 0.0) -> None:
        """Ask the server that this node is at for the others: then `network_servers` has their
        names, how many peers they have, and when they were heard.

        Args:
            longest_s: It is not asked again within this time, seconds.
        """
        await self._runtime.network.learn(longest_s)

    @property
    def home(self) -> str | None:
        """The id of the server of a cluster that this node is at, by which the others reach it;
        None where it is at none."""
        server = self._endpoint.home.server
        return None if server is None else server.node_id

    def stats(self) -> Stats:
        """Totals since the start, and how full the node is."""
        runtime = self._runtime
        return snapshot(runtime.endpoint, runtime.socket, runtime.now - runtime.started_at)

    def events(
        self,
        limit: int | None = None,
        *,
        data: bool | str = True,
        wants: Callable[[Event], bool] | None = None,
    ) -> Subscription:
        """What happens from now on, as an async iterator of `p2ptui.core.events`.

        Messages of others are told DELIVERED when they wait in the queues of all who read Data.
        A reader that falls behind by `reader_bytes` makes those wait who write to it.

        Args:
            limit: Events other than Data that may wait for the reader (`event_queue_size` without
                it); beyond that they are dropped, and an EventsDropped says how many.
            data: Whether this is a reader of Data. One that is not gets none, and holds up nobody.
                A key makes it a reader of what may be an object with that, and of no other Data.
            wants: Called with each event as it happens: whether the reader gets it; all without
                it. Data that it does not want counts as read. It must be quick. What it raises is
                raised to the reader, and ends this subscription alone.

        Raises:
            LocalError: The limit is below 1.
        """
        if limit is None:
            limit = self._config.server.event_queue_size
        if limit < 1:
            raise LocalError(f"limit = {limit}: at least one event must have room")
        return self._runtime.subscribe(limit, data=data, wants=wants)

    def unsubscribe(self, subscription: Subscription) -> None:
        """End a subscription; also one that has ended, with the node or before."""
        if self._started is not None:
            self._started.unsubscribe(subscription)

    def trace(self, *, enabled: bool) -> None:
        """Whether every message that comes and goes is told as a MessageTraced event."""
        self._endpoint.set_tracing(enabled=enabled)

    def watch_names(self, *, enabled: bool) -> None:
        """Whether somebody looks at the nodes behind the joined servers, and at their names.

        Then the servers' lists are asked for at once and kept fresh; else when they are needed.
        """
        self._endpoint.watching.set_watched(self._runtime.now, enabled=enabled)
        self._runtime.flush()
