"""The entry of a peer in a list, written and read.

Newcomers are told about the same few peers one after the other: an entry is written once for all of
them, until it changes.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Final

from msgspec import UNSET
from msgspec.structs import asdict

from p2ptui.core.identity import canonical_id, told_name
from p2ptui.core.peers import Foreign, Listed, Peer, last_seen, peer_info
from p2ptui.wire.address import Address, format_address, parse_ip_address
from p2ptui.wire.codec import MalformedError, decode_payload, encode_payload
from p2ptui.wire.message import (
    Capability,
    Envelope,
    ListedNode,
    ListNodesRequestPayload,
    NodeInfo,
    PeerInfo,
)

ENTRIES_SHARED: Final = 64
"""Written entries that are kept for reuse."""


def entry_for(
    receiver: Peer, peer: Listed, now: float, unix: int, *, is_named: bool = True
) -> PeerInfo:
    """The entry of a peer in a list; as little as possible for an unproved receiver.

    Args:
        receiver: The peer that is sent the list.
        peer: The peer.
        now: The time, seconds.
        unix: The same time as Unix time.
        is_named: Whether its name may be included.
    """
    if _is_bare(receiver):
        info = peer_info(peer, now, unix)
        return PeerInfo(info.id, info.addr, info.last_seen)
    named = is_named and _is_named(receiver) and peer.info is not None
    return peer_info(peer, now, unix, told_name(peer.name) if named else UNSET)


def frame_nodes(joined: bytes, number: int, more: bool) -> bytes:
    """The payload of a ListNodesResponse."""
    flag = b"true" if more else b"false"
    return b'{"nodes":[%s],"page":%d,"more":%s}' % (joined, number, flag)


def frame_servers(joined: bytes, number: int, more: bool) -> bytes:
    """The payload of a ListNodesResponse with servers."""
    flag = b"true" if more else b"false"
    return b'{"nodes":[],"servers":[%s],"page":%d,"more":%s}' % (joined, number, flag)


def read_list_request(message: Envelope) -> ListNodesRequestPayload | None:
    """The content of a ListNodesRequest; unknown fields never mattered."""
    try:
        return decode_payload(message.payload, ListNodesRequestPayload)
    except MalformedError:
        return None


def node_for(
    peer: Listed, info: NodeInfo, *, with_holder: bool = False, is_named: bool = True
) -> NodeInfo:
    """The entry of a peer in a node list, with the address at which its server sees it.

    Args:
        peer: The peer.
        info: Who it says it is.
        with_holder: Whether the entry says which other server holds it, if one does.
        is_named: Whether its name may be included; otherwise it is empty.
    """
    node = NodeInfo(
        id=info.id,
        node_id=info.id,
        name=info.name if is_named else "",
        version=info.version,
        listen_addr=format_address(peer.address),
        capabilities=info.capabilities,
        metadata=info.metadata,
        network_id=info.network_id,
    )
    return held_by(peer.server_id, node) if with_holder and isinstance(peer, Foreign) else node


def held_by(server_id: str, node: NodeInfo) -> ListedNode:
    """The entry of a node that another server of the network holds."""
    return ListedNode(**asdict(node), server=server_id)


def read_entry(entry: PeerInfo, *, has_names: bool) -> PeerInfo | None:
    """A received list entry, as far as it is believed; None if it names no node or address.

    Args:
        entry: The entry as it was written.
        has_names: Whether a program of the sender's kind lists names.
    """
    node_id = canonical_id(entry.id)
    if node_id is None or parse_ip_address(entry.addr) is None:
        return None
    name = told_name(entry.name) if has_names else ""
    return PeerInfo(node_id, entry.addr, entry.last_seen, entry.capabilities, name or UNSET)


def page_for(
    receiver: Peer, peers: Sequence[Listed], now: float, unix: int, room: float
) -> tuple[bytes, int]:
    """A page of a list: the entries of as many of the first peers as fit.

    Args:
        receiver: The peer that is sent the page.
        peers: The peers to list.
        now: The time, seconds.
        unix: The same time as Unix time.
        room: Most bytes.

    Returns:
        The joined entries, and how many they are.
    """
    is_bare = _is_bare(receiver)
    is_named = not is_bare and _is_named(receiver)
    page: list[bytes] = []
    for peer in peers:
        info, seen = peer.info, last_seen(peer, now, unix)
        if info is None:
            entry = bytes(encode_payload(entry_for(receiver, peer, now, unix)))
        elif is_bare:
            entry = _bare(info.id, peer.address, seen)
        else:
            name = info.name if is_named else None
            entry = _written(info.id, peer.address, seen, info.capabilities, name)
        room -= len(entry)
        if room < 0:
            break
        room -= 1
        page.append(entry)
    return b",".join(page), len(page)


def _is_bare(receiver: Peer) -> bool:
    return not (receiver.purse.proved or receiver.is_ours)


def _is_named(receiver: Peer) -> bool:
    return Capability.PEER_UPDATES in receiver.facts.capabilities


@lru_cache(ENTRIES_SHARED)
def _bare(node_id: str, address: Address, seen: int) -> bytes:
    return bytes(encode_payload(PeerInfo(node_id, format_address(address), seen)))


@lru_cache(ENTRIES_SHARED)
def _written(
    node_id: str, address: Address, seen: int, capabilities: tuple[str, ...], name: str | None
) -> bytes:
    told = UNSET if name is None else told_name(name)
    where = format_address(address)
    return bytes(encode_payload(PeerInfo(node_id, where, seen, capabilities, told)))
