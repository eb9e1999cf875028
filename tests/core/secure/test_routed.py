"""What others hand on between two nodes with keys: nobody on the way reads it, forges it or has it
said in the open."""

import gc
import itertools
import json
import random
from collections.abc import Callable
from types import FunctionType, ModuleType
from typing import Any

import pytest
from msgspec import Raw
from msgspec.structs import replace

from p2ptui.core.endpoint import Endpoint
from p2ptui.core.events import Path, PingResult, SendResult, SendStatus
from p2ptui.core.mesh.far_accounts import request_bytes
from p2ptui.core.mesh.far_offers import FarOffer
from p2ptui.core.mesh.far_seals import AWAKE, FAR_IDLE_S, MAX_FAR_SESSIONS
from p2ptui.core.sealing import Mode
from p2ptui.errors import LocalError, PeerTimeoutError
from p2ptui.node.others import find_others
from p2ptui.secure import Responder, SessionKeys, Transport
from p2ptui.secure.frames import encode_unknown_session
from p2ptui.secure.secret import Secret
from p2ptui.wire.codec import encode_payload
from p2ptui.wire.exchange import InFarAnswer, account_of, encode_inside
from p2ptui.wire.message import RoutedPayload
from p2ptui.wire.sealed import Sealed, seal_parts, to_bytes, to_text
from tests.core.secure.wiretap import Wiretap
from tests.simulation import Host, World

SECRET = "nobody on the way reads this line"
NETWORK = Secret(b"n" * 32)


class Middle:
    """A node on the way that does as it likes with what it is to hand on."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.seen: list[RoutedPayload] = []
        self.rule: Callable[[RoutedPayload], list[RoutedPayload]] = lambda routed: [routed]
        self._routing = host.endpoint._routing
        self._dispatch = self._routing._dispatch
        self._routing._dispatch = self._take  # type: ignore[method-assign]

    def _take(self, routed: RoutedPayload, hops: Any, now: float, writer: Any = None) -> Any:
        self.seen.append(routed)
        refusal = None
        for each in self.rule(routed):
            refusal = self._dispatch(each, hops, now, writer)
        return refusal

    def say(self, routed: RoutedPayload) -> None:
        """Hand something on that nobody gave it just now, under a fresh name."""
        endpoint = self.host.endpoint
        hops = self._routing.next_hops(routed.destination_node, self.host.world.now)
        fresh = replace(routed, route_id=endpoint._state.ids.uuid(), hop_count=1)
        self._dispatch(fresh, hops, self.host.world.now)
        self.host.settle()


def line(world: World, count: int = 3, **options: Any) -> list[Host]:
    """Nodes in a line: each has a session with the next one."""
    nodes = [world.host(keys=world.keys(**options)) for _ in range(count)]
    for left, right in itertools.pairwise(nodes):
        left.outcome(left.connect(right))
    if count > 3:
        world.run_for(10)
    else:
        world.run_for(2)
    return nodes


def send(host: Host, to: Host, payload: Any, timeout_s: float = 60.0) -> int:
    token = host.endpoint.send_routed(to.id, payload, 8, host.world.now, timeout_s)
    host.settle()
    return token


def ping(host: Host, to: Host, timeout_s: float = 20.0) -> int:
    token = host.endpoint.ping_routed(to.id, host.world.now, timeout_s)
    host.settle()
    return token


def inner(routed: RoutedPayload) -> dict[str, Any]:
    message: dict[str, Any] = json.loads(bytes(routed.original_message))
    return message


def with_inner(routed: RoutedPayload, message: dict[str, Any]) -> RoutedPayload:
    return replace(routed, original_message=Raw(json.dumps(message).encode()))


def in_the_open(world: World, payload: Any, kind: str = "Data", **fields: Any) -> dict[str, Any]:
    message = {"id": world.message_id(), "message_type": kind, "timestamp": 1, "payload": payload}
    return message | fields


def holds(endpoint: Endpoint, text: str) -> bool:
    """Whether a text is anywhere in what a core holds."""
    data, seen, todo = text.encode(), set[int](), [endpoint]
    while todo:
        one: Any = todo.pop()
        if id(one) in seen or isinstance(one, type):
            continue
        seen.add(id(one))
        if isinstance(one, FunctionType | ModuleType) or type(one).__module__.startswith("tests"):
            continue
        if isinstance(one, str):
            if text in one:
                return True
        elif isinstance(one, bytes | bytearray | Raw):
            if data in bytes(one):
                return True
        else:
            todo += gc.get_referents(one)
    return False


@pytest.fixture
def world() -> World:
    return World()


@pytest.mark.parametrize("count", [3, 4])
def test_no_byte_of_a_text_is_in_the_clear_on_the_way(world: World, count: int) -> None:
    tap = Wiretap(world)
    nodes = line(world, count)
    first, last = nodes[0], nodes[-1]
    middles = [Middle(each) for each in nodes[1:-1]]
    assert first.outcome(send(first, last, SECRET)).delivered
    assert last.outcome(send(last, first, SECRET * 1000)).delivered
    assert isinstance(first.outcome(ping(first, last)), PingResult)
    assert (first.received(), last.received()) == ([SECRET * 1000], [SECRET])
    assert not tap.has(SECRET)
    for middle in middles:
        assert middle.seen
        assert all(SECRET.encode() not in bytes(one.original_message) for one in middle.seen)
        assert {inner(one)["message_type"] for one in middle.seen} == {"Data"}
        assert not holds(middle.host.endpoint, SECRET)
    for host in nodes:
        assert not host.endpoint.counters.drops


def test_what_a_core_holds_is_found(world: World) -> None:
    """Of the search itself: who sends a message holds it, as long as it is not confirmed."""
    one, middle, other = line(world)
    world.remove(other)
    send(one, other, SECRET)
    world.run_for(0.1)
    assert holds(one.endpoint, SECRET)
    assert not holds(middle.endpoint, SECRET)


def test_the_first_message_takes_one_round_trip_more(world: World) -> None:
    one, _, other = line(world)
    began = world.now
    first = one.outcome(send(one, other, 1))
    assert world.now - began == pytest.approx(0.08)
    assert first.rtt_s == pytest.approx(0.04)
    began = world.now
    assert one.outcome(send(one, other, 2)).delivered
    assert world.now - began == pytest.approx(0.04)


def test_both_speak_at_once(world: World) -> None:
    for seed in range(6):
        world = World(seed, loss=0.1 * (seed % 2), jitter_s=0.02)
        one, _, other = line(world)
        tokens = [(one, send(one, other, "a")), (other, send(other, one, "b"))]
        assert all(host.outcome(token).delivered for host, token in tokens)
        assert (one.received(), other.received()) == (["b"], ["a"])
        for host, to in ((one, other), (other, one)):
            assert host.outcome(send(host, to, "c")).delivered
        world.run_for(30)
        assert (one.received(), other.received()) == (["b", "c"], ["a", "c"])


@pytest.mark.parametrize(("count", "least"), [(3, 18), (4, 14)])
@pytest.mark.parametrize("seed", range(3))
def test_loss_costs_nothing_but_time(seed: int, count: int, least: int) -> None:
    """A fifth of all datagrams: six tries over six links bring six messages of seven, as in the
    open."""
    world = World(seed, loss=0.2, duplication=0.1, jitter_s=0.02)
    nodes = line(world, count)
    one, other = nodes[0], nodes[-1]
    tokens = [send(one, other, number, 120) for number in range(20)]
    outcomes = [one.outcome(token) for token in tokens]
    received = other.received()
    assert len(received) == len(set(received))
    delivered = [n for n, outcome in enumerate(outcomes) if outcome.delivered]
    assert set(delivered) <= set(received)
    assert len(delivered) >= least


def test_a_thousand_altered_forged_and_replayed_messages(world: World) -> None:
    one, host, other = line(world)
    middle, rng = Middle(host), random.Random(14)
    told = [f"true {number}" for number in range(40)]
    attacks = 0

    def add(routed: RoutedPayload) -> list[RoutedPayload]:
        """He does as he likes before he lets the true one through."""
        nonlocal attacks
        forged = [attacked(rng, world, routed, middle.seen) for _ in range(9)]
        forged.append(attacked(rng, world, rng.choice(middle.seen), middle.seen))
        attacks += len(forged)
        ids = host.endpoint._state.ids
        return [*(replace(each, route_id=ids.uuid()) for each in forged), routed]

    middle.rule = add
    for text in told:
        assert one.outcome(send(one, other, text)).delivered
    world.run_for(5)
    assert attacks > 1000
    assert other.received() == told
    assert not one.received()
    for host in (one, other):
        drops = host.endpoint.counters.drops
        for cause in ("far_altered", "far_replayed", "routed_unsealed", "far_session_unknown"):
            assert drops[cause] > 10


def attacked(
    rng: random.Random, world: World, routed: RoutedPayload, seen: list[RoutedPayload]
) -> RoutedPayload:
    """A message as a hostile node on the way would have it."""
    message = inner(routed)
    sealed = message["payload"]
    match rng.randrange(6):
        case 0:
            return routed  # a replay
        case 1:
            return with_inner(routed, in_the_open(world, "forged", requires_ack=True))
        case 2:
            kind = rng.choice(["Ping", "Pong", "Ack", "ReceiveWindow"])
            ack_for = rng.choice(seen).route_id
            return with_inner(routed, in_the_open(world, {"nonce": "x"}, kind, ack_for=ack_for))
        case 3:
            back = {"source_node": routed.destination_node, "destination_node": routed.source_node}
            return replace(routed, **back)
        case 4:
            other = inner(rng.choice(seen))["payload"]
            message["payload"] = sealed | other
            return with_inner(routed, message)
    key = rng.choice(list(sealed))
    text = sealed[key][0] if isinstance(sealed[key], list) else sealed[key]
    place = rng.randrange(len(text))
    changed = text[:place] + rng.choice("ABCxyz019-_.") + text[place + rng.randrange(3) :]
    message["payload"] = sealed | {key: [changed] if isinstance(sealed[key], list) else changed}
    return with_inner(routed, message)


def test_who_is_on_the_way_cannot_answer_for_a_node(world: World) -> None:
    one, host, other = line(world)
    middle, own = Middle(host), host.endpoint._state.seals
    assert own is not None
    answers: list[str] = []

    def answer(routed: RoutedPayload) -> list[RoutedPayload]:
        payload = inner(routed)["payload"]
        if "exchange" not in payload:
            return [routed]
        request = request_bytes(routed.source_node, routed.destination_node, payload["exchange"])
        responder = Responder(request, payload["exchange"], own.static)
        account = account_of(host.endpoint.identity, own.keys.identity.ed_public)
        answers.append(responder.answer(encode_inside(InFarAnswer(account, bytes(8))), number=7))
        return [routed]

    middle.rule = answer
    token = send(one, other, SECRET)
    world.run_until(lambda: bool(answers))
    forged = in_the_open(world, {"answer": answers[0]}, ack_for="sealed")
    middle.say(with_inner(RoutedPayload(Raw(b"{}"), other.id, one.id, 1, 8, "x"), forged))
    assert one.outcome(token).delivered
    assert one.endpoint.counters.drops["another_key"] == 1
    assert other.received() == [SECRET]


def test_who_is_on_the_way_cannot_ask_in_the_name_of_a_node(world: World) -> None:
    one, host, other = line(world)
    middle, own = Middle(host), host.endpoint._state.seals
    assert own is not None
    offer = FarOffer(own, one.id, other.id, None)
    routed = RoutedPayload(Raw(b"{}"), one.id, other.id, 1, 8, "x")

    def say(sealed: Sealed) -> None:
        payload = json.loads(bytes(encode_payload(sealed)))
        middle.say(with_inner(routed, in_the_open(world, payload, ack_for="sealed")))
        world.run_for(0.5)

    say(offer.request)
    (answer,) = [inner(each)["payload"]["answer"] for each in middle.seen]
    shown = offer.read(answer)
    assert shown is not None
    assert shown.keys.id == other.id
    account = account_of(one.endpoint.identity, own.keys.identity.ed_public)
    finished = offer.finish(account, world.now)
    assert finished is not None
    transport, last = finished
    message = json.dumps(in_the_open(world, "forged")).encode()
    say(Sealed(finish=last, frames=seal_parts(message, transport.seal)))
    assert other.received() == []
    assert other.endpoint._end_to_end.far.seals.get(one.id, world.now) is None
    assert inner(middle.seen[-1])["payload"]["refused"]


def test_what_finds_no_way_when_the_keys_are_there_is_tried_again(world: World) -> None:
    one, _, other = line(world)
    routing, asking = one.endpoint._routing, one.endpoint._end_to_end.far.asking
    assert asking is not None
    ready, next_hops = asking.on_ready, routing.next_hops

    def cut(*about: Any) -> None:
        routing.next_hops = lambda *_: []  # type: ignore[method-assign]
        ready(*about)
        routing.next_hops = next_hops  # type: ignore[method-assign]

    asking.on_ready = cut
    assert one.outcome(send(one, other, SECRET)).delivered
    assert isinstance(one.outcome(ping(one, other)), PingResult)


@pytest.mark.parametrize("step", ["exchange", "answer", "finish", "frames"])
def test_what_is_stripped_fails_and_nothing_is_said_in_the_open(world: World, step: str) -> None:
    one, host, other = line(world)
    middle = Middle(host)

    def strip(routed: RoutedPayload) -> list[RoutedPayload]:
        message = inner(routed)
        if step == "frames" and step in message["payload"]:
            return []
        if message["payload"].pop(step, None) is None:
            return [routed]
        return [with_inner(routed, message)]

    middle.rule = strip
    message, asked = send(one, other, SECRET), ping(one, other)
    outcome = one.outcome(message)
    assert isinstance(outcome, SendResult)
    assert outcome.status is SendStatus.TIMED_OUT
    assert outcome.may_have_arrived is (step in ("finish", "frames"))
    assert isinstance(one.outcome(asked), PeerTimeoutError)
    if step in ("exchange", "answer"):
        assert str(outcome.reason).startswith(
            f"node {other.id} has not answered the key exchange after 12 tries"
        )
        assert "; nothing was sent to it in the open: " in str(outcome.reason)
    assert other.received() == []
    assert not any(SECRET.encode() in bytes(one.original_message) for one in middle.seen)


def test_it_is_shown_with_whom_it_is_sealed(world: World) -> None:
    one, _, other = line(world)
    (before,) = (each for each in find_others(one.endpoint, world.now) if each.node_id == other.id)
    assert not before.secured
    assert one.outcome(ping(one, other)).path is Path.RELAY
    (after,) = (each for each in find_others(one.endpoint, world.now) if each.node_id == other.id)
    assert after.secured
    assert after.keys is not None
    assert after.keys.id == other.id
    assert (after.messages_out, after.messages_in) == (1, 1)


def test_a_list_that_hides_what_a_node_can_do_changes_nothing(world: World) -> None:
    one, host, other = line(world)
    middle = Middle(host)
    table = one.endpoint._routing.table
    route = table.peek(other.id, world.now)
    assert route is not None
    table.learn(other.id, host.id, 2, world.now, ("handshake",), "liar", evidence=route.evidence)
    assert one.endpoint._routing.capabilities_of(other.id, world.now) == ("handshake",)
    assert one.outcome(send(one, other, SECRET)).delivered
    assert not any(SECRET.encode() in bytes(each.original_message) for each in middle.seen)


def test_a_message_in_the_open_from_an_id_made_of_keys_is_refused(world: World) -> None:
    one, host, other = line(world)
    middle = Middle(host)
    routed = RoutedPayload(Raw(b"{}"), one.id, other.id, 0, 8, "x")
    middle.say(with_inner(routed, in_the_open(world, "forged")))
    world.run_for(1)
    assert other.received() == []
    assert other.endpoint.counters.drops["routed_unsealed"] == 1


def without_ids(message: dict[str, Any]) -> dict[str, Any]:
    """All that does not differ from one message to the next."""
    payload = message["payload"]
    nonce = {"nonce": ""} if isinstance(payload, dict) and "nonce" in payload else payload
    acks = message["ack_for"] and "an id"
    return message | {"id": "", "timestamp": 0, "payload": nonce, "ack_for": acks}


def test_nodes_without_keys_are_routed_to_as_before() -> None:
    def told(*, secured: bool) -> tuple[list[str], list[Any]]:
        world = World()
        one, host = world.host(keys=world.keys() if secured else None), world.host()
        other = world.host(node_id="00000099-0000-4000-8000-000000000000")
        middle = Middle(host)
        for each in (one, other):
            each.outcome(each.connect(host))
        world.run_for(2)
        assert one.outcome(send(one, other, "hello")).delivered
        assert other.outcome(send(other, one, "back")).delivered
        assert isinstance(one.outcome(ping(one, other)), PingResult)
        messages = [json.dumps(without_ids(inner(each))) for each in middle.seen]
        return messages, one.received() + other.received()

    assert told(secured=True) == told(secured=False)


def test_who_hands_on_may_write_the_json_anew(world: World) -> None:
    """As deployed servers do, which sort the keys."""
    one, host, other = line(world)

    def rewrite(routed: RoutedPayload) -> list[RoutedPayload]:
        text = json.dumps(inner(routed), sort_keys=True, indent=1)
        return [replace(routed, original_message=Raw(text.encode()))]

    Middle(host).rule = rewrite
    assert one.outcome(send(one, other, SECRET)).delivered
    assert other.outcome(send(other, one, SECRET)).delivered


def test_a_restarted_node_is_spoken_to_again(world: World) -> None:
    one, host, other = line(world)
    assert one.outcome(send(one, other, "before")).delivered
    world.remove(other)
    waiting = send(one, other, "while it is away")
    world.run_for(1.5)
    other = world.host(other.address, keys=world._keys[other.id])
    other.outcome(other.connect(host))
    began = world.now
    assert one.outcome(waiting).delivered
    assert one.outcome(send(one, other, "after")).delivered
    assert world.now - began < 6
    world.run_for(30)
    assert other.received() == ["while it is away", "after"]
    assert other.outcome(send(other, one, "and back")).delivered


@pytest.mark.parametrize("seed", range(12))
def test_whatever_happens_what_is_told_as_delivered_was_and_comes_once(seed: int) -> None:
    """Loss, disorder, sessions forgotten on either side, requests that cross, and a restart."""
    rng = random.Random(seed)
    world = World(seed, loss=0.1, duplication=0.1, jitter_s=0.1)
    one, host, other = line(world)
    middle = Middle(host)
    middle.rule = lambda routed: [routed] * rng.choice([0, 1, 1, 1, 1, 2])
    told: dict[Host, list[tuple[int, int]]] = {one: [], other: []}
    former: list[int] = []
    for number in range(60):
        source, to = rng.choice([(one, other), (other, one)])
        if source.endpoint._routing.table.peek(to.id, world.now) is not None:
            told[source].append((send(source, to, number, 90), number))
        world.run_for(rng.choice([0.0, 0.05, 0.3, 2.0, 30.0]))
        match rng.randrange(12):
            case 0:
                one.endpoint._end_to_end.far.seals.forget(other.id)
            case 1:
                other.endpoint._end_to_end.far.seals.forget(one.id)
            case 2 if not former:
                former = other.received()
                world.remove(other)
                del told[other]
                other = world.host(other.address, keys=world._keys[other.id])
                told[other] = []
                other.outcome(other.connect(host, timeout_s=30), within=60)
    world.run_for(120)
    for source, to in ((one, other), (other, one)):
        received = to.received()
        assert len(received) == len(set(received))
        outcomes = [(source.outcomes[token], number) for token, number in told[source]]
        delivered = {number for outcome, number in outcomes if outcome.delivered}
        assert delivered <= {*received, *(former if to is other else ())}
        # Of six tries by such a way one message in fifty has none, in the open as well.
        assert len(outcomes) - len(delivered) <= 3 + 0.05 * len(outcomes)
    assert not one.endpoint.sizes()["far_asking"]
    assert not other.endpoint.sizes()["far_asking"]


def test_a_node_that_has_forgotten_says_so_and_is_answered_within_a_second(world: World) -> None:
    one, _, other = line(world)
    assert one.outcome(send(one, other, 1)).delivered
    other.endpoint._end_to_end.far.seals.forget(one.id)
    began = world.now
    assert one.outcome(send(one, other, 2)).delivered
    assert isinstance(one.outcome(ping(one, other)), PingResult)
    assert world.now - began < 0.5
    assert other.received() == [1, 2]


def test_who_only_says_that_a_session_is_unknown_ends_nothing(world: World) -> None:
    one, host, other = line(world)
    middle = Middle(host)
    assert one.outcome(send(one, other, 1)).delivered
    far = one.endpoint._end_to_end.far.seals.get(other.id, world.now)
    assert far is not None
    frame = next(
        inner(each)["payload"]["frames"]
        for each in middle.seen
        if "frames" in inner(each)["payload"]
    )[0]
    unknown = encode_unknown_session(to_bytes(frame))
    assert unknown is not None
    forged = in_the_open(world, {"unknown": to_text(unknown)}, ack_for="sealed")
    before = len(middle.seen)
    middle.rule = lambda routed: [] if "answer" in inner(routed)["payload"] else [routed]
    for _ in range(50):
        middle.say(with_inner(RoutedPayload(Raw(b"{}"), other.id, one.id, 1, 8, "x"), forged))
        world.run_for(0.02)
    assert sum("exchange" in inner(each)["payload"] for each in middle.seen[before:]) <= 2
    assert one.outcome(send(one, other, 2)).delivered
    assert other.received() == [1, 2]


def test_keys_are_new_before_fifteen_minutes_are_over(world: World) -> None:
    one, _, other = line(world)
    seals = one.endpoint._end_to_end.far.seals
    used: set[int] = set()
    count = 0
    while count < 80:
        count += 1
        assert one.outcome(send(one, other, count)).delivered
        far = seals.get(other.id, world.now)
        assert far is not None
        assert world.now - far.session.current.began_at < 900
        used.add(far.session.current.local_number)
        world.run_for(29)
    assert len(used) == 3
    assert other.received() == list(range(1, 81))


def test_new_keys_are_known_to_both_though_the_one_that_asked_says_no_more(world: World) -> None:
    one, _, other = line(world)
    assert one.outcome(send(one, other, 0)).delivered
    world.run_for(845)
    assert one.outcome(send(one, other, 1)).delivered
    world.run_for(120)
    assert other.outcome(send(other, one, 2)).delivered
    assert not one.endpoint.counters.drops
    assert not other.endpoint.counters.drops


def test_an_idle_session_ends_and_the_next_message_makes_another(world: World) -> None:
    one, _, other = line(world)
    assert one.outcome(send(one, other, 1)).delivered
    world.run_for(1000)
    assert one.endpoint._end_to_end.far.seals.get(other.id, world.now) is None
    assert one.outcome(send(one, other, 2)).delivered
    assert other.received() == [1, 2]


def test_a_direct_session_takes_over(world: World) -> None:
    one, host, other = line(world)
    middle = Middle(host)
    assert one.outcome(send(one, other, 1)).delivered
    one.outcome(one.connect(other))
    before = len(middle.seen)
    assert one.outcome(send(one, other, 2)).delivered
    assert one.outcome(send(one, other, {"sealed": {"exchange": "mine"}})).delivered
    assert len(middle.seen) == before
    assert other.received() == [1, 2, {"sealed": {"exchange": "mine"}}]


def test_what_waits_goes_by_a_direct_session_that_comes_about(world: World) -> None:
    one, host, other = line(world)
    middle = Middle(host)
    middle.rule = lambda _: []
    token = send(one, other, SECRET)
    world.run_for(0.5)
    one.connect(other)
    assert one.outcome(token).delivered
    assert other.received() == [SECRET]


def test_the_network_key_holds_for_what_is_routed(world: World) -> None:
    nodes = line(world, network_key=NETWORK)
    one, _, other = nodes
    assert one.outcome(send(one, other, "hello")).delivered
    assert other.received() == ["hello"]


@pytest.mark.parametrize("theirs", [None, Secret(b"m" * 32)])
def test_another_network_key_is_refused_with_a_line(world: World, theirs: Secret | None) -> None:
    host = world.host(keys=None)
    one = world.host(keys=world.keys(network_key=NETWORK))
    other = world.host(keys=world.keys(network_key=theirs))
    for each in (one, other):
        each.outcome(each.connect(host))
    world.run_for(2)
    began = world.now
    outcome = one.outcome(send(one, other, SECRET))
    assert not outcome.delivered
    assert "network key" in str(outcome.reason)
    assert world.now - began < 8
    assert other.received() == []
    outcome = other.outcome(send(other, one, SECRET))
    assert not outcome.delivered
    assert "network key" in str(outcome.reason)
    assert one.received() == []


def test_an_allowed_id_comes_without_the_network_key(world: World) -> None:
    host = world.host(keys=None)
    plain = world.keys()
    one = world.host(
        keys=world.keys(network_key=NETWORK, allowed_ids=frozenset({plain.identity.id}))
    )
    other = world.host(keys=plain)
    for each in (one, other):
        each.outcome(each.connect(host))
    world.run_for(2)
    assert other.outcome(send(other, one, "in")).delivered
    one.endpoint._end_to_end.far.seals.forget(other.id)
    other.endpoint._end_to_end.far.seals.forget(one.id)
    assert one.outcome(send(one, other, "out")).delivered
    assert (one.received(), other.received()) == (["in"], ["out"])


def test_who_requires_keys_neither_sends_nor_takes_what_is_open(world: World) -> None:
    host = world.host(keys=world.keys())
    strict = world.host(keys=world.keys(mode=Mode.REQUIRE))
    plain = world.host(node_id="00000099-0000-4000-8000-000000000000")
    for each in (strict, plain):
        each.outcome(each.connect(host))
    world.run_for(2)
    with pytest.raises(LocalError, match=r"has no keys.*security\.mode"):
        send(strict, plain, "x")
    with pytest.raises(LocalError, match=r"has no keys.*security\.mode"):
        ping(strict, plain)
    assert not plain.outcome(send(plain, strict, "x", 5)).delivered
    assert strict.received() == []
    assert strict.endpoint.counters.drops["routed_unsealed"]


def test_who_is_judged_unfit_is_refused(world: World) -> None:
    one, _, other = line(world)
    seals = one.endpoint._state.seals
    assert seals is not None
    judged: list[tuple[Any, ...]] = []

    def judge(*about: Any) -> str:
        judged.append(about)
        return "it is not who it was"

    seals.judge = judge
    outcome = one.outcome(send(one, other, SECRET))
    assert outcome.status is SendStatus.FAILED
    assert outcome.reason == "it is not who it was"
    assert not outcome.may_have_arrived
    ((place, node_id, keys),) = judged
    assert (node_id, keys.id) == (other.id, other.id)
    assert place[0].startswith(other.id)
    outcome = other.outcome(send(other, one, SECRET))
    assert not outcome.delivered
    assert outcome.reason == f"node {one.id} refuses: it is not who it was"
    assert (one.received(), other.received()) == ([], [])


def test_a_flood_of_requests_costs_no_more_exchanges_than_the_limit(world: World) -> None:
    one, host, other = line(world)
    middle = Middle(host)
    assert one.outcome(send(one, other, 1)).delivered
    request = next(each for each in middle.seen if "exchange" in inner(each)["payload"])
    answered, before = 0, len(middle.seen)
    for number in range(1000):
        message = inner(request)
        text = message["payload"]["exchange"]
        message["payload"]["exchange"] = f"{text[:-4]}{number:04}"
        middle.say(replace(with_inner(request, message), source_node=world.keys().identity.id))
        world.run_for(0.002)
    answered = sum("answer" in inner(each)["payload"] for each in middle.seen[before:])
    drops = other.endpoint.counters.drops
    assert answered <= 160
    assert drops["far_exchange_postponed"] >= 800
    sizes = other.endpoint.sizes()
    assert sizes["far_answered"] <= 256
    world.run_for(3)
    assert one.outcome(send(one, other, 2)).delivered


def test_who_has_not_proved_its_address_pays_for_the_answers(world: World) -> None:
    node, keys = world.host(keys=world.keys()), world.keys()
    seals = node.endpoint._state.seals
    assert seals is not None
    forger = world.puppet(node_id=keys.identity.id)
    forger.answers_pings = False
    forger.join(node)
    sealed = json.loads(bytes(encode_payload(FarOffer(seals, forger.id, node.id, None).request)))
    for number in range(300):
        routed = {
            "original_message": in_the_open(world, sealed, ack_for="sealed"),
            "destination_node": node.id,
            "route_id": str(number),
        }
        forger.say("Data", routed, node)
        world.run_for(0.01)
        assert forger.bytes_received <= 3 * forger.bytes_sent
    assert node.endpoint.sizes()["far_answered"] == 1


def test_a_message_of_many_parts_is_whole_or_not_there(world: World) -> None:
    one, host, other = line(world)
    middle = Middle(host)
    text = "".join(f"{number} " for number in range(40_000))
    changes: list[Callable[[list[str]], list[str]]] = [
        lambda frames: frames[:-1],
        lambda frames: frames[1:],
        lambda frames: [*frames[1:], frames[0]],
        lambda frames: [*frames, frames[-1]],
        lambda frames: frames,
    ]

    def change(routed: RoutedPayload) -> list[RoutedPayload]:
        message = inner(routed)
        frames = message["payload"].get("frames")
        if frames is None or len(frames) == 1 or len(changes) == 0:
            return [routed]
        message["payload"]["frames"] = changes.pop(0)(frames)
        return [with_inner(routed, message)]

    middle.rule = change
    assert one.outcome(send(one, other, text)).delivered
    assert not changes
    assert other.received() == [text]


def test_many_sessions_keep_little_of_each(world: World) -> None:
    node = world.host(keys=world.keys())
    seals, keys = node.endpoint._end_to_end.far.seals, world.keys().identity.keys
    for number in range(MAX_FAR_SESSIONS + 50):
        pair = SessionKeys(bytes(32), bytes(32))
        transport = Transport(
            pair, local_number=number, remote_number=1, is_initiator=True, began_at=world.now
        )
        assert seals.enter(str(number), transport, keys, (), world.now, address=None)
        assert seals.seal(str(number), b"x", world.now) is not None
        assert (transport._sealer is not None) is (number < AWAKE)
    assert node.endpoint.sizes()["far_sessions"] == MAX_FAR_SESSIONS
    assert node.endpoint.counters.drops["far_session_forgotten"] == 50
    assert seals.seal("7", b"x", world.now) is None
    last = str(MAX_FAR_SESSIONS + 49)
    assert seals.seal(last, b"x", world.now) is not None
    assert seals.get(last, world.now + FAR_IDLE_S) is None


def test_too_large_a_message_is_refused_by_its_size_under_seal(world: World) -> None:
    one, _, other = line(world)
    with pytest.raises(LocalError, match="send it in parts"):
        send(one, other, "x" * 800_000)
    assert one.outcome(send(one, other, "x" * 700_000)).delivered


def test_its_keys_are_told_to_whoever_debugs_captures(world: World) -> None:
    told: list[tuple[str, str]] = []
    keys = [
        world.keys(on_session_keys=lambda other, transport, who=who: told.append((who, other)))
        for who in "abc"
    ]
    a, b, c = (world.host(keys=each) for each in keys)
    for left, right in ((a, b), (b, c)):
        left.outcome(left.connect(right))
    world.run_for(2)
    told.clear()

    assert a.outcome(send(a, c, "hello")).delivered

    assert sorted(told) == [("a", c.id), ("c", a.id)]
