"""A key exchange that is cut, replayed, or of another session: counted by its reason, and told.

What is right may still follow, until the time of the attempt is over; then a line says what came.
"""

from collections.abc import Callable

import msgspec
import pytest

from p2ptui.core.events import ConnectResult
from p2ptui.errors import HandshakeError
from p2ptui.secure.secret import Secret
from tests.core.secure.wiretap import Seen, Wiretap
from tests.simulation import Host, World

KEY = Secret(b"k" * 32)
MESSAGE_3 = b"\xe1"


@pytest.fixture
def world() -> World:
    return World(secured=True)


def is_answer(seen: Seen) -> bool:
    return b'"HandshakeResponse"' in seen.data and b'"exchange"' in seen.data


def of_exchange(data: bytes) -> tuple[int, int]:
    """Where message 2 is in an answer."""
    start = data.index(b'"exchange":"') + 12
    return start, data.index(b'"', start)


def cut(data: bytes) -> bytes:
    _, end = of_exchange(data)
    return data[: end - 8] + data[end:]


def emptied(data: bytes) -> bytes:
    start, end = of_exchange(data)
    return data[:start] + data[end:]


def altered(data: bytes) -> bytes:
    start, end = of_exchange(data)
    at = (start + end) // 2
    return data[:at] + (b"A" if data[at : at + 1] != b"A" else b"B") + data[at + 1 :]


def drops(host: Host) -> dict[str, int]:
    return dict(host.endpoint.counters.drops)


@pytest.mark.parametrize("how", [cut, emptied, altered])
def test_a_bad_message_2_is_dropped_and_the_end_says_so(
    world: World, how: Callable[[bytes], bytes]
) -> None:
    tap = Wiretap(world)
    one, other = world.host(), world.host()
    tap.rules.append(lambda seen: how(seen.data) if is_answer(seen) else seen.data)
    outcome = one.outcome(one.connect(other, timeout_s=5.0))
    assert isinstance(outcome, HandshakeError)
    line = str(outcome)
    assert "\n" not in line
    assert "answers that do not open" in line, line
    assert drops(one)["exchange_answer_refused"] >= 2
    assert not list(one.endpoint.peers)
    assert not any(peer.is_authenticated for peer in other.endpoint.peers)


@pytest.mark.parametrize("how", [cut, altered])
def test_the_true_message_2_may_still_follow(world: World, how: Callable[[bytes], bytes]) -> None:
    tap = Wiretap(world)
    one, other = world.host(), world.host()
    seen_before = []

    def once(seen: Seen) -> bytes:
        if not is_answer(seen) or len(seen_before) >= 2:
            return seen.data
        seen_before.append(seen)
        return how(seen.data)

    tap.rules.append(once)
    assert isinstance(one.outcome(one.connect(other)), ConnectResult)
    assert drops(one)["exchange_answer_refused"] == 2


def test_a_message_2_of_another_session_is_not_taken(world: World) -> None:
    """Also under the number of this request, as somebody on the path would send it."""
    tap = Wiretap(world)
    one, other = world.host(), world.host()
    one.outcome(one.connect(other))
    old = next(seen.data for seen in tap.seen if is_answer(seen))
    start, end = of_exchange(old)
    world.remove(one)
    world.run_for(120)
    again = world.host()

    def replayed(seen: Seen) -> bytes:
        if not is_answer(seen):
            return seen.data
        first, last = of_exchange(seen.data)
        return seen.data[:first] + old[start:end] + seen.data[last:]

    tap.rules.append(replayed)
    outcome = again.outcome(again.connect(other, timeout_s=4.0))
    assert isinstance(outcome, HandshakeError)
    assert drops(again)["exchange_answer_refused"] >= 1


@pytest.mark.parametrize("key", [None, KEY])
@pytest.mark.parametrize(
    ("how", "reason"),
    [
        (lambda data: data[:3], "malformed"),
        (lambda data: data[:20], "malformed"),
        (lambda data: data[:-1], "exchange_"),
        (lambda data: data[:60] + bytes((data[60] ^ 1,)) + data[61:], "exchange_"),
        (lambda data: data[:10] + bytes((data[10] ^ 1,)) + data[11:], "exchange_altered"),
        (lambda data: data[:1] + bytes((data[1] ^ 1,)) + data[2:], "exchange_unknown"),
    ],
)
def test_a_bad_message_3_is_counted_by_its_reason_and_the_true_one_counts(
    world: World, how: Callable[[bytes], bytes], reason: str, key: Secret | None
) -> None:
    tap = Wiretap(world)
    one, other = (world.host(keys=world.keys(network_key=key)) for _ in range(2))
    changed = []

    def first(seen: Seen) -> bytes:
        if seen.data[:1] != MESSAGE_3 or changed:
            return seen.data
        changed.append(seen)
        return how(seen.data)

    tap.rules.append(first)
    assert isinstance(one.outcome(one.connect(other)), ConnectResult)
    assert one.outcome(one.send(other, "hello")).delivered
    counted = [name for name in drops(other) if name.startswith(("exchange_", "malformed"))]
    assert any(name.startswith(reason) for name in counted), counted


def test_a_message_3_that_never_comes_whole_is_told_where_the_key_is_needed(world: World) -> None:
    tap = Wiretap(world)
    one, other = (world.host(keys=world.keys(network_key=KEY)) for _ in range(2))
    tap.rules.append(lambda seen: seen.data[:40] if seen.data[:1] == MESSAGE_3 else seen.data)
    outcome = one.outcome(one.connect(other, timeout_s=4.0))
    assert isinstance(outcome, HandshakeError)
    assert "has not confirmed the last message of the key exchange" in str(outcome)
    assert not list(one.endpoint.peers)


def test_a_message_3_of_before_begins_nothing(world: World) -> None:
    tap = Wiretap(world)
    one, other = world.host(), world.host()
    one.outcome(one.connect(other))
    old = next(seen.data for seen in tap.seen if seen.data[:1] == MESSAGE_3)
    world.remove(one)
    world.run_for(200)
    assert not list(other.endpoint.peers)
    tap.inject(old, one.address, other)
    world.run_for(1)
    assert not list(other.endpoint.peers)
    assert drops(other)["exchange_unknown"] == 1


def test_who_claims_an_id_outside_is_the_node_of_its_keys_and_no_other(world: World) -> None:
    one, other, victim = world.host(), world.host(), world.host()
    victim.outcome(victim.connect(other))
    state = one.endpoint._state
    state.identity = msgspec.structs.replace(state.identity, id=victim.id)
    one.outcome(one.connect(other))
    world.run_for(2)
    peer = other.endpoint.peers.with_id(victim.id)
    assert peer is not None
    assert peer.address == victim.address
    assert state.seals is not None
    own_id = state.seals.keys.identity.id
    assert {each.node_id for each in other.endpoint.peers} == {victim.id, own_id}
    assert victim.outcome(victim.send(other, "still here")).delivered


def test_who_answers_under_another_id_is_the_node_of_its_keys(world: World) -> None:
    tap = Wiretap(world)
    one, other, victim = world.host(), world.host(), world.host()

    def renamed(seen: Seen) -> bytes:
        return (
            seen.data.replace(other.id.encode(), victim.id.encode())
            if is_answer(seen)
            else seen.data
        )

    tap.rules.append(renamed)
    outcome = one.outcome(one.connect(other))
    assert isinstance(outcome, ConnectResult)
    assert outcome.node_id == other.id
