"""Which nodes have proved their keys in a key exchange through others, and what it binds."""

from p2ptui.core.addresses import relay_address, visible_address
from p2ptui.core.identity import RefusedError, accept_node_info
from p2ptui.core.mesh.sources import Writer
from p2ptui.core.peers.seal import claims_of
from p2ptui.core.policy import RULES
from p2ptui.core.sealing import Seals
from p2ptui.core.state import NodeState
from p2ptui.secure.identity import PublicKeys
from p2ptui.wire.address import Address
from p2ptui.wire.exchange import Account, as_received
from p2ptui.wire.message import NodeInfo


def accept_account(
    state: NodeState,
    seals: Seals,
    account: Account,
    keys: PublicKeys,
    writer: Writer,
    now: float,
    *,
    by_network_key: bool,
    is_asked: bool,
) -> NodeInfo:
    """Judge a node that has proved its keys.

    Args:
        state: The shared state.
        seals: This node's keys.
        account: What was inside the exchange.
        keys: The proved keys.
        writer: The writer of the message.
        now: The time, seconds.
        by_network_key: Whether the exchange required the network key.
        is_asked: Whether this node was asked: then the refusal is worded for the other one.

    Returns:
        Who it is.

    Raises:
        RefusedError: What speaks against it.
    """
    if fault := seals.keys.fault_of(
        keys.id, claims_of(account), state.unix(now), by_network_key=by_network_key
    ):
        rule = RULES[fault]
        raise RefusedError(rule.told if is_asked else rule.here)
    received = as_received(account, keys.id, state.identity.network_id)
    info = accept_node_info(received, state.identity, writer.node_id)
    # Its address cannot be known; this one belongs to nobody else.
    place = relay_address(visible_address(writer.origin.address), writer.node_id)
    judge = seals.judge_request if is_asked else seals.judge
    words = judge(place, keys.id, keys)
    if words:
        raise RefusedError(words)
    return info


def told_from(writer: Writer) -> Address | None:
    """The address whose share of a table an entry uses; None, for no share, if a server that this
    node chose brings it."""
    hop = writer.origin.peer
    return None if hop is not None and hop.is_joined_server else writer.origin.address


def request_bytes(source: str, destination: str, value: str) -> bytes:
    """The parts of a request that both ends hash, since nodes on the way may rewrite the rest.

    Args:
        source: The id of the asking node.
        destination: The id of the node that is asked.
        value: Message 1 as text, or its placeholder.
    """
    return f'routed {source} {destination} "{value}"'.encode()
