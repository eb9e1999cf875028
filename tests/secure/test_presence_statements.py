"""What a node signs to say which server holds it."""

import pytest

from p2ptui.secure.identity import Identity, PublicKeys
from p2ptui.secure.presence import (
    MAX_COUNTER,
    next_counter,
    sign_presence,
    verify_presence,
)
from p2ptui.secure.secret import Secret

NODE = Identity(Secret(bytes(range(32))))
OTHER = Identity(Secret(bytes(range(1, 33))))
NETWORK = "net"
SERVER = "00000000-0000-4000-8000-000000000001"
SIGNATURE = sign_presence(NODE, SERVER, 7, NETWORK)


def test_what_a_node_has_signed_is_its_word() -> None:
    assert verify_presence(NODE.keys, NODE.id, SERVER, 7, SIGNATURE, NETWORK)
    assert not verify_presence(NODE.keys, NODE.id, SERVER, 7, SIGNATURE, "net2")


@pytest.mark.parametrize(
    ("keys", "node_id", "server_id", "counter", "signature"),
    [
        (NODE.keys, NODE.id, SERVER, 8, SIGNATURE),
        (NODE.keys, NODE.id, OTHER.id, 7, SIGNATURE),
        (NODE.keys, OTHER.id, SERVER, 7, SIGNATURE),
        (OTHER.keys, NODE.id, SERVER, 7, SIGNATURE),
        (OTHER.keys, OTHER.id, SERVER, 7, SIGNATURE),
        (NODE.keys, NODE.id, SERVER, 7, bytes(64)),
        (NODE.keys, NODE.id, SERVER, 7, SIGNATURE[:-1]),
        (NODE.keys, NODE.id, SERVER, 7, b""),
        (NODE.keys, NODE.id, SERVER, 0, sign_presence(NODE, SERVER, 0, NETWORK)),
        (
            NODE.keys,
            NODE.id,
            SERVER,
            MAX_COUNTER + 1,
            sign_presence(NODE, SERVER, MAX_COUNTER + 1, NETWORK),
        ),
        (NODE.keys, NODE.id, SERVER, 2**80, SIGNATURE),
        (NODE.keys, NODE.id, SERVER, -1, SIGNATURE),
        (PublicKeys(NODE.x_public, bytes(32)), NODE.id, SERVER, 7, SIGNATURE),
    ],
)
def test_whatever_else_is_said_is_not(
    keys: PublicKeys, node_id: str, server_id: str, counter: int, signature: bytes
) -> None:
    assert not verify_presence(keys, node_id, server_id, counter, signature, NETWORK)


def test_a_counter_only_grows_also_when_a_clock_is_set_back() -> None:
    assert next_counter(0, 1_000) == 1_000
    assert next_counter(1_000, 1_000) == 1_001
    assert next_counter(1_000, 5) == 1_001
