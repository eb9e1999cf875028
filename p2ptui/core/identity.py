"""Who a node is: what it says about itself, and what is accepted of what others say."""

import re
import uuid
from collections.abc import Iterable
from functools import lru_cache
from itertools import islice
from typing import Final

from msgspec import UNSET, Raw
from msgspec.structs import replace

from p2ptui.bounded import LastMade
from p2ptui.config import Config
from p2ptui.config.nat_sections import stun_address
from p2ptui.core.peers import Dialect
from p2ptui.text import whole_number
from p2ptui.wire.address import MAX_PORT
from p2ptui.wire.codec import decode_payload, encode_payload
from p2ptui.wire.message import (
    DEFAULT_NETWORK_ID,
    OWN_CAPABILITIES,
    Capability,
    Envelope,
    NodeInfo,
    ReceivedNodeInfo,
)

MAX_NODE_INFO_BYTES: Final = 900
"""A NodeInfo must fit one page of a list, that is a datagram, also with a longer address."""

_FILLED_IN_BYTES: Final = 300
"""The most that this node adds to an account without optional fields: their names, an id twice, and
a few words."""
_SURELY_FITS_BYTES: Final = MAX_NODE_INFO_BYTES - _FILLED_IN_BYTES
"""An account of at most this much JSON need not be encoded to see that it fits: no encoder writes
it shorter than this node's."""

NETWORK_MISMATCH: Final = "network mismatch"
"""How a refusal begins, by this node or another, if the two are in different networks."""

MAX_TOLD_NAME: Final = 64
MAX_TOLD_NAME_BYTES: Final = 2 * MAX_TOLD_NAME + 2
"""The most bytes of a name in a list, as JSON: many nodes share a datagram, and no name crowds them
out."""

MAX_CAPABILITIES: Final = 32
MAX_CAPABILITY: Final = 32
"""How many capabilities are kept of those that others report of a node, and characters of each."""

LISTS_SHARED: Final = 256
"""How many capability lists, metadata and versions, which many nodes have in common, are kept once
for all peers; never changed."""

_FEW_WORDS: Final = MAX_CAPABILITIES
_SHORT_WORD: Final = MAX_CAPABILITY
"""The most names, and characters of each, that are shared: the cache must be worth its memory."""

NO_METADATA: Final[dict[str, str]] = {}
"""The metadata of all nodes that send none; never changed."""

_USUAL_CAPABILITIES: Final = {name: name for name in OWN_CAPABILITIES}

SHORT_ID: Final = 8
"""Characters of an id that represent it on the screen and in logs: no name replaces them."""


_CANONICAL_ID: Final = re.compile("[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


# Bound here, since looking up an enum member runs Python code.
_SPEC: Final = Dialect.SPEC
_REFERENCE: Final = Dialect.REFERENCE


class RefusedError(Exception):
    """A peer's account of itself cannot be accepted; the text is for the peer."""


def canonical_id(text: object) -> str | None:
    """A node id in its canonical form, or None if it is no UUID (RFC 9562)."""
    if not isinstance(text, str) or len(text) > 64:
        return None
    if _CANONICAL_ID.fullmatch(text):
        return text  # the usual form
    try:
        return str(uuid.UUID(text))
    except ValueError:
        return None


def short_id(node_id: str) -> str:
    """The first characters of an id, enough for people."""
    return node_id[:SHORT_ID]


def own_capabilities(config: Config, *, has_keys: bool = False) -> tuple[str, ...]:
    """The capabilities that this node announces, given its configuration.

    Args:
        config: All options.
        has_keys: Whether it has keys for secured sessions.
    """
    capabilities = list(OWN_CAPABILITIES)
    if config.server.echo != "all":
        capabilities.append(Capability.NO_ECHO)
    if config.stun_server.enable:
        capabilities.append(Capability.STUN)
    if config.traffic_forwarding.allow_symmetric_nat_relay:
        capabilities.append(Capability.RELAY)
        if has_keys:
            capabilities.append(Capability.RELAY_SEALED)
    if config.files.receive_into:
        capabilities.append(Capability.FILES)
    return tuple(capabilities)


_STUN_PORTS: Final = ("stun_port", "stun_alternate_port")
"""Metadata keys of a node that serves STUN; other programs ignore them."""


def own_metadata(config: Config) -> dict[str, str]:
    """What this node says about its STUN ports: a server with one address has no other way."""
    options = config.stun_server
    if not options.enable:
        return {}
    ports = (stun_address(options, "")[1], options.alternate_port)
    return {key: str(port) for key, port in zip(_STUN_PORTS, ports, strict=True) if port}


def stun_ports(info: NodeInfo | None) -> tuple[int, ...]:
    """Further ports at which a node says that it serves STUN."""
    if info is None:
        return ()
    ports = [whole_number(info.metadata.get(key, ""), MAX_PORT) for key in _STUN_PORTS]
    return tuple(port for port in ports if port)


def own_node_info(
    node_id: str,
    name: str,
    version: str,
    listen_addr: str,
    network_id: str,
    capabilities: tuple[str, ...] = OWN_CAPABILITIES,
    metadata: dict[str, str] | None = None,
) -> NodeInfo:
    """What this node says about itself."""
    return NodeInfo(
        id=node_id,
        node_id=node_id,
        name=name or f"p2ptui-{short_id(node_id)}",
        version=version,
        listen_addr=listen_addr,
        capabilities=capabilities,
        metadata=metadata or {},
        network_id=network_id,
    )


def _account_in(payload: Raw) -> ReceivedNodeInfo:
    return decode_payload(payload, ReceivedNodeInfo)


_accounts: Final = LastMade(_account_in)
"""Several rooms ask who sent the same request."""


def read_account(payload: Raw) -> ReceivedNodeInfo:
    """What a request's payload says about its sender; callers must not change it.

    Raises:
        MalformedError: It is not an account.
    """
    return _accounts.of(payload)


def accept_node_info(
    received: ReceivedNodeInfo,
    own: NodeInfo,
    brought_for: str | None = None,
    received_bytes: int = MAX_NODE_INFO_BYTES,
) -> NodeInfo:
    """Check who a peer says it is, and fill in what deployed programs leave out.

    Args:
        received: Its account, in the spec's or the reference's form.
        own: This node's account: the network must be the same, and the id another.
        brought_for: The id of the node that the relaying server names as the sender; None: any.
        received_bytes: The most bytes that it may take as JSON.

    Raises:
        RefusedError: It cannot be a peer of this node.
    """
    node_id = canonical_id(received.id if received.id is not None else received.node_id)
    if node_id is None:
        raise RefusedError("the node id must be a UUID")
    if brought_for not in (None, node_id):
        raise RefusedError("the server that relays names another node")
    if node_id == own.id:
        raise RefusedError("this is the node's own id: it would talk to itself")
    name = short_id(node_id) if received.name is None else received.name
    version = "unknown" if received.version is None else received.version
    if not name or not version:
        raise RefusedError(f"the {'version' if name else 'name'} must not be empty")
    network_id = DEFAULT_NETWORK_ID if received.network_id is None else received.network_id
    if network_id != own.network_id:
        raise RefusedError(
            f"{NETWORK_MISMATCH}: expected {own.network_id[:64]!r}, got {network_id[:64]!r}"
        )
    info = NodeInfo(
        id=node_id,
        node_id=node_id,
        name=name,
        version=_one_word(version) if len(version) <= _SHORT_WORD else version,
        listen_addr=received.listen_addr or "",
        capabilities=_shared(received.capabilities),
        metadata=_shared_metadata(received.metadata),
        network_id=own.network_id,
    )
    if received_bytes > _SURELY_FITS_BYTES and (size := len(encode_payload(info))) > (
        MAX_NODE_INFO_BYTES
    ):
        raise RefusedError(f"the node info is {size} bytes, at most {MAX_NODE_INFO_BYTES} fit")
    return info


def packed_node_info(info: NodeInfo) -> bytes:
    """A node's account in its most compact form."""
    return bytes(encode_payload(info))


def unpacked_node_info(packed: bytes) -> NodeInfo:
    """The account that `packed_node_info` has packed."""
    info = decode_payload(packed, NodeInfo)
    return replace(
        info,
        capabilities=_shared(info.capabilities),
        metadata=_shared_metadata(info.metadata),
    )


def dialect_of(message: Envelope) -> Dialect:
    """The dialect of a handshake's sender: only the reference writes `sender_addr`."""
    return _SPEC if message.sender_addr is UNSET else _REFERENCE


def told_name(name: object) -> str:
    """A name as lists carry it: cut to what fits; empty if it is not a valid string."""
    if not isinstance(name, str):
        return ""
    name = name[:MAX_TOLD_NAME]
    if name.isascii() and name.isprintable():
        return name
    try:
        while len(encode_payload(name)) > MAX_TOLD_NAME_BYTES:
            name = name[:-1]
    except ValueError:
        return ""  # a lone surrogate
    return name


def bounded_capabilities(announced: Iterable[str]) -> tuple[str, ...]:
    """The capabilities that others report of a node, as far as they are worth the memory."""
    return _shared([name[:MAX_CAPABILITY] for name in islice(announced, MAX_CAPABILITIES)])


def _shared(capabilities: Iterable[str]) -> tuple[str, ...]:
    """The same names; the usual ones, and equal lists, are in memory only once."""
    names = tuple(capabilities)
    return _once(names) if len(names) <= _FEW_WORDS and _is_short(names) else _usual(names)


def _is_short(names: tuple[str, ...]) -> bool:
    return not names or len(max(names, key=len)) <= _SHORT_WORD


def _usual(names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple([_USUAL_CAPABILITIES.get(name, name) for name in names])


@lru_cache(LISTS_SHARED)
def _once(capabilities: tuple[str, ...]) -> tuple[str, ...]:
    return _usual(capabilities)


def _shared_metadata(metadata: dict[str, str]) -> dict[str, str]:
    """The same metadata, kept once for all nodes that send the same, as those of one program do."""
    if not metadata:
        return NO_METADATA
    # The cache keeps no more than a peer may send.
    size = sum([len(key) + len(value) for key, value in metadata.items()])
    return _metadata_once(tuple(metadata.items())) if size <= MAX_NODE_INFO_BYTES else metadata


@lru_cache(LISTS_SHARED)
def _metadata_once(items: tuple[tuple[str, str], ...]) -> dict[str, str]:
    return dict(items)


@lru_cache(LISTS_SHARED)
def _one_word(word: str) -> str:
    return word


def shortened(message: Envelope, payload: Raw) -> Envelope:
    """A message as it is kept: without the datagram that it came in, and with its dialect.

    Args:
        message: The message.
        payload: What is kept of its payload.
    """
    sender = "" if isinstance(message.sender_addr, str) else message.sender_addr
    return replace(message, payload=payload, sender_addr=sender)
