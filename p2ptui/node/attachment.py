"""How this machine is attached to networks: where others reach it, and what changes."""

from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final

from p2ptui.core.events import PeerStatus, PeerStatusChanged
from p2ptui.io.machine import Machine, StillMachine
from p2ptui.io.udp import DatagramSocket
from p2ptui.node.driven import Driven
from p2ptui.node.ipv6_beside import keep_ipv6_beside, wants_ipv6_beside
from p2ptui.node.moves import NetworkMonitor
from p2ptui.node.networks import own_networks, watch_networks
from p2ptui.wire.address import Address, ip_version

_AUTHENTICATED: Final = PeerStatus.AUTHENTICATED

MAX_FACED: Final = 8
"""Servers whose route is looked up, at most."""


class Attachment:
    """Keeps a node's endpoint informed about its machine's networks; `begin` starts this.

    Args:
        driven: The node's endpoint.
        local: Where its socket is bound.
        machine: The machine that the node runs on; by default one that never moves.
        begin: Starts a task that the node owns.
    """

    def __init__(
        self,
        driven: Driven,
        local: Address,
        machine: Machine | None,
        begin: Callable[[Coroutine[Any, Any, None], str], object],
    ) -> None:
        self._driven = driven
        self._endpoint = driven.endpoint
        self._local = local
        self._begin = begin
        self._monitor = NetworkMonitor(
            driven.endpoint, machine or StillMachine(), local[0], driven.clock, driven.flush
        )
        self.pause_until_moved = self._monitor.pause

    def begin(self, *, searching: bool) -> None:
        """Watch the networks, and look for neighbours on them.

        Args:
            searching: Whether this node looks for others, or can only be found.
        """
        self._begin(self._monitor.run(), "moves")
        work = watch_networks(
            self._endpoint.neighbours,
            self._local,
            self._driven.clock,
            self._driven.flush,
            self._note_hosts,
            searching=searching,
            pause=self._monitor.pause_until_changed,
        )
        self._begin(work, "networks")

    def use_ip_versions(
        self,
        open_socket: Callable[[Address], Awaitable[DatagramSocket]],
        stand_beside: Callable[[DatagramSocket | None], None],
        *,
        beside: bool,
    ) -> None:
        """Use every available IP version for paths.

        Args:
            open_socket: Binds one address.
            stand_beside: Called with each socket of the IP version that the node's own does not
                use, and with None when there is none any more.
            beside: Whether there may be one.
        """
        host, port = self._local
        if host == "::":
            return  # one socket for both
        self._endpoint.traversal.standing.reach(ip_version(host))
        if beside and wants_ipv6_beside(self._local):
            work = keep_ipv6_beside(
                port, open_socket, stand_beside, pause=self._monitor.pause_until_changed
            )
            self._begin(work, "IPv6")

    def note(self, event: PeerStatusChanged) -> None:
        """The route to a joined server tells which of the node's own addresses is the best."""
        if event.status is _AUTHENTICATED:
            peer = self._endpoint.peers.at(event.address)
            if peer is not None and peer.is_joined_server:
                self._note_hosts(self._endpoint.traversal.offers.hosts)

    def _note_hosts(self, hosts: tuple[Address, ...]) -> None:
        """Tell the endpoint the addresses at which others on its networks reach this node."""
        offers = self._endpoint.traversal.offers
        servers = [peer.address for peer in self._endpoint.peers.best_servers(self._driven.clock())]
        offers.own = own_networks(self._local, servers[:MAX_FACED])
        offers.hosts = offers.own.worth_telling(hosts)
