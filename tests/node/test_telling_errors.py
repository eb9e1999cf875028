"""Where several servers bring a node not, the most telling of their reasons is raised."""

import asyncio
from itertools import permutations
from types import SimpleNamespace
from typing import Any

import pytest

from p2ptui.errors import (
    HandshakeError,
    NotIntroducedError,
    NotKnownThereError,
    P2PError,
    PeerGoneError,
    PeerTimeoutError,
    RemoteError,
)
from p2ptui.node.connector import Connector
from tests.virtual_loop import run_virtual

UNKNOWN = NotKnownThereError("the server does not know node n")
GONE = PeerGoneError("the server left")
SILENT = NotIntroducedError("the server at one did not introduce node n")
REFUSED = RemoteError("the server does not relay to node n: it is full")
NO_PATH = PeerTimeoutError("no direct path to node n was found within 2 s; it does not relay")
HANDSHAKE = HandshakeError("the secret is another one")


def raised(*errors: P2PError | None) -> P2PError:
    """What is raised where the servers fail with these, in the order in which they are asked.

    None: nothing is ever heard of that one.
    """

    async def story() -> P2PError:
        clock = asyncio.get_running_loop().time
        servers = [SimpleNamespace(number=number) for number in range(len(errors))]
        endpoint: Any = SimpleNamespace(
            peers=SimpleNamespace(best_servers=lambda _now: servers),
            introduce=lambda server, *_: server.number,
        )

        async def call(number: int) -> None:
            error = errors[number]
            if error is None:
                await asyncio.sleep(100)
            else:
                raise error

        made = Connector(
            endpoint, call, clock, ("0.0.0.0", 1), lambda: None, lambda: None, lambda *_: None
        )
        with pytest.raises(P2PError) as caught:
            await made.connect_by_id("n", 5.0)
        return caught.value

    return run_virtual(story())


@pytest.mark.parametrize("telling", [REFUSED, NO_PATH, HANDSHAKE])
def test_a_server_that_knows_the_node_and_says_why_is_quoted(telling: P2PError) -> None:
    for errors in permutations([telling, UNKNOWN, SILENT, None]):
        assert raised(*errors) is telling


def test_silence_says_more_than_that_another_one_knows_it_not() -> None:
    assert raised(SILENT, UNKNOWN, GONE) is SILENT
    assert raised(UNKNOWN, GONE, SILENT) is SILENT
    assert str(raised(None, UNKNOWN)) == "node n did not answer in time"


def test_of_equal_reasons_that_of_the_better_server_is_told() -> None:
    assert raised(REFUSED, HANDSHAKE) is REFUSED
    assert raised(UNKNOWN, GONE) is UNKNOWN
