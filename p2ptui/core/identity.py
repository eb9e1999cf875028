"""Who a node is: what it says of itself, and what is accepted of what others say."""

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
"""What this node adds at most to an account that leaves out all that may be left out: the keys, an
id twice, and a few words."""
_SURELY_FITS_BYTES: Final = MAX_NODE_INFO_BYTES - _FILLED_IN_BYTES
"""An account that came as so much JSON need not be written to see that it fits: nobody writes it
shorter than this node's encoder does."""

NETWORK_MISMATCH: Final = "network mismatch"
"""How a refusal begins, this node's or another's, where the two take part in different networks."""

MAX_TOLD_NAME: Final = 64
MAX_TOLD_NAME_BYTES: Final = 2 * MAX_TOLD_NAME + 2
"""Of a name in a list, as JSON: many nodes share a datagram, and no name crowds them out."""

MAX_CAPABILITIES: Final = 32
MAX_CAPABILITY: Final = 32
"""Of what others tell of a node: how many capabilities are kept, and characters of each."""

LISTS_SHARED: Final = 256
"""Lists of capabilities, metadata, and what else nodes say alike, of which there is one for all
peers; never changed."""

_FEW_WORDS: Final = MAX_CAPABILITIES
_SHORT_WORD: Final = MAX_CAPABILITY
"""Of what is shared, at most: what is kept for others must be worth its memory."""

NO_METADATA: Final[dict[str, str]] = {}
"""Of all nodes that tell none; never changed."""

_USUAL_CAPABILITIES: Final = {name: name for name in OWN_CAPABILITIES}

SHORT_ID: Final = 8
"""Characters of an id that stand for it on the screen and in logs: no name takes their place."""


_CANONICAL_ID: Final = re.compile("[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


# A member of an enum is looked up in Python.
_SPEC: Final = Dialect.SPEC
_REFERENCE: Final = Dialect.REFERENCE


class RefusedError(Exception):
    """A peer's account of itself cannot be accepted; the text is for the peer."""


def canonical_id(text: object) -> str | None:
    """A node id in its canonical form, or None if it is no UUID (RFC 9562)."""
    if not isinstance(text, str) or len(text) > 64:
        return None
    if _CANONICAL_ID.fullmatch(text):
        return text  # as nearly all write it
    try:
        return str(uuid.UUID(text))
    except ValueError:
        return None


def short_id(node_id: str) -> str:
    """The first characters of an id, enough for people."""
    return node_id[:SHORT_ID]


def own_capabilities(config: Config, *, has_keys: bool = False) -> tuple[str, ...]:
    """What this node announces, by what it is configured to serve.

    Args:
        config: Every option.
        has_keys: Whether it speaks under seal.
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
"""Keys of the metadata of a node that serves STUN; free keys, which others pass over."""


def own_metadata(config: Config) -> dict[str, str]:
    """What this node tells of its STUN ports: a server with one address has no other way."""
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
    """What this node says of itself."""
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
"""Of one request several rooms ask who sends it."""


def read_account(payload: Raw) -> ReceivedNodeInfo:
    """What the payload of a request says of who sends it, which nobody changes.

    Raises:
        MalformedError: It is no account.
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
        own: This node's, for the network and against itself.
        brought_for: The id of the node whose datagrams a server says these are; None for any.
        received_bytes: How long it is as JSON, at most.

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
    """What a node says of itself, as small as it can be kept."""
    return bytes(encode_payload(info))


def unpacked_node_info(packed: bytes) -> NodeInfo:
    """What `packed_node_info` made small."""
    info = decode_payload(packed, NodeInfo)
    return replace(
        info,
        capabilities=_shared(info.capabilities),
        metadata=_shared_metadata(info.metadata),
    )


def dialect_of(message: Envelope) -> Dialect:
    """The habits of whoever sent a handshake: only the reference writes `sender_addr`."""
    return _SPEC if message.sender_addr is UNSET else _REFERENCE


def told_name(name: object) -> str:
    """A name as lists carry it: what fits them of it, and nothing for what is no name."""
    if not isinstance(name, str):
        return ""
    name = name[:MAX_TOLD_NAME]
    if name.isascii() and name.isprintable():
        return name
    try:
        while len(encode_payload(name)) > MAX_TOLD_NAME_BYTES:
            name = name[:-1]
    except ValueError:
        return ""  # half a surrogate pair
    return name


def bounded_capabilities(announced: Iterable[str]) -> tuple[str, ...]:
    """What a third node is said to announce, as much of it as is worth the memory."""
    return _shared([name[:MAX_CAPABILITY] for name in islice(announced, MAX_CAPABILITIES)])


def _shared(capabilities: Iterable[str]) -> tuple[str, ...]:
    """The same names, of which the usual ones are in memory only once, and equal lists too."""
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
    """The same, of which there is one for all that tell the same, as those of one program do."""
    if not metadata:
        return NO_METADATA
    # No more is kept for others than a peer may tell.
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
        message: Which.
        payload: What is kept of its payload.
    """
    sender = "" if isinstance(message.sender_addr, str) else message.sender_addr
    return replace(message, payload=payload, sender_addr=sender)
