"""The node: server and client in one event loop, behind one async API."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from p2ptui.core.addresses import address_words
from p2ptui.core.events import (
    ConnectResult,
    NodeList,
    Path,
    PathChanged,
    PingResult,
    SendResult,
    ServerList,
)
from p2ptui.core.identity import canonical_id
from p2ptui.core.peers import Peer
from p2ptui.errors import (
    LocalError,
    NotKnownThereError,
    NotMetError,
    PeerGoneError,
    PeerTimeoutError,
    UnknownPeerError,
)
from p2ptui.nat.report import NatReport
from p2ptui.node.arguments import (
    read_address,
    read_bytes,
    read_hops,
    read_node_id,
    read_seconds,
)
from p2ptui.node.finder import ASK_TIMEOUT_S, SHORTEST_WAIT_S, Finder, may_mean
from p2ptui.node.lookup import (
    OtherServerError,
    PeerRef,
    SeveralFitError,
    find_peer,
    is_node_ref,
    node_id_of,
    not_met_words,
)
from p2ptui.node.others import Known, OtherNode
from p2ptui.node.running import RunningNode
from p2ptui.node.view import PeerView
from p2ptui.secure.known_nodes import KnownNode
from p2ptui.text import seconds_words
from p2ptui.wire.address import Address, format_address


class Node(RunningNode):
    """A node: server and client in one; use it as `async with Node(config) as node`.

    Call its methods in the event loop in which it was started. Times are seconds unless a name
    says otherwise.

    Args:
        config: All options; the defaults without it.
        open_socket: Opens the socket at the listening address; for simulated networks.
        clock: A monotonic clock, seconds.
        rng: The source of ids and jitter; it must be unpredictable, except in tests.
        wall: Unix time, seconds.
        machine: The machine that the node runs on, whose addresses may change; by default this
            one, or one that never moves if the sockets are simulated.
        secured: Whether the node has keys. False makes it speak in the open with everybody, to
            play a program without keys.
        known_nodes: The file of known nodes; by default that of the user, and none for a node in
            a simulated network.
        key_log: A file to which the keys of the node's sessions are appended, for debugging:
            anybody with that file can decrypt them.
    """

    async def connect(
        self,
        target: str | Address,
        timeout_s: float | None = None,
        *,
        heed_refusals: bool = False,
    ) -> PeerView:
        """Begin a session with the node at an address, or with one that a joined server knows.

        All addresses of a host name are tried, 250 ms apart, and the first handshake wins.

        Args:
            target: `host:port`, `host:port#id`, an address; or a node id, the beginning of one, or
                a name: these need a joined server, which introduces the two nodes.
            timeout_s: Seconds for the look-up of the host and the handshake; `auth_timeout`
                without it.
            heed_refusals: As for `connect_any`.

        Raises:
            HandshakeError: The node refused, nobody answered, or the socket at the listening
                address cannot reach it.
            LocalError: The address is invalid or does not resolve, the peer table is full, or a
                node id was given and no server is joined.
            UnknownPeerError: No node has this name, or several have.
            RemoteError: No joined server could introduce the node.
        """
        seconds = self._attempt_s(timeout_s)
        deadline = self._clock() + seconds
        if isinstance(target, str) and is_node_ref(target):
            try:
                return await self._connect_to_node(target, deadline)
            except OtherServerError as error:
                target = error.address
        told = read_address(target)
        left_s = max(deadline - self._clock(), SHORTEST_WAIT_S)
        result = await self._runtime.connector.connect(told, left_s, heed_refusals=heed_refusals)
        self._runtime.partings.resume(result.address, told)
        return self._connected_to(result)

    async def _connect_to_node(self, ref: str, deadline: float) -> PeerView:
        node_id = canonical_id(ref)
        if node_id is None:
            self._require_somebody(ref)
            found = await self._finder.find(ref, max(deadline - self._clock(), SHORTEST_WAIT_S))
            node_id = found.node_id
        await self._finder.wait_for_introducer(
            node_id, max(deadline - self._clock(), SHORTEST_WAIT_S)
        )
        known = self._endpoint.peers.authenticated(node_id)
        if known is not None:
            self._runtime.acquaintances.note_named(node_id)
            return self._view(known)
        self._runtime.network.require_none(node_id)
        left_s = max(deadline - self._clock(), SHORTEST_WAIT_S)
        try:
            result = await self._runtime.connector.connect_by_id(node_id, left_s)
        except NotKnownThereError as error:
            raise await self._runtime.network.explain(error, node_id) from None
        return self._connected_to(result)

    def _require_somebody(self, ref: str) -> None:
        """Without peers and servers to join, a name means nobody, and was probably meant as an
        address.

        Raises:
            UnknownPeerError: It says how an address is written.
        """
        if self._config.server.join or any(self._endpoint.peers) or may_mean(ref, self.info):
            return
        try:
            read_address(ref)
        except LocalError as error:
            raise UnknownPeerError(str(error)) from None

    async def connect_any(
        self,
        addresses: Sequence[Address],
        timeout_s: float | None = None,
        *,
        heed_refusals: bool = False,
    ) -> PeerView:
        """Begin a session with a node at the first of its addresses that answers.

        Args:
            addresses: Literal IP addresses, in the order in which to try them; at most eight are
                tried.
            timeout_s: Seconds; `auth_timeout` without it.
            heed_refusals: Whether an address counts as failed as soon as its machine reports that
                nothing listens there (ICMP), instead of after `timeout_s`. Such a report can be
                forged.

        Raises:
            HandshakeError: No address answered, or each refused or cannot be reached from the
                listening address.
            LocalError: The peer table is full, or no address was given.
        """
        seconds = self._attempt_s(timeout_s)
        read = [read_address(address) for address in addresses]
        return self._connected_to(
            await self._runtime.connector.connect_any(read, seconds, heed_refusals=heed_refusals)
        )

    def _attempt_s(self, timeout_s: float | None) -> float:
        return read_seconds(self._config.security.auth_timeout if timeout_s is None else timeout_s)

    def _connected_to(self, result: ConnectResult) -> PeerView:
        self._runtime.partings.resume(result.address)
        self._endpoint.neighbours.welcome(result.node_id)
        self._runtime.acquaintances.note_named(result.node_id)
        try:
            return self.peer(result.address)
        except UnknownPeerError:
            where = address_words(result.address)
            raise PeerGoneError(f"{where} left as soon as it was connected") from None

    async def punch(self, node_id: str, timeout_s: float = 15.0) -> PeerView:
        """Search for a direct path to a relayed node now, without waiting for the next attempt.

        Args:
            node_id: A node that you connected to by its id.
            timeout_s: Seconds to wait for the outcome.

        Returns:
            The peer; its `path` and `connection` show the outcome.

        Raises:
            LocalError: No common server is known; connect to the node by its id first.
            UnknownPeerError: The node left meanwhile.
            PeerTimeoutError: The search is still going on.
        """
        node_id = self._finder.other(read_node_id(node_id))
        seconds = read_seconds(timeout_s)
        events = self.events(data=False)
        try:
            self._endpoint.traversal.search(node_id, self._runtime.now)
            self._runtime.flush()
            async with asyncio.timeout(seconds):
                while self.peer(node_id).path is not Path.DIRECT:
                    event = await anext(events)
                    # A change of the relay is also a change of path, but not an outcome.
                    if (
                        isinstance(event, PathChanged)
                        and event.node_id == node_id
                        and event.ends_search
                    ):
                        break
        except TimeoutError:
            raise PeerTimeoutError(
                f"no direct path to node {node_id} was found within {seconds_words(seconds)}"
            ) from None
        finally:
            self.unsubscribe(events)
        return self.peer(node_id)

    async def disconnect(self, peer: PeerRef, reason: str = "") -> bool:
        """Say goodbye to a peer, and do not connect to it again until `connect` is called.

        Args:
            peer: The peer.
            reason: The reason to give it, in one line.

        Returns:
            Whether it is a server in `join`, which will be kept joined again after `connect`.

        Raises:
            UnknownPeerError: There is no such peer.
        """
        found = find_peer(self._endpoint, peer, self._runtime.now)
        is_kept = self._runtime.partings.part(found.address)
        self._endpoint.neighbours.shun(found.node_id, found.address)
        self._endpoint.disconnect(found, reason, self._runtime.now)
        self._runtime.flush()
        return is_kept

    async def trust(self, ref: PeerRef) -> KnownNode:
        """Mark a node as `verified`: you have compared its id with its user.

        Args:
            ref: A peer, as for `peer`; or a node that was met before, by its name, its id, or the
                beginning of its id.

        Raises:
            UnknownPeerError: There is no such node, or several fit; or the node has no keys, or
                none that last.
            NotWrittenError: The file of known nodes could not be written; nothing has changed.
        """
        peer = self._meant(ref)
        text = ref if isinstance(ref, str) else _text_of(ref, peer)
        try:
            return await self._runtime.acquaintances.trust(text, peer)
        except NotMetError as error:
            words = not_met_words(self._endpoint, text, self._clock())
            raise NotMetError(words or str(error)) from None

    async def forget(self, ref: PeerRef) -> KnownNode:
        """Forget a node, its name and its addresses. The next node in its place is `new`.

        Args:
            ref: As for `trust`; or the address at which the node was joined, as it was typed.

        Raises:
            UnknownPeerError: No such node is known, or several fit.
            NotWrittenError: The file of known nodes could not be written; nothing has changed.
        """
        peer = self._meant(ref)
        text = ref if isinstance(ref, str) else _text_of(ref, peer)
        return await self._runtime.acquaintances.forget(text, peer)

    def _meant(self, ref: PeerRef) -> Peer | None:
        """The peer that is meant, if one with a session is."""
        try:
            found = find_peer(self._endpoint, ref)
        except SeveralFitError:
            raise
        except UnknownPeerError:
            return None
        return found if found.is_authenticated else None

    async def find(self, ref: PeerRef, timeout_s: float = ASK_TIMEOUT_S) -> Known:
        """Find the node with an id, the beginning of one, a name or an address.

        If no such node is known here, the joined servers are asked.

        Args:
            ref: The id, name or address.
            timeout_s: Seconds to wait for the first server, if none is joined yet, and for its
                answer, which may take three of them at most.

        Raises:
            UnknownPeerError: No node fits, or several do; the text lists their ids.
        """
        found = await self._finder.find(ref, read_seconds(timeout_s))
        return self._view(found) if isinstance(found, Peer) else found

    @property
    def _finder(self) -> Finder:
        return Finder(
            self._endpoint,
            self._runtime.call,
            self._clock,
            self._runtime.network,
            self._runtime.joining.wait_for_first,
        )

    async def _connected(
        self, peer: PeerRef, timeout_s: float = ASK_TIMEOUT_S, *, may_resume: bool = False
    ) -> Peer:
        found = await self._finder.find_peer(peer, timeout_s)
        if not (found.is_authenticated or (may_resume and found.resumes)):
            where = address_words(found.address)
            raise UnknownPeerError(f"the handshake with {where} is not done; connect to it first")
        return found

    async def ping(self, peer: PeerRef, timeout_s: float = 5.0) -> PingResult:
        """Measure the round trip to a peer, or to a node that is reached through others.

        Args:
            peer: A peer; or any node to which there is a route, by its id or name.
            timeout_s: Seconds to wait for the answer.

        Raises:
            PeerTimeoutError: No answer came in time.
            PeerGoneError: The peer left meanwhile.
            UnknownPeerError: There is no such node.
            LocalError: There is no route to the node, or too many Pings to it are waiting already.
        """
        deadline = self._clock() + read_seconds(timeout_s)
        node_id = node_id_of(peer)
        if node_id is None:
            found = await self._finder.find(peer, timeout_s)
            is_behind = isinstance(found, OtherNode) or found.resumes
            node_id = found.node_id if is_behind else None
        timeout_s = max(deadline - self._clock(), SHORTEST_WAIT_S)
        if node_id is not None and self._endpoint.peers.authenticated(node_id) is None:
            token = await self._finder.begin_routed(
                node_id,
                timeout_s,
                lambda to, left_s: self._endpoint.ping_node(to, self._runtime.now, left_s),
            )
        else:
            target = await self._connected(peer)
            token = self._endpoint.ping(target, self._runtime.now, timeout_s)
        result: PingResult = await self._runtime.call(token)
        return result

    async def ping_routed(self, node_id: str, timeout_s: float = 5.0) -> PingResult:
        """Measure the round trip to a node through others, even if there is a direct path.

        Raises:
            PeerTimeoutError: No answer came in time.
            LocalError: There is no route to the node.
        """
        token = await self._finder.begin_routed(
            node_id,
            timeout_s,
            lambda to, left_s: self._endpoint.ping_routed(to, self._runtime.now, left_s),
        )
        result: PingResult = await self._runtime.call(token)
        return result

    async def send(
        self,
        peer: PeerRef,
        payload: Any,
        reliable: bool = True,
        timeout_s: float | None = None,
    ) -> SendResult:
        """Send Data to a peer.

        Args:
            peer: The peer.
            payload: None, bool, int of at most 64 bits, finite float, str, list, or dict with str
                keys: values that arrive equal and with the same types. Anything else, tuples
                included, is refused.
            reliable: Whether to send it again until it is acknowledged.
            timeout_s: Seconds after which to stop trying; without it the retransmission options
                decide.

        Returns:
            What became of the message: delivered, failed or timed out; sent or unconfirmed if
            nobody acknowledges it.

        Raises:
            UnknownPeerError: There is no such peer.
            LocalError: The payload would not arrive as it is (the text names the place and the
                type), is larger than the limit, or too much is waiting already.
        """
        began = self._clock()
        seconds = self._attempt_s(timeout_s)
        target = await self._connected(peer, seconds, may_resume=reliable)
        token = self._endpoint.send(target, payload, self._runtime.now, reliable=reliable)
        timer: asyncio.TimerHandle | None = None
        if timeout_s is not None:
            reason = f"no acknowledgement within {seconds_words(timeout_s)}"
            left_s = max(began + timeout_s - self._clock(), SHORTEST_WAIT_S)
            timer = self._runtime.later(
                left_s, lambda now: self._endpoint.cancel(target, token, reason, now)
            )
        try:
            result: SendResult = await self._runtime.call(token)
        finally:
            if timer is not None:
                timer.cancel()
        return result

    async def send_routed(
        self, node_id: str, payload: Any, max_hops: int | None = None, timeout_s: float = 30.0
    ) -> SendResult:
        """Send Data to a node through others, until it answers.

        Args:
            node_id: The id of the node.
            payload: As for `send`.
            max_hops: How many nodes may forward it; `routing.max_hops` (8) without it.
            timeout_s: Seconds after which to stop trying.

        Returns:
            What became of the message, as for `send`.

        Raises:
            LocalError: The payload is not JSON or too large, or there is no route to the node.
        """
        hops = self._config.routing.max_hops if max_hops is None else read_hops(max_hops)
        token = await self._finder.begin_routed(
            node_id,
            timeout_s,
            lambda to, left_s: self._endpoint.send_routed(
                to, payload, hops, self._runtime.now, left_s
            ),
        )
        result: SendResult = await self._runtime.call(token)
        return result

    async def relay(
        self, server: PeerRef, node_id: str, data: bytes, timeout_s: float = 5.0
    ) -> SendResult:
        """Have a server relay bytes to another of its peers (a RelayRequest).

        Returns:
            SENT if the server agreed, otherwise FAILED with its reason. That the bytes arrived is
            not known.

        Raises:
            UnknownPeerError: There is no such server.
            LocalError: `data` is not bytes.
            MessageTooLargeError: The request does not fit into a datagram.
            PeerTimeoutError: The server did not answer in time.
        """
        seconds = read_seconds(timeout_s)
        node_id, data = read_node_id(node_id), read_bytes(data)
        by = await self._connected(server, seconds)
        token = self._endpoint.relay(by, node_id, data, self._runtime.now, seconds)
        result: SendResult = await self._runtime.call(token)
        return result

    async def list_nodes(self, server: PeerRef, timeout_s: float = 10.0) -> NodeList:
        """Ask a peer for the nodes that it knows, with their names and addresses.

        Raises:
            UnknownPeerError: There is no such peer.
        """
        seconds = read_seconds(timeout_s)
        asked = await self._connected(server, seconds)
        token = self._endpoint.list_nodes(asked, self._runtime.now, seconds)
        result: NodeList = await self._runtime.call(token)
        return result

    async def list_servers(self, server: PeerRef, timeout_s: float = 10.0) -> ServerList:
        """Ask a server which other servers share its network.

        Returns:
            That server first, then the others; no server at all if it serves the network alone.

        Raises:
            UnknownPeerError: There is no such peer.
        """
        seconds = read_seconds(timeout_s)
        asked = await self._connected(server, seconds)
        token = self._endpoint.list_servers(asked, self._runtime.now, seconds)
        result: ServerList = await self._runtime.call(token)
        return result

    async def discover(self, server: PeerRef | None = None) -> None:
        """Ask one peer, or all peers, for their lists; the answers are PeersDiscovered events.

        Raises:
            UnknownPeerError: There is no such peer.
        """
        if server is not None:
            peers = [await self._connected(server)]
        else:
            peers = [peer for peer in self._endpoint.peers if peer.is_authenticated]
        for peer in peers:
            self._endpoint.discover(peer, self._runtime.now)
        self._runtime.flush()

    # What it finds out.

    async def diagnose_nat(
        self,
        servers: Sequence[str] | None = None,
        *,
        lifetime: bool = False,
        on_progress: Callable[[str], None] | None = None,
        filter_with: Sequence[str] = (),
    ) -> NatReport:
        """Diagnose the NAT in front of this machine (RFC 5780), in about two seconds.

        Some NATs ban an address that sends unsolicited datagrams. So the test of what the NAT lets
        in uses no peer, and no server that this node has joined or is to join.

        Args:
            servers: STUN servers, `host:port` each, to ask in addition to the joined nodes that
                serve STUN; without it those of `[nat_detection]`.
            lifetime: Also measure how long a mapping lives, which takes minutes.
            on_progress: Called with a description of each step.
            filter_with: Servers, `host:port` each, to ask, and to use for the test of what is let
                in even if this node depends on them. The NAT may ban them for a while.

        Raises:
            LocalError: No server is known, or one is not an address.
            PeerTimeoutError: The diagnosis took longer than `detection_timeout_ms`.
        """
        return await self._runtime.nat.diagnose(
            servers, lifetime=lifetime, on_progress=on_progress, filter_with=filter_with
        )


def _text_of(ref: PeerRef, peer: Peer | None) -> str:
    """A reference as the known nodes take it."""
    if peer is not None:
        return peer.node_id
    if isinstance(ref, str):
        return ref
    if isinstance(ref, PeerView | OtherNode):
        return ref.node_id
    return format_address(ref)
