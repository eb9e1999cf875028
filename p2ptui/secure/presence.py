"""What a node signs to say which server holds its session.

Anyone who can write to a cluster's bus can claim that a node is at some server; only the node
itself can sign it. The counter orders a node's statements: the higher one counts.
"""

from typing import Final

from p2ptui.secure.identity import SIGNATURE_BYTES, Identity, PublicKeys, verify
from p2ptui.wire.frames import node_id_bytes

_LABEL: Final = b"p2ptui presence 2\0"

MAX_COUNTER: Final = 2**63 - 1
"""Far beyond milliseconds since 1970, and within the range of every program."""


def _claim(node_id: str, server_id: str, counter: int, network_id: str) -> bytes:
    ids = node_id_bytes(node_id), node_id_bytes(server_id)
    # The network's id comes last, as everything else has a fixed length.
    return b"".join((_LABEL, *ids, counter.to_bytes(8, "big"), network_id.encode()))


def next_counter(last: int, unix_ms: int) -> int:
    """The counter of a node's next statement.

    Args:
        last: The counter of its last one; 0: none since it started.
        unix_ms: Unix time, milliseconds. If the clock is set back, the counter simply counts on
            until the clock catches up.
    """
    return max(last + 1, unix_ms)


def sign_presence(identity: Identity, server_id: str, counter: int, network_id: str) -> bytes:
    """Sign that a server holds this node's session.

    Args:
        identity: The node's.
        server_id: The server's node id, in canonical form.
        counter: Higher than in any statement before: from `next_counter`.
        network_id: Id of the network of both: a server's key may be used in several networks.

    Returns:
        The signature, 64 bytes.
    """
    return identity.sign(_claim(identity.id, server_id, counter, network_id))


def verify_presence(
    keys: PublicKeys,
    node_id: str,
    server_id: str,
    counter: int,
    signature: bytes,
    network_id: str,
) -> bool:
    """Whether a node signed this statement itself; never raises for remote data.

    It takes about 100 us: callers remember a positive result instead of asking again.

    Args:
        keys: The node's keys, as others claim.
        node_id: In canonical text.
        server_id: In canonical text.
        counter: As it came.
        signature: As it came.
        network_id: Id of the caller's network.
    """
    if len(signature) != SIGNATURE_BYTES or not 0 < counter <= MAX_COUNTER:
        return False
    if keys.id != node_id:
        return False
    return verify(keys.ed_public, signature, _claim(node_id, server_id, counter, network_id))
