"""Orders: what one datagram makes a node send to a third address is little, until there is a sign.

A sign of the other side is what nobody can guess: an offer that names this side's fragment, or a
check that is made with its password.
"""

import math
from typing import Any

import pytest

from p2ptui.core import accounts
from p2ptui.core.accounts import AMPLIFICATION_LIMIT, DATAGRAMS_EACH, HOUR_S, Reason
from p2ptui.core.counters import Counters
from p2ptui.core.events import ConnectResult, NatFactsWanted, PathChanged, SocketsWanted
from p2ptui.core.gate import Gate
from p2ptui.core.hours import MAX_HOSTS_IN_HOUR
from p2ptui.wire.codec import decode_payload, encode_payload
from p2ptui.wire.message import P2PConnectPayload
from p2ptui.wire.offer import TraversalOffer
from tests.attacks.attacker import Attacker, Ledger, Traffic
from tests.core.meeting import OUTSIDE_A, OUTSIDE_B, SERVER, Meeting
from tests.core.reference_server import ReferenceServer
from tests.simulation import Host, World

VICTIM = "203.0.113.5"
STRICT = "port-restricted-cone"
OURS = ["handshake", "routing", "relay_frames"]

HARMLESS = {SERVER[0], "192.168.1.2", "192.168.2.2", OUTSIDE_A, OUTSIDE_B}


class Watch:
    """What a node sends to hosts that have nothing to do with it, and what ordered that."""

    def __init__(self, meeting: Meeting, node: Host) -> None:
        self.meeting = meeting
        self.node = node
        self.ledger = Ledger(node)
        self.pen = Attacker(meeting.world).in_the_name_of(SERVER)
        self.orders = 0
        self.size = 0

    def order(self, kind: str, payload: Any) -> None:
        """Forge one message of the server that the node has joined."""
        message = self.pen.spec_message(kind, payload)
        # Past the NAT: its outside address is known to whoever forges the server's.
        self.size += self._bring(message)
        self.orders += 1

    def _bring(self, message: dict[str, Any]) -> int:
        data = encode_payload(message)
        self.node.endpoint.receive_datagram(bytes(data), SERVER, self.meeting.world.now)
        self.node.settle()
        return len(bytes(data))

    @property
    def third(self) -> Traffic:
        """What went to others than those that the node knows."""
        total = Traffic()
        for host, account in self.ledger._accounts.items():
            if host not in HARMLESS:
                total.datagrams += account.went.datagrams
                total.size += account.went.size
        return total

    def assert_little(self) -> None:
        assert self.third.datagrams <= DATAGRAMS_EACH * self.orders
        assert self.third.size <= AMPLIFICATION_LIMIT * self.size


def named(meeting: Meeting, node_id: str, port: int = 6000, **more: Any) -> dict[str, Any]:
    return {
        "peer_id": node_id,
        "peer_addr": f"{VICTIM}:{port}",
        "peer_capabilities": OURS,
    } | more


def offer(name: str = "abcdef", **more: Any) -> dict[str, Any]:
    return {
        "ufrag": name,
        "password": "p" * 20,
        "nat_type": "symmetric",
        "allocation": "random",
    } | (more)


CANDIDATES = {
    "none": [],
    "many ports": [["predicted", f"{VICTIM}:{port}"] for port in range(7000, 7064)],
    "its ports": [["srflx", f"{VICTIM}:{port}"] for port in range(7000, 7015)],
    "a whole LAN": [["host", f"10.9.8.{n}:53"] for n in range(1, 16)],
    "strangers": [["host", f"[2606:4700::{n}]:53"] for n in range(1, 16)],
}


@pytest.mark.parametrize("kind", [STRICT, "symmetric, random", "full-cone", "symmetric, step 1"])
@pytest.mark.parametrize("candidates", CANDIDATES)
@pytest.mark.parametrize(
    "sizes",
    [
        {},
        {"nat_type": "unknown", "allocation": "unknown"},
        {"round": 1, "sockets": 256},
        {"round": 11, "sockets": 1024, "flows": 1_000_000},
        {"answer": True, "sockets": 256},
    ],
    ids=["round 0", "unknown", "round 1", "round 11", "answer"],
)
def test_one_forged_offer_is_worth_three_checks(
    kind: str, candidates: str, sizes: dict[str, Any]
) -> None:
    """It was 1,390 datagrams, and 175 times the bytes. In the name of a node that the server knows:
    of any other one the answer to the offer comes back, and the search is over."""
    meeting = Meeting(kind)
    watch = Watch(meeting, meeting.a)
    told = offer(candidates=CANDIDATES[candidates], **sizes)

    watch.order("P2PConnect", named(meeting, meeting.b.id, peer_offer=told))
    meeting.world.run_for(65)

    watch.assert_little()
    assert not meeting.a.told(SocketsWanted)
    assert not meeting.a.told(NatFactsWanted), "nor is any STUN server asked"


def test_a_row_of_forged_rounds_is_worth_three_checks_each() -> None:
    meeting = Meeting("full-cone")
    watch = Watch(meeting, meeting.a)
    node_id = meeting.b.id
    for number in range(12):
        told = offer(round=number, sockets=256)
        watch.order("P2PConnect", named(meeting, node_id, peer_offer=told))
        meeting.world.run_for(0.8)
    meeting.world.run_for(60)

    watch.assert_little()
    assert not meeting.a.told(SocketsWanted)
    assert not meeting.a.told(NatFactsWanted), "nor is any STUN server asked"


@pytest.mark.parametrize("is_mute", [False, True], ids=["server answers", "server mute"])
def test_a_crowd_of_forged_searches_is_worth_three_checks_each(is_mute: bool) -> None:
    meeting = Meeting("full-cone")
    watch = Watch(meeting, meeting.a)
    if is_mute:  # as for nodes that it knows, so that nothing ends the searches
        meeting.world.network.set_link(SERVER[0], OUTSIDE_A, loss=1.0)
    for number in range(300):
        told = offer(f"ufrag{number}", round=number % 2, sockets=256)
        about = named(meeting, meeting.world.node_id(), 1024 + number, peer_offer=told)
        watch.order("P2PConnect", about)
        meeting.world.run_for(0.02)
    assert len(meeting.a.endpoint.traversal) <= 250, "there is room for who is honest"
    meeting.world.run_for(10)
    assert len(meeting.a.endpoint.traversal) == 0, "what shows nothing leaves nothing behind"
    meeting.world.run_for(60)

    watch.assert_little()


@pytest.mark.parametrize("answer", [True, False], ids=["answers", "offers"])
@pytest.mark.parametrize("turned", [False, True])
def test_a_forged_answer_to_this_nodes_own_search_is_worth_three_checks(
    turned: bool, answer: bool
) -> None:
    """Whoever knows, or guesses, who is asked for just now: and the true answer still counts."""
    meeting = Meeting()
    if turned:
        meeting.a, meeting.b = meeting.b, meeting.a
    watch = Watch(meeting, meeting.a)
    meeting.ask()
    for number in range(8):
        told = offer(f"ufrag{number}", answer=answer, sockets=256)
        watch.order("P2PConnect", named(meeting, meeting.b.id, peer_offer=told))
    meeting.world.run_until(meeting.is_direct, 5)
    meeting.world.run_for(60)

    watch.assert_little()
    assert meeting.is_direct()


def test_an_introduction_does_not_turn_a_search_aside() -> None:
    """Another address, named in the server's name in the middle of the rounds, is not tried."""
    meeting = Meeting(STRICT, "symmetric, random")
    watch = Watch(meeting, meeting.a)
    meeting.ask()
    for _ in range(100):
        watch.order("P2PConnect", named(meeting, meeting.b.id))
        meeting.world.run_for(0.1)

    watch.assert_little()
    assert meeting.is_direct()


@pytest.mark.parametrize("kind", [STRICT, "symmetric, random"])
def test_a_forged_offer_ends_no_path(kind: str) -> None:
    meeting = Meeting(STRICT, kind)
    meeting.connect()
    meeting.world.run_until(meeting.is_direct, 10)
    watch = Watch(meeting, meeting.a)
    changes = len(meeting.a.told(PathChanged))
    for number in range(60):
        told = offer(f"ufrag{number}", round=number % 3, sockets=256)
        watch.order("P2PConnect", named(meeting, meeting.b.id, peer_offer=told))
        meeting.world.run_for(0.5)

    assert meeting.is_direct()
    assert len(meeting.a.told(PathChanged)) == changes
    assert watch.third.datagrams == 0


@pytest.mark.parametrize("ports", [[], list(range(20_000, 20_016))], ids=["one port", "more"])
def test_a_forged_introduction_is_worth_three_pings(ports: list[int]) -> None:
    """It was seven, and four times the bytes."""
    meeting = Meeting("full-cone")
    watch = Watch(meeting, meeting.a)
    for number in range(200):
        about = {"peer_id": meeting.world.node_id(), "peer_addr": f"{VICTIM}:{1000 + number}"}
        if ports:
            about["peer_predicted_ports"] = ports  # type: ignore[assignment]
        watch.order("P2PConnect", about)
        meeting.world.run_for(0.01)
    meeting.world.run_for(5)

    assert watch.third.datagrams, "its NAT is opened, as far as that goes"
    watch.assert_little()


def test_a_forged_list_is_no_order() -> None:
    """Guards what held: a list tells, and nobody goes where it points."""
    meeting = Meeting("full-cone")
    watch = Watch(meeting, meeting.a)
    for number in range(50):
        entry = {
            "id": meeting.world.node_id(),
            "addr": f"{VICTIM}:{1000 + number}",
            "last_seen": 1,
            "capabilities": OURS,
        }
        watch.order("DiscoveryResponse", [entry])
        watch.order("DiscoveryUpdate", {"joined": [entry], "left": []})
    meeting.world.run_for(130)

    assert watch.third.datagrams == 0


def test_a_forged_order_for_a_probe_is_worth_one_short_datagram() -> None:
    """Guards what held."""
    meeting = Meeting("full-cone")
    watch = Watch(meeting, meeting.a)
    for number in range(100):
        watch.order("NatProbe", {"tag": f"{number:024x}", "address": f"{VICTIM}:{1000 + number}"})
    meeting.world.run_for(2)

    assert 0 < watch.third.datagrams <= 100
    assert watch.third.size <= 20 * watch.third.datagrams


@pytest.mark.parametrize("rate", [60, 200])
@pytest.mark.parametrize("is_known", [False, True], ids=["anybody", "who is to be met"])
def test_forged_offers_stop_no_true_ones(rate: int, is_known: bool) -> None:
    """Twenty a second were all that others together could begin, and three in six seconds all that
    one could."""
    meeting = Meeting()
    watch = Watch(meeting, meeting.b)
    number = 0

    def forge() -> None:
        nonlocal number
        number += 1
        node_id = meeting.world.node_id()
        if is_known and number % 10 == 0:
            node_id = meeting.a.id
        about = named(meeting, node_id, 1024 + number, peer_offer=offer(f"ufrag{number}"))
        about["peer_addr"] = f"203.0.113.{number % 250}:{1024 + number}"
        watch.order("P2PConnect", about)
        meeting.world.run_for(1 / rate)

    while number < 10 * rate:
        forge()
    began = meeting.world.now
    meeting.ask()
    while not meeting.is_direct() and meeting.world.now < began + 10:
        forge()

    assert meeting.is_direct()
    assert meeting.world.now - began <= 1
    assert meeting.b.endpoint.counters.drops["offer_refused"]
    watch.assert_little()


def test_a_forged_introduction_by_a_deployed_server_is_worth_the_users_own_requests() -> None:
    """Guards what remains: such a server shows nothing, and its users must get in. One call makes
    so many requests, whatever is forged, to one address; without a call there is none."""
    world = World()
    server, node = ReferenceServer(world), world.host()
    node.outcome(node.connect(server))
    world.run_for(1)
    ledger = Ledger(node)
    pen = Attacker(world).in_the_name_of(server.address)
    wanted = world.node_id()
    about = {"peer_id": wanted, "peer_addr": f"{VICTIM}:5000", "peer_capabilities": OURS}
    via = node.peer(server)  # type: ignore[arg-type]
    assert via is not None
    token = node.endpoint.introduce(via, wanted, world.now, 10.0)
    node.settle()
    for number in range(50):
        told = about | {"peer_addr": f"{VICTIM}:{5000 + number}"}
        pen.send(pen.message("P2PConnect", told), node)
        world.run_for(0.2)
    node.outcome(token, 20)
    world.run_for(30)

    kinds = ledger.of(VICTIM).went.kinds
    assert 0 < kinds["HandshakeRequest"] <= 22
    assert kinds["Ping"] <= 3 * 50
    assert set(kinds) <= {"HandshakeRequest", "Ping"}


# With a sign.


@pytest.mark.parametrize("kind", [STRICT, "symmetric, random", "symmetric, step 1", "firewall"])
def test_who_names_the_fragment_is_searched_as_planned(kind: str) -> None:
    meeting = Meeting(STRICT, kind)
    meeting.predicts_well(meeting.b)

    assert isinstance(meeting.connect(), ConnectResult)
    meeting.world.run_until(meeting.is_direct, 12)


def test_the_name_comes_through_a_server_that_does_not_know_it() -> None:
    """It hands on what it has read: fields that it does not know are gone, candidates are not."""
    told = TraversalOffer("abcdef", "p" * 20, [("host", "192.168.1.2:5000")]).naming("fedcba")
    raw = encode_payload(P2PConnectPayload("x", peer_offer=told))

    read = decode_payload(raw, P2PConnectPayload)

    assert read.peer_offer is not None
    assert read.peer_offer.names == "fedcba"


def grow_old(host: Host) -> None:
    """From now on a node names nobody's fragment, as those before this version."""
    offers = host.endpoint.traversal.offers
    send = offers._send

    def nameless(attempt: Any, offer: TraversalOffer, now: float) -> bool:
        told = [each for each in offer.candidates if each[0] != "named"]
        plain = TraversalOffer(
            offer.ufrag, offer.password, told, offer.nat_type, offer.allocation, offer.answer
        )
        return send(attempt, plain, now)

    offers._send = nameless  # type: ignore[method-assign]


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("kinds", [(STRICT, STRICT), ("full-cone", "symmetric, random")])
def test_a_node_that_names_nothing_is_met_plainly(kinds: tuple[str, str], turned: bool) -> None:
    meeting = Meeting(*kinds)
    grow_old(meeting.b)
    if turned:
        meeting.a, meeting.b = meeting.b, meeting.a

    assert isinstance(meeting.connect(), ConnectResult)
    meeting.world.run_until(meeting.is_direct, 5)


def test_a_check_with_the_password_is_a_sign(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the confirmation is lost: the first check that comes through releases the round."""
    monkeypatch.setattr("p2ptui.core.traversal.offers.CONFIRMATIONS", 0)
    meeting = Meeting()
    meeting.connect()
    meeting.world.run_until(meeting.is_direct, 2)

    attempt = meeting.attempt(meeting.b)
    assert attempt is not None
    assert attempt.is_signed


# The hour.


def spend(gate: Gate, host: str, now: float) -> int:
    """How much one host is sent at once."""
    grant = gate.grant(Reason.OWN_SEARCH, (host, 1), now)
    sent = 0
    while grant.pay(5, now):
        sent += 1
    return sent


def test_a_host_is_sent_so_much_in_an_hour_over_all_searches(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bound = accounts.Bound(9000, 200, 10.0, of_host=True, hourly=500)
    bounds = accounts.BOUNDS | {Reason.OWN_SEARCH: bound}
    monkeypatch.setattr("p2ptui.core.gate.BOUNDS", bounds)
    monkeypatch.setattr("p2ptui.core.gate.bound_of_search", lambda *_: bound)
    counters = Counters()
    gate = Gate(counters)

    assert [spend(gate, VICTIM, 11.0 * n) for n in range(4)] == [200, 200, 100, 0]
    assert counters.drops["hour_spent"]
    assert spend(gate, "203.0.113.6", 50.0) == 200, "another host has its own"
    assert spend(gate, VICTIM, HOUR_S + 1) == 200


def test_hosts_for_which_there_is_no_room_share_an_hour(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("p2ptui.core.hours.MAX_HOSTS_IN_HOUR", 2)
    gate = Gate(Counters())
    hours = [gate.grant(Reason.OWN_SEARCH, (f"192.0.2.{n}", 1), 1.0).hour for n in range(5)]

    assert len({id(hour) for hour in hours}) == 3
    assert hours[2] is hours[3] is hours[4]
    later = gate.grant(Reason.OWN_SEARCH, ("192.0.2.9", 1), HOUR_S + 2).hour
    assert later is not hours[4]
    assert MAX_HOSTS_IN_HOUR > 2


def test_who_fills_the_hours_takes_nobody_elses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("p2ptui.core.hours.MAX_HOSTS_IN_HOUR", 100)
    gate = Gate(Counters())
    filler = [gate.grant(Reason.OWN_SEARCH, (f"192.0.2.{n}", 1), 1.0).hour for n in range(200)]
    others = [gate.grant(Reason.OWN_SEARCH, (f"198.51.{n}.1", 1), 1.0).hour for n in range(20)]

    assert len({id(hour) for hour in filler}) == 76, "three quarters of the table, and one for more"
    assert len({id(hour) for hour in others}) == 20, "each of the others has its own"
    assert not {id(hour) for hour in filler} & {id(hour) for hour in others}


def test_an_order_pays_once_and_only_while_it_is_handled() -> None:
    gate = Gate(Counters())
    gate.note_arrival(None, ("192.0.2.1", 1), 100)
    order = gate.order(Reason.OWN_SEARCH, (VICTIM, 1))
    again = gate.order(Reason.OWN_SEARCH, (VICTIM, 1))
    gate.settle()
    late = gate.order(Reason.OWN_SEARCH, (VICTIM, 1))

    assert (order.size, order.datagrams) == (300, 3)
    assert (again.size, late.size) == (0, 0)
    assert order.covers((VICTIM, 9))
    assert not order.covers(("192.0.2.1", 1))
    assert order.expires < math.inf


def test_the_world_is_quiet_without_orders() -> None:
    """Guards the watch itself."""
    world = World()
    node = world.host()
    ledger = Ledger(node)
    world.run_for(5)

    assert ledger.of(VICTIM).went.datagrams == 0


@pytest.mark.parametrize("ports", [0, 4])
@pytest.mark.parametrize("rounds", [1, 3])
def test_an_asker_that_proved_nothing_pays_for_what_others_send_it(ports: int, rounds: int) -> None:
    """Twenty nodes that are told of it sent it eleven times the bytes of its requests."""
    world = World()
    server = world.host()
    nodes = [world.host() for _ in range(20)]
    for node in nodes:
        node.outcome(node.connect(server))
    world.run_for(3)
    pen = Attacker(world).in_the_name_of((VICTIM, 5000))
    ledgers = [Ledger(node) for node in (server, *nodes)]
    request = pen.handshake_request()
    del request["sender_addr"]
    pen.send(request, server)
    world.run_for(0.6)
    for _ in range(rounds):
        for node in nodes:
            payload: dict[str, Any] = {"peer_id": node.id}
            if ports:
                payload["predicted_ports"] = list(range(1, ports + 1))
            pen.send(pen.spec_message("P2PConnect", payload), server)
            world.run_for(0.02)
        world.run_for(11)
    world.run_for(20)
    came = ledgers[0].of(VICTIM).came.size
    assert sum(ledger.of(VICTIM).went.size for ledger in ledgers) <= AMPLIFICATION_LIMIT * came


def test_once_the_asker_has_proved_its_address_the_other_is_told() -> None:
    world = World()
    server, node = world.host(), world.host()
    node.outcome(node.connect(server))
    client = world.puppet()
    client.join(server)
    for _ in range(20):  # its purse is empty
        client.say("ListNodesRequest", {}, server)
        client.say("P2PConnect", {"peer_id": node.id}, server)
        world.run_for(0.1)
    server.ping(client)
    world.run_for(2)
    peer = server.peer(client)
    assert peer is not None
    assert peer.proved
    assert client.id in {each.node_id for each in node.endpoint.introductions}
