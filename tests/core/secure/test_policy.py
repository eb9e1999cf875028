"""Whom a node lets in: modes, the network key, and the ids that may come without it."""

import itertools
from dataclasses import replace
from typing import Any

import pytest

from p2ptui.core.events import ConnectResult, PeerRefused
from p2ptui.core.policy import RULES
from p2ptui.core.sealing import Mode
from p2ptui.errors import HandshakeError
from p2ptui.secure import Reason
from p2ptui.secure.identity import STATEMENT_LIFE_S, make_statement
from p2ptui.secure.secret import Secret
from tests.core.relaying import ask, relaying, say, seen
from tests.core.relaying import node as relayed
from tests.core.secure.test_secured_nodes import meet_at_once, peer_of
from tests.core.secure.wiretap import Wiretap
from tests.simulation import Host, World

KEY, OTHER = Secret(b"k" * 32), Secret(b"x" * 32)
MODES = list(Mode)


@pytest.fixture
def world() -> World:
    return World()


def node(world: World, **options: Any) -> Host:
    return world.host(keys=world.keys(**options))


def pair(world: World, one: Any, other: Any, *, lists: str = "", **options: Any) -> list[Host]:
    """Two nodes with network keys; `lists` says whose list the other one's id is on: a, b, ab."""
    keys = [world.keys(network_key=key, **options) for key in (one, other)]
    ids = [each.identity.id for each in keys]
    made = []
    for place, letter in enumerate("ab"):
        allowed = frozenset({ids[1 - place]}) if letter in lists else frozenset()
        made.append(replace(keys[place], allowed_ids=allowed))
    return [world.host(keys=each) for each in made]


def requests(tap: Wiretap, one: Host, other: Host) -> list[bytes]:
    """The different requests that went from one node to another."""
    sent = (each.data for each in tap.between(one, other))
    return list(dict.fromkeys(data for data in sent if b'"HandshakeRequest"' in data))


def told(host: Host) -> list[str]:
    return [event.reason for event in host.told(PeerRefused)]


def test_each_reason_that_is_about_the_network_key_is_a_rule() -> None:
    assert {each.value for each in Reason if each.value.startswith("network_key")} <= set(RULES)


# With a network key.


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("asks", [0, 1])
def test_the_network_key_is_wanted_in_every_mode(world: World, mode: Mode, asks: int) -> None:
    tap = Wiretap(world)
    hosts = pair(world, KEY, None, mode=mode)
    one, other = hosts[asks], hosts[1 - asks]
    outcome = one.outcome(one.connect(other))
    assert isinstance(outcome, HandshakeError)
    assert "network key" in str(outcome)
    assert "\n" not in str(outcome)
    world.run_for(20)
    assert not list(one.endpoint.peers)
    assert not list(other.endpoint.peers)
    (line,) = told(other)
    assert "network key" in line
    assert len(requests(tap, one, other)) == 1, "where no ids are allowed nobody is asked twice"


@pytest.mark.parametrize("mode", MODES)
def test_another_network_key_is_refused_and_both_sides_hear_why(world: World, mode: Mode) -> None:
    tap = Wiretap(world)
    one, other = pair(world, KEY, OTHER, mode=mode)
    outcome = one.outcome(one.connect(other))
    assert str(outcome).endswith(RULES["network_key_differs"].there)
    world.run_for(20)
    assert not list(one.endpoint.peers)
    assert not list(other.endpoint.peers)
    assert told(other) == [RULES["network_key_differs"].here]
    assert len(requests(tap, one, other)) == 1


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("asks", [0, 1])
def test_who_is_allowed_comes_without_the_key_whoever_asks(
    world: World, mode: Mode, asks: int
) -> None:
    tap = Wiretap(world)
    hosts = pair(world, KEY, None, lists="a", mode=mode)
    one, other = hosts[asks], hosts[1 - asks]
    assert isinstance(one.outcome(one.connect(other)), ConnectResult)
    for host, to in ((one, other), (other, one)):
        assert peer_of(host, to).is_secured
        assert host.outcome(host.send(to, "hello")).delivered
    # The one with the key cannot know before it has asked that the other has none.
    assert len(requests(tap, one, other)) == (2 if asks == 0 else 1)
    assert not told(one)


@pytest.mark.parametrize("asks", [0, 1])
@pytest.mark.parametrize(("lists", "meet"), [("ab", True), ("a", False), ("b", False)])
def test_where_keys_differ_each_side_must_allow_the_other(
    world: World, lists: str, meet: bool, asks: int
) -> None:
    tap = Wiretap(world)
    hosts = pair(world, KEY, OTHER, lists=lists)
    one, other = hosts[asks], hosts[1 - asks]
    outcome = one.outcome(one.connect(other))
    world.run_for(20)
    assert isinstance(outcome, ConnectResult) is meet, outcome
    assert len(requests(tap, one, other)) <= 2
    if meet:
        assert one.outcome(one.send(other, "hello")).delivered
        assert other.received() == ["hello"]
    else:
        assert "another network key" in str(outcome)
        assert not list(one.endpoint.peers)
        assert not list(other.endpoint.peers)


@pytest.mark.parametrize("asks", [0, 1])
def test_who_has_the_key_needs_to_be_on_no_list(world: World, asks: int) -> None:
    tap = Wiretap(world)
    third = world.keys().identity.id
    hosts = [
        node(world, network_key=KEY, allowed_ids=frozenset({third})),
        node(world, network_key=KEY),
    ]
    one, other = hosts[asks], hosts[1 - asks]
    assert isinstance(one.outcome(one.connect(other)), ConnectResult)
    assert len(requests(tap, one, other)) == 1


def test_who_is_not_on_the_list_is_seen_after_its_answer_and_told_nothing(world: World) -> None:
    tap = Wiretap(world)
    friend = world.keys().identity.id
    one = node(world, network_key=KEY, allowed_ids=frozenset({friend}))
    other = node(world)
    outcome = one.outcome(one.connect(other))
    assert other.id in str(outcome)
    assert "network key" in str(outcome)
    assert len(requests(tap, one, other)) == 2
    # Who this node is goes inside message 3, which did not leave.
    assert not any(each.data[:1] == b"\xe1" for each in tap.seen)
    world.run_for(20)
    assert not list(one.endpoint.peers)


def test_the_second_request_is_the_last(world: World) -> None:
    """Whoever refuses again and again is asked twice."""
    tap = Wiretap(world)
    friend = world.keys().identity.id
    one = node(world, network_key=KEY, allowed_ids=frozenset({friend}))
    other = node(world, network_key=OTHER)
    for _ in range(2):
        outcome = one.outcome(one.connect(other))
        assert "another network key" in str(outcome) or "no network key" in str(outcome)
        world.run_for(5)
    assert len(requests(tap, one, other)) == 2, "its id is known by then, and is on no list"


def test_a_node_by_its_id_is_not_asked_without_the_key_unless_it_is_allowed(world: World) -> None:
    tap = Wiretap(world)
    friend = world.keys().identity.id
    one = node(world, network_key=KEY, allowed_ids=frozenset({friend}))
    other = node(world)
    token = one.endpoint._handshake.connect(other.address, world.now, 5.0, node_id=other.id)
    assert "no network key" in str(one.outcome(token))
    assert len(requests(tap, one, other)) == 1


@pytest.mark.parametrize("swap", [False, True])
@pytest.mark.parametrize("keys", [(KEY, None), (None, KEY), (KEY, OTHER)])
def test_allowed_ones_that_ask_each_other_at_once_meet(
    keys: tuple[Secret | None, Secret | None], swap: bool
) -> None:
    for seed in range(4):
        world = World(seed)
        hosts = pair(world, *keys, lists="ab")
        one, other = hosts[::-1] if swap else hosts
        meet_at_once(one, other)


@pytest.mark.parametrize("loss", [0.1, 0.3])
def test_the_second_request_survives_loss(loss: float) -> None:
    for seed, keys in itertools.product(range(6), [(KEY, None), (KEY, OTHER)]):
        world = World(seed, loss=loss, jitter_s=0.02)
        one, other = pair(world, *keys, lists="ab")
        assert isinstance(one.outcome(one.connect(other, timeout_s=30)), ConnectResult)
        assert one.outcome(one.send(other, "hello")).delivered


def test_a_session_by_the_key_survives_a_restart(world: World) -> None:
    one, other = pair(world, KEY, KEY)
    one.outcome(one.connect(other))
    world.run_for(1)
    seals = other.endpoint._state.seals
    world.remove(other)
    again = world.host(other.address, keys=seals.keys)
    token = one.send(again, "again")
    world.run_for(3)
    assert again.received() == ["again"]
    assert one.outcomes[token].delivered
    assert peer_of(one, again).is_secured


@pytest.mark.parametrize("keys", [(KEY, None), (None, KEY), (KEY, OTHER)])
def test_a_session_without_the_key_gets_new_keys_and_survives_a_restart(
    world: World, keys: tuple[Secret | None, Secret | None]
) -> None:
    one, other = pair(world, *keys, lists="ab")
    one.outcome(one.connect(other))
    before = peer_of(one, other).seal.session.current
    world.run_for(16 * 60)
    assert peer_of(one, other).seal.session.current is not before
    assert one.outcome(one.send(other, "hello")).delivered
    for host in (one, other):
        assert not host.endpoint.counters.drops["rekey_refused"]
    seals = other.endpoint._state.seals
    world.remove(other)
    again = world.host(other.address, keys=seals.keys)
    one.send(again, "again")
    world.run_for(3)
    assert "again" in again.received()
    assert peer_of(one, again).is_secured


def test_a_refusal_after_message_3_that_anybody_could_write_ends_nothing(world: World) -> None:
    """It must name what was inside message 2."""
    tap = Wiretap(world)
    one, other = pair(world, KEY, OTHER, lists="ab")

    def blind(seen: Any) -> bytes | None:
        return seen.data.replace(b'"refuses":"', b'"refuses":"00', 1)

    tap.rules.append(blind)
    token = one.connect(other)
    world.run_for(2)
    assert [peer.is_authenticated for peer in one.endpoint.peers] == [False]
    tap.rules.clear()
    assert isinstance(one.outcome(token), ConnectResult)


# Modes.


def test_require_without_a_key_or_a_list_is_for_any_secured_peer(world: World) -> None:
    strict = node(world, mode=Mode.REQUIRE)
    anybody = node(world)
    assert isinstance(anybody.outcome(anybody.connect(strict)), ConnectResult)


@pytest.mark.parametrize("asks", [0, 1])
@pytest.mark.parametrize("is_listed", [False, True])
def test_require_with_a_list_is_for_those_on_it(world: World, is_listed: bool, asks: int) -> None:
    hosts = pair(world, None, None, lists="a" if is_listed else "", mode=Mode.REQUIRE)
    if not is_listed:
        hosts[0] = node(world, mode=Mode.REQUIRE, allowed_ids=frozenset({world.node_id()}))
    one, other = hosts[asks], hosts[1 - asks]
    outcome = one.outcome(one.connect(other))
    world.run_for(5)
    if is_listed:
        assert isinstance(outcome, ConnectResult)
        assert peer_of(one, other).is_secured
        return
    assert not list(hosts[0].endpoint.peers)
    assert not list(hosts[1].endpoint.peers)
    words = told(hosts[0]) if asks == 1 else [str(outcome)]
    assert any("security.allowed_ids" in each for each in words), words


def test_a_list_without_a_key_keeps_nobody_out_in_prefer(world: World) -> None:
    one = node(world, allowed_ids=frozenset({world.node_id()}))
    other = node(world)
    assert isinstance(other.outcome(other.connect(one)), ConnectResult)


def test_require_refuses_who_speaks_in_the_open_and_says_so_on_both_sides(world: World) -> None:
    strict, plain = node(world, mode=Mode.REQUIRE), world.host()
    assert "security.mode" in str(plain.outcome(plain.connect(strict)))
    assert told(strict) == [RULES["open"].here]
    assert RULES["open"].here in str(strict.outcome(strict.connect(plain)))
    client = world.puppet()
    (answer,) = client.join(strict)
    assert answer["payload"]["error_message"] == RULES["open"].told


@pytest.mark.parametrize("mode", [Mode.OPEN, Mode.PREFER])
@pytest.mark.parametrize("key", [None, KEY])
def test_who_has_no_keys_at_all_is_served_and_shown_as_open(
    world: World, mode: Mode, key: Secret | None
) -> None:
    server, client = node(world, mode=mode, network_key=key), world.puppet()
    assert client.join(server)[0]["payload"]["success"]
    client.say("Data", "hello", server)
    world.run_for(1)
    assert server.received() == ["hello"]
    assert not any(peer.is_secured for peer in server.endpoint.peers)
    assert not told(server)


def test_a_flood_of_refused_requests_is_no_flood_of_lines(world: World) -> None:
    tap = Wiretap(world)
    strict, plain = node(world, mode=Mode.REQUIRE), world.host()
    plain.connect(strict)
    request = requests(tap, plain, strict)[0]
    world.run_for(3)
    before = len(strict.told(PeerRefused))
    for number in range(500):
        tap.inject(request, (f"198.18.0.{number % 250}", 1000 + number), strict)
    world.run_for(2)
    assert len(strict.told(PeerRefused)) - before <= 10
    assert strict.endpoint.counters.drops["refusal_untold"] > 400


@pytest.mark.parametrize("reason", [5, None, [], {}, "unheard of", "x" * 300])
def test_a_reason_of_any_form_does_no_harm(world: World, reason: Any) -> None:
    one = node(world, network_key=KEY, allowed_ids=frozenset({world.node_id()}))
    client = world.puppet()
    token = one.connect(client)
    world.run_for(0.1)
    request = next(each for each in client.take() if each["message_type"] == "HandshakeRequest")
    client.say(
        "HandshakeResponse",
        {"success": False, "error_message": "no", "reason": reason},
        one,
        ack_for=request["sequence_number"],
    )
    assert "no" in str(one.outcome(token))


@pytest.mark.parametrize("listed", [False, True])
@pytest.mark.parametrize("key", [None, KEY])
def test_who_is_not_on_the_list_never_has_a_session_for_a_moment(
    world: World, key: Secret | None, listed: bool
) -> None:
    """Whoever asks hears before its call has ended that it depends on who it is."""
    guest = node(world)
    allowed = frozenset({guest.id if listed else world.node_id()})
    server = node(world, network_key=key, allowed_ids=allowed, mode=Mode.REQUIRE)
    outcome = guest.outcome(guest.connect(server))
    assert isinstance(outcome, ConnectResult if listed else HandshakeError)
    if not listed:
        rule = "not_allowed" if key is None else "network_key_wanted"
        assert str(outcome).endswith(RULES[rule].there)
        assert told(server) == [RULES[rule].here]


# An ephemeral node, as of a command beside a running node: it comes by the id of its user.


def ephemeral(world: World, user: Any, **options: Any) -> Any:
    """Keys that last as long as a node runs, with a statement of whose they are."""
    keys = world.keys(**options)

    def stated(now_wall: float) -> bytes:
        return make_statement(user.identity, keys.identity.id, now_wall).to_bytes()

    return replace(keys, ephemeral=True, statement=stated if user else lambda _: b"")


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("asks", [0, 1])
def test_an_ephemeral_node_comes_by_its_users_id(world: World, mode: Mode, asks: int) -> None:
    user = world.keys()
    allowed = frozenset({user.identity.id})
    server = node(world, network_key=KEY, allowed_ids=allowed, mode=mode)
    command = world.host(keys=ephemeral(world, user))
    one, other = (command, server) if asks == 0 else (server, command)
    assert isinstance(one.outcome(one.connect(other)), ConnectResult)
    world.run_for(0.1)
    assert command.outcome(command.send(server, "hello")).delivered


@pytest.mark.parametrize("what", ["of somebody else", "about another", "expired", "cut", "lasting"])
def test_no_other_statement_lets_anybody_in(world: World, what: str) -> None:
    user, other = world.keys(), world.keys()
    server = node(world, network_key=KEY, allowed_ids=frozenset({user.identity.id}))
    keys = ephemeral(world, other if what == "of somebody else" else user)
    own_id = keys.identity.id if what != "about another" else other.identity.id

    def stated(now_wall: float) -> bytes:
        when = now_wall - 10 * STATEMENT_LIFE_S if what == "expired" else now_wall
        data = make_statement(user.identity, own_id, when).to_bytes()
        return data[:-1] if what == "cut" else data

    if what != "of somebody else":
        keys = replace(keys, statement=stated, ephemeral=what != "lasting")
    command = world.host(keys=keys)
    command.connect(server)
    world.run_for(5)
    assert not any(peer.is_authenticated for peer in server.endpoint.peers)
    assert not any(peer.is_authenticated for peer in command.endpoint.peers)


# By way of a server.


@pytest.mark.parametrize(("lists", "meet"), [("ab", True), ("", False)])
def test_two_networks_meet_by_way_of_a_server_where_they_allow_each_other(
    lists: str, meet: bool
) -> None:
    """The server is on no list of theirs: they are on its own, and it has no network key."""
    world = World(secured=True)
    keys = [world.keys(network_key=key) for key in (KEY, OTHER)]
    ids = [each.identity.id for each in keys]
    server_keys = world.keys()
    for place in range(2):
        others = {ids[1 - place]} if lists else set()
        allowed = frozenset({server_keys.identity.id, *others})
        keys[place] = replace(keys[place], allowed_ids=allowed)
        world._keys[ids[place]] = keys[place]
    world._keys[server_keys.identity.id] = server_keys
    server = relaying(world, node_id=server_keys.identity.id)
    one, other = (relayed(world, server, node_id=each) for each in ids)
    assert seen(one, server).is_secured
    outcome = one.outcome(ask(one, server, other))
    world.run_for(2)
    assert isinstance(outcome, ConnectResult) is meet, outcome
    if meet:
        assert seen(one, other).is_secured
        assert one.outcome(say(one, other, "hello")).delivered
