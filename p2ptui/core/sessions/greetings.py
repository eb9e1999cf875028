"""What the two handshake messages say about this node, in a form that the other side
understands."""

from collections.abc import Iterator
from functools import lru_cache
from typing import Final

from msgspec import UNSET, Raw
from msgspec.structs import asdict, replace

from p2ptui.bounded import LastMade
from p2ptui.core.addresses import relayed_node, visible_address
from p2ptui.core.identity import LISTS_SHARED
from p2ptui.core.peers import Dialect
from p2ptui.wire.address import Address, format_address
from p2ptui.wire.codec import encode_payload
from p2ptui.wire.message import (
    OWN_CAPABILITIES,
    Capability,
    HandshakeRequestPayload,
    HandshakeResponsePayload,
    NodeInfo,
)

REQUEST_PAYLOAD_BYTES: Final = 416
"""A request is padded to this size, so that three times the whole pays for the answer, its Ack and
a first page."""

PLAIN_CAPABILITIES: Final = (
    Capability.HANDSHAKE,
    Capability.DISCOVERY,
    Capability.DATA_TRANSFER,
)

EXTENSIONS: Final = frozenset(
    {*OWN_CAPABILITIES, Capability.STUN, Capability.RELAY, Capability.RELAY_SEALED}
    - set(PLAIN_CAPABILITIES)
)
"""What only our own nodes understand."""

OUR_EXTENSIONS: Final = frozenset(OWN_CAPABILITIES) - {*PLAIN_CAPABILITIES, Capability.ROUTING}
"""Announced only by our own nodes, which name the request that they answer."""

_NETWORK_KEY: Final = "network_id"
"""Clients of version 0.2.0 look for the network in the metadata of the answer, and give up if it is
missing."""

RESPONSE_ENVELOPE_BYTES: Final = 256
"""The most that the envelope and the observed address add to the payload of a response."""


def request_payload(own: NodeInfo, continues: str = "", exchange: str = "", retry: str = "") -> Raw:
    """The payload of a HandshakeRequest, padded.

    Args:
        own: This node's identity.
        continues: What names this node to the other side in the session that continues, if any.
        exchange: The offer of a key exchange, if any.
        retry: The token that the other side has required, if any.
    """
    payload = HandshakeRequestPayload(
        **asdict(own),
        continues=continues or UNSET,
        exchange=exchange or UNSET,
        retry=retry or UNSET,
    )
    padding = " " * max(REQUEST_PAYLOAD_BYTES - len(encode_payload(payload)), 0)
    return encode_payload(replace(payload, padding=padding))


def response_payloads(
    own: NodeInfo,
    dialect: Dialect,
    address: Address,
    reason: str | None,
    *,
    extended: bool = True,
) -> Iterator[Raw]:
    """The payload of a HandshakeResponse: in full, then in its shortest form.

    Args:
        own: This node's identity.
        dialect: The dialect of the asker.
        address: Where the request came from.
        reason: Why it is refused, or None.
        extended: Whether the asker knows any of our extensions. Other askers, including peers of
            the reference's kind, have no use for their names, and often no bytes to spare.
    """
    yield response_payload(own, dialect, address, reason, extended=extended)
    yield response_payload(own, dialect, address, reason, is_short=True)


def response_payload(
    own: NodeInfo,
    dialect: Dialect,
    address: Address,
    reason: str | None,
    *,
    extended: bool = True,
    is_short: bool = False,
) -> Raw:
    """One of `response_payloads`: in full, or in its shortest form."""
    # Only the server of a relayed node is seen, and that is no address of the node.
    is_seen = relayed_node(address) is None
    seen = format_address(visible_address(address)) if is_seen else None
    is_plain = dialect is Dialect.REFERENCE or not extended
    if reason is None:
        heads = _heads.of(own)
        head = heads.short if is_short else heads.plain if is_plain else heads.whole
        return Raw(b"%b%b}" % (head, encode_payload(seen)))
    told = _told_shortly(own) if is_short else _told(own, is_plain=is_plain)
    return encode_payload(
        HandshakeResponsePayload(
            node_info=told, success=False, error_message=reason, public_addr=seen
        )
    )


def _told(own: NodeInfo, *, is_plain: bool) -> NodeInfo:
    capabilities = PLAIN_CAPABILITIES if is_plain else own.capabilities
    metadata = own.metadata | {_NETWORK_KEY: own.network_id}
    return replace(own, capabilities=capabilities, metadata=metadata)


def _told_shortly(own: NodeInfo) -> NodeInfo:
    return replace(own, capabilities=(), metadata={_NETWORK_KEY: own.network_id})


class _Heads:
    """The beginnings of a node's accepting responses, up to the receiver's address: the same for
    all."""

    __slots__ = ("plain", "short", "whole")

    def __init__(self, own: NodeInfo) -> None:
        self.whole = _head(_told(own, is_plain=False))
        self.plain = _head(_told(own, is_plain=True))
        self.short = _head(_told_shortly(own))


_heads: Final = LastMade(_Heads)


def _head(told: NodeInfo) -> bytes:
    response = HandshakeResponsePayload(node_info=told, success=True)
    return bytes(encode_payload(response)).removesuffix(b"null}")


def shortest_response_bytes(own: NodeInfo) -> int:
    """The most bytes of a response in its short form."""
    *_, shortest = response_payloads(own, Dialect.SPEC, ("", 0), None)
    return len(shortest) + RESPONSE_ENVELOPE_BYTES


def is_extended(info: NodeInfo) -> bool:
    """Whether a node announces any of our extensions."""
    return not EXTENSIONS.isdisjoint(info.capabilities)


def believed_capabilities(info: NodeInfo, dialect: Dialect) -> frozenset[str]:
    """What a peer announced, without those of our extensions that its dialect contradicts."""
    return _believed(info.capabilities, dialect)


@lru_cache(LISTS_SHARED)
def _believed(capabilities: tuple[str, ...], dialect: Dialect) -> frozenset[str]:
    # Peers announce the same again and again: they share the result.
    announced = frozenset(capabilities)
    return announced if dialect is Dialect.SPEC else announced - EXTENSIONS


def acknowledges(info: NodeInfo, dialect: Dialect) -> bool:
    """Whether a newcomer is of the kind that acknowledges its answer; see `Peer.acknowledges`."""
    return Capability.RETRANSMIT in believed_capabilities(info, dialect)
