"""What an entry says about a node: written for a peer of this server, read for nodes elsewhere."""

from functools import lru_cache

from msgspec import Raw

from p2ptui.core.cluster.own import Own
from p2ptui.core.identity import LISTS_SHARED, bounded_capabilities
from p2ptui.core.peers import Peer
from p2ptui.core.state import NodeState
from p2ptui.secure.identity import KEY_BYTES, PublicKeys, is_made_of_keys
from p2ptui.secure.presence import verify_presence
from p2ptui.wire.address import Address, format_address, parse_ip_address
from p2ptui.wire.cluster import (
    About,
    Presence,
    decode_about,
    encode_about,
    encode_presence,
    joined_capabilities,
    split_capabilities,
)
from p2ptui.wire.codec import MalformedError
from p2ptui.wire.frames import node_id_text


def written_entry(own: Own, peer: Peer, statement: tuple[int, bytes]) -> bytes | None:
    """The entry of a peer as it is now; None if it cannot be written.

    Args:
        own: Who this server is.
        peer: The peer.
        statement: The counter and signature of its statement, or 0 and nothing.
    """
    node = written_about(peer)
    if node is None:
        return None
    counter, signature = statement if peer.seal is not None else (0, b"")
    try:
        return encode_presence(Presence(*own.head, counter, signature, node))
    except MalformedError:
        return None


def written_about(peer: Peer) -> Raw | None:
    """What an entry of a peer says about it; None if that cannot be written."""
    info, seal = peer.facts.info, peer.seal
    address = _told_address(peer.address)
    if info is None or address is None:
        return None
    host, port = address  # without a zone, which only has meaning on this machine
    known, others = split_capabilities(info.capabilities)
    keys = boot = b""
    if seal is not None:
        keys, boot = seal.keys.x_public + seal.keys.ed_public, seal.claims.boot
    proved, name, version, metadata = peer.proved, info.name, info.version, info.metadata
    try:
        return encode_about(
            About(host, port, proved, name, version, known, others, metadata, keys, boot)
        )
    except MalformedError:
        return None


def _told_address(address: Address) -> Address | None:
    """Without a zone, and unmapped: an IPv4 address is written as usual, whatever socket saw it."""
    if ":" in address[0]:
        return parse_ip_address(format_address(address))
    return (address[0], address[1]) if address[1] else None


def read_about(node: bytes | Raw, node_id: str) -> About:
    """What is said about a node; MalformedError if it is about another one, or has no address."""
    about = decode_about(node)
    address = about.host, about.port
    if parse_ip_address(format_address(address)) != address:
        raise MalformedError("it is at no address, or that is not written as usual")
    if about.keys and keys_of(about).id != node_id:
        raise MalformedError("these keys make another id")
    return about


def capabilities_of(about: About) -> tuple[str, ...]:
    """What a node announced, as far as that is kept."""
    return _capabilities(about.known, about.others)


@lru_cache(LISTS_SHARED)
def _capabilities(known: int, others: tuple[str, ...]) -> tuple[str, ...]:
    # One list for all nodes that announce the same, like those running one program.
    return bounded_capabilities(joined_capabilities(known, others))


def keys_of(about: About) -> PublicKeys:
    """The keys of a node that has some."""
    return PublicKeys(about.keys[:KEY_BYTES], about.keys[KEY_BYTES:])


def is_keyless(state: NodeState, node_id: str, about: About) -> bool:
    """Whether keys are missing; a server without keys of its own requires none."""
    return not about.keys and state.seals is not None and is_made_of_keys(node_id)


def is_signed(node_id: str, presence: Presence, about: About) -> bool:
    """Whether the node itself has said that this server holds it."""
    server_id, counter = node_id_text(presence.server), presence.counter
    return verify_presence(
        keys_of(about), node_id, server_id, counter, presence.signature, presence.network
    )
