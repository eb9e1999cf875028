"""The peer table: every node that this one talks to, by id and by address, most recent last."""

import math
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from itertools import islice

from msgspec import UNSET, UnsetType

from p2ptui.bounded import LOOKED_AT, BoundedTable, Crowd, Limit, Recency, Shares
from p2ptui.core.addresses import relay_address
from p2ptui.core.aliases import Aliases, Standing
from p2ptui.core.events import PeerStatus
from p2ptui.core.peers.elsewhere import Listed
from p2ptui.core.peers.own_cluster import OwnCluster
from p2ptui.core.peers.peer import Peer
from p2ptui.core.peers.relayed import Relayed
from p2ptui.errors import LocalError
from p2ptui.wire.address import Address, format_address
from p2ptui.wire.message import Capability, NodeInfo, PeerInfo


class PeerTable:
    """All peers, found both by id and by address, in the order of their last message.

    Args:
        count: Called with a cause when there is no room for an alias.
        limit: Most peers, under all circumstances. Code that admits newcomers keeps below it, and
            makes room for them first; a node that is asked at two addresses may briefly be in it
            twice.
        shares: The shares of the table, for each address and prefix. Peers that this node asked are
            not counted.
    """

    def __init__(
        self,
        count: Callable[[str], None] = lambda _: None,
        limit: Limit = 65_536,
        shares: Shares | None = None,
    ) -> None:
        self._by_address: BoundedTable[Address, Peer] = BoundedTable(
            limit, refuses=True, full="peers_full", shares=shares or Shares(), count=count
        )
        self._recent: Recency[Peer] = Recency()
        """The same peers, in the order of their last messages."""
        self._by_id: BoundedTable[str, Peer] = BoundedTable(limit, refuses=True)
        self.own = self._by_address.get
        """The peer with that own address, or None: as fast as a dict."""
        self._aliases: Aliases[Peer] = Aliases(count, limit)
        self._alias = self._aliases.known
        self._initiated: BoundedTable[Address, Peer] = BoundedTable(limit)
        self.relayed: Relayed[Peer] = Relayed(limit)
        """Addresses of relayed peers through servers other than the one in their address."""
        self._relayed_owner = self.relayed.owner
        self.cluster = OwnCluster()
        """Which of the joined servers can stand in for each other."""
        self.on_rerouted: Callable[[Peer], None] = lambda _: None
        """Called with each peer whose path has changed."""
        # Maintained, not counted anew: with ten thousand peers that takes milliseconds.
        self._statuses: Counter[PeerStatus] = Counter()

    def __len__(self) -> int:
        return len(self._by_address)

    def __iter__(self) -> Iterator[Peer]:
        return iter(self._recent)

    def at(self, address: Address) -> Peer | None:
        """The peer at `address`, or to which a path through it was found."""
        peer = self.own(address)
        return self.beside(address) if peer is None else peer

    def beside(self, address: Address) -> Peer | None:
        """The peer to which a path through `address` was found, which is not its own address."""
        alias = self._alias(address)
        return self._relayed_owner(address) if alias is None else alias[0]

    def sender(self, address: Address) -> Peer | None:
        """The peer with a session that sends from `address`, unless that is a mere claim."""
        peer = self.own(address)
        if peer is None:
            owner, standing = self._alias(address) or (self._relayed_owner(address), None)
            peer = None if standing is Standing.CLAIMED else owner
        return peer if peer is not None and peer.is_authenticated else None

    def own_address(self, address: Address) -> Address:
        """The own address of the peer at `address`, or `address` itself if there is no peer.

        Code that waits for a handshake, or ends it, uses this one: a peer has other addresses too,
        and they change.
        """
        peer = self.at(address)
        return address if peer is None else peer.address

    @property
    def aliases(self) -> int:
        """How many addresses are further addresses of some peer."""
        return len(self._aliases)

    def sizes(self) -> dict[str, int]:
        """How many peers there are, and how many further addresses."""
        return {"peers": len(self), "aliases": self.aliases}

    def aliases_of(self, peer: Peer) -> Collection[Address]:
        """The further addresses that a peer may send from."""
        return self._aliases.of(peer)

    def add_alias(self, peer: Peer, address: Address, standing: Standing) -> bool:
        """Datagrams from `address` are from `peer` too; returns whether that was accepted.

        Args:
            peer: The peer.
            address: Where it sends from; the own address of a peer never belongs to another.
            standing: How certain that is.
        """
        if address in self._by_address:
            return self._by_address[address] is peer
        holder = self._aliases.owner(address)
        owner = self._aliases.enter(peer, address, standing)
        if holder is not None and owner is peer and holder is not peer:
            self._require_alias(holder)
        return owner is peer

    def remove_aliases(self, peer: Peer) -> None:
        """The peer sends only from its own address, and its datagrams go there."""
        self._aliases.clear(peer)
        self._route(peer, None, peer._home)

    def take_path(self, peer: Peer, address: Address, *, still_arrives: bool = False) -> bool:
        """Send a peer's datagrams to `address`, and count datagrams from there as its own.

        Args:
            peer: The peer.
            address: The new destination.
            still_arrives: Whether the previous path works too: then datagrams in flight are not
                retransmitted at once.

        Returns:
            False, and nothing is changed, if that is the own address of another peer.
        """
        if address == peer.home:
            self._route(peer, None, peer._home)
            return True
        if not self.add_alias(peer, address, Standing.CHOSEN):
            return False
        self._route(peer, address, peer._home, still_arrives=still_arrives)
        return True

    def leave_path(self, peer: Peer, *, still_arrives: bool = False) -> None:
        """Send a peer's datagrams to its own address; datagrams from the path still count as its
        own.

        Args:
            peer: The peer.
            still_arrives: As for `take_path`.
        """
        self._route(peer, None, peer._home, still_arrives=still_arrives)

    def rehome(self, peer: Peer, address: Address) -> bool:
        """A peer has a new own address; returns whether that was accepted.

        Args:
            peer: The peer; it is otherwise unchanged.
            address: A free address.
        """
        if address in self._by_address or self._by_address.get(peer.address) is not peer:
            return False
        holder = self._aliases.owner(address)
        if holder is not None:
            self._aliases.remove(holder, address)
            self._require_alias(holder)
        former = peer.address
        del self._by_address[former]
        by = None if peer.initiated else address
        if not self._by_address.put(address, peer, address=by, proved=True):
            self._by_address.put(former, peer, address=None)
            return False
        self._recent.enter(peer)
        if self._initiated.pop(former, None) is not None:
            self._initiated.put(address, peer)
        before, peer.address = peer.sends_to, address
        if peer.sends_to != before:
            peer.channel.sender.leave_path(still_arrives=False)
            self.on_rerouted(peer)
        return True

    def exchange(self, one: Peer, other: Peer) -> bool:
        """Two peers have swapped addresses; returns whether that was accepted.

        Args:
            one: A peer that came by itself and has no other path.
            other: Likewise.
        """
        pair = one, other
        if any(self._by_address.get(each.address) is not each for each in pair):
            return False
        if any(each.initiated or each.sends_to != each.address for each in pair):
            return False
        for each in pair:
            del self._by_address[each.address]
        one.address, other.address = other.address, one.address
        for each in pair:
            each.forget_pair()
            self._by_address.put(each.address, each, address=each.address, proved=True)
            self._recent.enter(each)
            each.channel.sender.leave_path(still_arrives=False)
            self.on_rerouted(each)
        return True

    def add_relay(self, peer: Peer, address: Address) -> bool:
        """A relayed peer is also at `address` through another server; returns whether that was
        accepted."""
        if address in self._by_address:
            return self._by_address[address] is peer
        return self.relayed.enter(peer, address)

    def may_be_brought(self, node_id: str, server: Peer) -> bool:
        """Whether a server may speak for a node: it has no session here, or uses a relay of this
        server."""
        known = self.authenticated(node_id)
        if known is None or known.is_claim:
            return True
        by_server = relay_address(server.address, node_id)
        return by_server == known.address or by_server in self.relayed.of(known)

    def may_be_moved(self, node_id: str, server: Peer, now: float) -> bool:
        """Whether an offer that a server brings unasked may find another path for a node's session.
        The writer of the offer answers the checks, and may have joined that server under the id."""
        known = self.authenticated(node_id)
        if known is None or known.is_settled(now):
            return known is None
        return "@" not in known.home[0] or self.may_be_brought(node_id, server)

    def take_home(self, peer: Peer, address: Address) -> None:
        """Send a relayed peer's datagrams to its own address, or to one that `add_relay`
        accepted."""
        self._route(peer, peer._path, None if address == peer.address else address)

    def note_own_move(self, peer: Peer) -> None:
        """Datagrams go to the same address, but from another place: what was learnt about the path
        is no longer valid (RFC 9000, section 9.4), and datagrams in flight may be lost."""
        peer.channel.sender.leave_path(still_arrives=False)
        self.on_rerouted(peer)

    def _require_alias(self, peer: Peer) -> None:
        known = (*self._aliases.of(peer), peer.address)
        if peer.path is not None and peer.path not in known:
            self._route(peer, None, peer._home)

    def _route(
        self,
        peer: Peer,
        path: Address | None,
        home: Address | None,
        *,
        still_arrives: bool = False,
    ) -> None:
        """The only place that changes where datagrams go.

        Every change of path has consequences: what was learnt about the previous one (datagram
        size, round trip, congestion window) does not apply to the next (RFC 9000, section 9.4).
        """
        before = peer.sends_to
        peer._path, peer._home = path, home
        if peer.sends_to != before:
            peer.channel.sender.leave_path(still_arrives=still_arrives)
            self.on_rerouted(peer)

    def with_id(self, node_id: str) -> Peer | None:
        """The peer with this id, if its handshake has told it."""
        return self._by_id.get(node_id)

    def authenticated(self, node_id: str) -> Peer | None:
        """The peer with this id, if messages may be sent to it."""
        peer = self._by_id.get(node_id)
        is_ready = peer is not None and peer.status is PeerStatus.AUTHENTICATED
        return peer if is_ready else None

    def has_proved(self, node_id: str) -> bool:
        """Whether there is a session with this id that is no mere claim."""
        peer = self.authenticated(node_id)
        return peer is not None and not peer.is_claim

    def recent(self) -> Iterator[Peer]:
        """All peers, the most recently heard first."""
        return self._recent.newest_first()

    @property
    def initiated(self) -> Iterable[Peer]:
        """The peers that this node asked for a session."""
        return self._initiated.values()

    @property
    def joined_servers(self) -> list[Peer]:
        """The servers that this node has joined, in the order in which it first asked them."""
        return [peer for peer in self._initiated.values() if peer.is_joined_server]

    def has_session_at(self, address: Address) -> bool:
        """Whether there is a session with the peer at an address, or one being resumed."""
        peer = self.at(address)
        return peer is not None and (peer.is_authenticated or peer.resumes)

    def best_servers(self, now: float) -> list[Peer]:
        """The joined servers, the most useful first; code that needs a server takes it from here.

        Silent ones come last, relaying ones before others, then quicker ones first; in a cluster,
        the home comes first. A server whose round trip was never measured does not count as quick.

        Args:
            now: The time, seconds.
        """
        servers = sorted(self.joined_servers, key=lambda server: _usefulness(server, now))
        return self.cluster.sorted(servers, now)

    @property
    def statuses(self) -> Mapping[PeerStatus, int]:
        """How many peers have each status."""
        return self._statuses

    def add(self, peer: Peer) -> None:
        """Enter a peer by its address.

        Raises:
            LocalError: The table is full. Callers keep below its limit, so this is a bug.
        """
        self._uncount(peer.address)
        by = None if peer.initiated else peer.address
        proved = peer.proved or peer.initiated
        if not self._by_address.put(peer.address, peer, address=by, proved=proved):
            raise LocalError(f"the peer table is full: no entry for {format_address(peer.address)}")
        self._recent.enter(peer)
        self._statuses[peer.status] += 1
        if peer.initiated:
            self._initiated.put(peer.address, peer)

    def set_status(self, peer: Peer, status: PeerStatus) -> None:
        """Record the status of a peer."""
        if self._by_address.get(peer.address) is peer:
            self._statuses[peer.status] -= 1
            self._statuses[status] += 1
        peer.status = status

    def set_initiated(self, peer: Peer) -> None:
        """From now on it counts as a peer that this node asked for a session."""
        peer.initiated = True
        self._settle(peer)
        if self._by_address.get(peer.address) is peer and peer.address not in self._initiated:
            self._initiated.put(peer.address, peer)

    def note_proved(self, peer: Peer) -> None:
        """A peer's address is proved: it no longer makes room for others."""
        self._settle(peer)

    def _settle(self, peer: Peer) -> None:
        if self._by_address.get(peer.address) is peer:
            self._by_address.prove(peer.address)

    def _uncount(self, address: Address) -> None:
        peer = self._by_address.get(address)
        if peer is not None:
            self._recent.discard(peer)
            self._statuses[peer.status] -= 1
            self._initiated.pop(address, None)

    def identify(self, peer: Peer, info: NodeInfo) -> None:
        """Record who a peer says it is, which may have changed."""
        self._forget_id(peer)
        peer.facts.info = info
        self._by_id.put(info.id, peer)

    def _forget_id(self, peer: Peer) -> None:
        if self._by_id.get(peer.node_id) is peer:
            del self._by_id[peer.node_id]

    def touch(self, peer: Peer) -> None:
        """A message came from `peer`: it is now the most recent one."""
        if peer is not self._recent.newest:
            self._recent.touch(peer)
        if not peer.purse.proved:
            self._by_address.renew(peer.address)

    def crowd_at(self, address: Address, whole: int) -> Crowd[Address] | None:
        """The address or prefix that uses up its share of `whole` peers, and leaves no room for one
        more at an address; None if there is room."""
        return self._by_address.crowd_at(address[0], whole)

    def at_host(self, host: str) -> Iterator[Peer]:
        """Peers whose own address is at a host, oldest first."""
        return map(self._by_address.__getitem__, self._by_address.of_address(host))

    def doubtful(self, crowd: Crowd[Address] | None = None) -> list[Peer]:
        """Peers that came by themselves and never proved their address, the most silent first.

        Args:
            crowd: Only those of this address or prefix; None: all.

        Returns:
            At most `LOOKED_AT` of them.
        """
        addresses = islice(self._by_address.unproved(crowd), LOOKED_AT)
        return [self._by_address[address] for address in addresses]

    def remove(self, peer: Peer) -> None:
        """Remove a peer; does nothing if another has its place by now."""
        if self._by_address.get(peer.address) is peer:
            self._uncount(peer.address)
            del self._by_address[peer.address]
        self.remove_aliases(peer)
        self.relayed.clear(peer)
        self._forget_id(peer)


def _usefulness(server: Peer, now: float) -> tuple[bool, bool, float]:
    rtt_s = server.channel.srtt
    relays = Capability.RELAY in server.facts.capabilities
    return server.is_silent(now), not relays, math.inf if rtt_s is None else rtt_s


def last_seen(peer: Listed, now: float, unix_now: int) -> int:
    """When something came from `peer`, or its server last listed it, as Unix time."""
    at = peer.liveness.last_received if isinstance(peer, Peer) else peer.heard_at
    return unix_now - int(max(now - at, 0))


def peer_info(peer: Listed, now: float, unix_now: int, name: str | UnsetType = UNSET) -> PeerInfo:
    """The entry of `peer` in a peer list; its address is the one that its server sees."""
    info = peer.info
    return PeerInfo(
        id=info.id if info is not None else "",
        addr=format_address(peer.address),
        last_seen=last_seen(peer, now, unix_now),
        capabilities=info.capabilities if info is not None else (),
        name=name,
    )
