"""What a node signs to say which server holds its session.

Whoever writes to the bus of a cluster can write that a node is at some server; only the node itself
can sign it. The counter orders what it has signed: of two statements the higher one counts.
"""

from typing import Final

from p2ptui.secure.identity import SIGNATURE_BYTES, Identity, PublicKeys, verify
from p2ptui.wire.frames import node_id_bytes

_LABEL: Final = b"p2ptui presence 2\0"

MAX_COUNTER: Final = 2**63 - 1
"""Nobody who counts milliseconds since 1970 comes near, and every program can hold it."""


def _claim(node_id: str, server_id: str, counter: int, network_id: str) -> bytes:
    ids = node_id_bytes(node_id), node_id_bytes(server_id)
    # The network's id is the last: all else has its length.
    return b"".join((_LABEL, *ids, counter.to_bytes(8, "big"), network_id.encode()))


def next_counter(last: int, unix_ms: int) -> int:
    """The counter of a node's next statement.

    Args:
        last: Of its last one; 0: it has made none since it started.
        unix_ms: Unix time, milliseconds. A clock that was set back only delays its part in this.
    """
    return max(last + 1, unix_ms)


def sign_presence(identity: Identity, server_id: str, counter: int, network_id: str) -> bytes:
    """Say that a server holds this node's session.

    Args:
        identity: The node's.
        server_id: The server's node id, in canonical text.
        counter: Higher than that of any before, `next_counter`.
        network_id: Of the network of both: a server's key may be used in several.

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
    """Whether a node has said so itself; never raises for what others wrote.

    It takes some 100 us: what is true once stays so, and is not asked again.

    Args:
        keys: The node's, as somebody says.
        node_id: In canonical text.
        server_id: In canonical text.
        counter: As it came.
        signature: As it came.
        network_id: Of the network of whoever asks.
    """
    if len(signature) != SIGNATURE_BYTES or not 0 < counter <= MAX_COUNTER:
        return False
    if keys.id != node_id:
        return False
    return verify(keys.ed_public, signature, _claim(node_id, server_id, counter, network_id))
