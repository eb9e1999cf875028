"""Sessions that began at a node's own address, without a server: which may continue by relay.

Two nodes on one LAN that found each other, or one that was given the other's address, need no
server. If the network between them fails, a server that both have joined for other reasons can
still connect them. The check whether it does names a handshake message of the session, which no
server has seen, so nobody else can move the session. Only silence triggers it, to this node's own
messages and Pings; nothing that arrives does.
"""

from dataclasses import replace
from typing import Final

from p2ptui.core.addresses import relayed_node
from p2ptui.core.connection import Connection, Method
from p2ptui.core.peers import Peer
from p2ptui.wire.message import Capability

SILENT_ROUNDS: Final = 4
"""Unanswered Pings, within a second, after which an address is left: at 10 % loss each way one in
eight hundred stays silent by chance, and the path through a server is longer."""


def goes_plainly(peer: Peer) -> bool:
    """Whether the session has no server between: neither its address nor its home names one."""
    return relayed_node(peer.home) is None


def may_be_rescued(peer: Peer) -> bool:
    """Whether a server may carry on a session that began without one."""
    is_known = peer.is_authenticated and peer.proved and not peer.session.parted
    is_known = is_known and relayed_node(peer.address) is None
    return is_known and Capability.RELAY_CHECK in peer.capabilities


def note_relayed(peer: Peer, reason: str) -> None:
    """Record at a peer why it is relayed from now on. One that was asked by its address may be a
    server, and remains one on whatever path it is reached."""
    if not peer.is_joined_server:
        known = peer.connection or Connection(Method.RELAY)
        peer.reach.connection = replace(known, method=Method.RELAY, reason=reason)
