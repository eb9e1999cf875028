"""What a newcomer says of itself fits a page of a list: not each must be written to see that."""

import json
import random

import pytest

from p2ptui.core.identity import (
    MAX_NODE_INFO_BYTES,
    RefusedError,
    accept_node_info,
    own_node_info,
)
from p2ptui.wire.codec import decode_payload, encode_payload
from p2ptui.wire.message import ReceivedNodeInfo

OWN = own_node_info("11111111-0000-4000-8000-000000000000", "me", "1", "0.0.0.0:1", "p2p_default")
LETTERS = (
    "a",
    "\u00e9",
    "\U0001f600",
    "\\n",
    "\\b",
    "\\u0007",
    "\\u00e9",
    '\\"',
    "\\\\",
    "\x7f",
    "/",
)
"""As they may stand in JSON: themselves, or escaped."""


def texts(rng: random.Random, most: int) -> str:
    return '"' + "".join(rng.choice(LETTERS) for _ in range(rng.randrange(1, most))) + '"'


def account(rng: random.Random, most: int) -> bytes:
    """One of random length, which leaves out what may be left out now and then."""
    node_id = rng.choice(("22222222-0000-4000-8000-000000000000", "2" * 32))
    fields = {
        "name": texts(rng, most),
        "version": texts(rng, most),
        "listen_addr": texts(rng, most),
        "capabilities": "[" + ",".join(texts(rng, 9) for _ in range(rng.randrange(most))) + "]",
        "metadata": "{" + ",".join(f'"{n}":{texts(rng, 9)}' for n in range(rng.randrange(9))) + "}",
        "network_id": '"p2p_default"',
    }
    kept = [f'"{name}":{text}' for name, text in fields.items() if rng.random() < 0.8]
    return ("{" + ",".join([f'"node_id":"{node_id}"', *kept]) + "}").encode()


@pytest.mark.parametrize("most", [2, 10, 20, 40])
def test_an_account_is_refused_exactly_where_it_is_too_long(most: int) -> None:
    rng = random.Random(most)
    for _ in range(300):
        written = account(rng, most)
        json.loads(written)
        received = decode_payload(written, ReceivedNodeInfo)
        try:
            info = accept_node_info(received, OWN, None, len(written))
        except RefusedError:
            with pytest.raises(RefusedError):
                accept_node_info(received, OWN)
        else:
            assert len(encode_payload(info)) <= MAX_NODE_INFO_BYTES
            assert accept_node_info(received, OWN) == info
