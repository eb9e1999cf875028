"""What a handshake under seal makes its responder do: nothing twice, and no more than is needed."""

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from p2ptui.core.accounts import Purse
from p2ptui.core.events import ConnectResult
from p2ptui.core.secure import pending
from p2ptui.secure.noise import KeyPair
from p2ptui.wire import exchange
from p2ptui.wire.codec import decode_envelope
from tests.core.secure.test_secured_nodes import peer_of
from tests.simulation import World

Counting = Callable[[object, str], None]


@pytest.fixture
def done() -> Counter[str]:
    """How often each function was called that is watched."""
    return Counter()


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch, done: Counter[str]) -> Iterator[Counting]:
    """Count the calls of a function."""

    def counted(owner: object, name: str) -> None:
        function = getattr(owner, name)

        def count(*arguments: Any, **named: Any) -> Any:
            done[name] += 1
            return function(*arguments, **named)

        monkeypatch.setattr(owner, name, count)

    yield counted
    monkeypatch.undo()


def test_an_answer_is_written_once_and_shortened_only_where_it_must_be(
    watch: Counting, done: Counter[str]
) -> None:
    world = World(secured=True)
    asks, answers = world.host(), world.host()
    watch(pending, "encode_envelope")
    watch(exchange.msgspec.structs, "replace")
    assert isinstance(asks.outcome(asks.connect(answers)), ConnectResult)
    assert done["encode_envelope"] == 1
    assert done["replace"] == 0


def test_each_side_uses_its_keys_three_times(watch: Counting, done: Counter[str]) -> None:
    # A guard: XX takes three exchanges and one new key a side (Noise, section 7.5).
    world = World(secured=True)
    asks, answers = world.host(), world.host()
    watch(KeyPair, "dh")
    watch(KeyPair, "generate")
    assert isinstance(asks.outcome(asks.connect(answers)), ConnectResult)
    world.run_for(1)
    assert done["dh"] == 6
    assert done["generate"] == 2


def test_who_has_shown_its_keys_enters_proved(watch: Counting, done: Counter[str]) -> None:
    """So nothing is held back for a proof, and no Ping planned that would ask for one."""
    world = World(secured=True)
    asks, answers = world.host(), world.host()
    watch(answers.endpoint.peers, "note_proved")
    assert isinstance(asks.outcome(asks.connect(answers)), ConnectResult)
    world.run_for(1)
    assert peer_of(answers, asks).proved
    assert not done


@pytest.mark.parametrize(
    ("payload", "offered"),
    [
        (b'{"exchange":"x"}', "x"),
        (b'{"\\u0065xchange":"x"}', "x"),
        (b'{"exchang\\u0065":"x"}', "x"),
        (b'{"name":"\\"exchange\\""}', None),
        (b'{"name":"exchange"}', None),
        (b'{"exchange":1}', None),
        (b"{}", None),
    ],
)
def test_an_exchange_is_found_however_its_key_is_written(
    payload: bytes, offered: str | None
) -> None:
    data = b'{"id":"1","message_type":"HandshakeRequest","timestamp":1,"payload":%b}' % payload
    request = pending.Request(data, ("192.0.2.1", 1), decode_envelope(data), Purse())
    assert request.exchange == offered
