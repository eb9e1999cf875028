"""What a list says of a peer, as it stands in a datagram.

Newcomers are told of the same few peers, one after the other: an entry is written once for all of
them, as long as it says the same.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Final

from msgspec import UNSET

from p2ptui.core.identity import told_name
from p2ptui.core.peers import Peer, peer_info
from p2ptui.wire.address import format_address
from p2ptui.wire.codec import encode_payload
from p2ptui.wire.message import Capability, PeerInfo

ENTRIES_SHARED: Final = 64
"""Entries that are remembered as they were written."""


def entry_for(receiver: Peer, peer: Peer, now: float, unix: int) -> PeerInfo:
    """What a list says of a peer; to an unproved receiver as little as possible.

    Args:
        receiver: Who is told.
        peer: Of whom.
        now: The time, seconds.
        unix: The same as Unix time.
    """
    if not (receiver.purse.proved or receiver.is_ours):
        info = peer_info(peer, now, unix)
        return PeerInfo(info.id, info.addr, info.last_seen)
    named = Capability.PEER_UPDATES in receiver.facts.capabilities and peer.facts.info is not None
    return peer_info(peer, now, unix, told_name(peer.name) if named else UNSET)


def page_for(
    receiver: Peer, peers: Sequence[Peer], now: float, unix: int, room: float
) -> tuple[bytes, int]:
    """A page of a list: entries of the first of some peers, as many as fit.

    Args:
        receiver: Who is told.
        peers: Of whom.
        now: The time, seconds.
        unix: The same as Unix time.
        room: Bytes, at most.

    Returns:
        The joined entries, and how many they are.
    """
    is_bare = not (receiver.purse.proved or receiver.is_ours)
    is_named = Capability.PEER_UPDATES in receiver.facts.capabilities
    page: list[bytes] = []
    for peer in peers:
        info, address = peer.facts.info, peer.address
        silent_s = now - peer.liveness.last_received
        seen = unix - int(silent_s) if silent_s > 0 else unix
        if info is None:
            entry = bytes(encode_payload(entry_for(receiver, peer, now, unix)))
        elif is_bare:
            entry = _bare(info.id, address[0], address[1], seen)
        else:
            name = info.name if is_named else None
            entry = _written(info.id, address[0], address[1], seen, info.capabilities, name)
        room -= len(entry)
        if room < 0:
            break
        room -= 1
        page.append(entry)
    return b",".join(page), len(page)


@lru_cache(ENTRIES_SHARED)
def _bare(node_id: str, host: str, port: int, seen: int) -> bytes:
    return bytes(encode_payload(PeerInfo(node_id, format_address((host, port)), seen)))


@lru_cache(ENTRIES_SHARED)
def _written(
    node_id: str, host: str, port: int, seen: int, capabilities: tuple[str, ...], name: str | None
) -> bytes:
    told = UNSET if name is None else told_name(name)
    address = format_address((host, port))
    return bytes(encode_payload(PeerInfo(node_id, address, seen, capabilities, told)))
