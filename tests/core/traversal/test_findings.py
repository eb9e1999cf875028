"""What a reading of direct paths found: sockets kept, claims bounded, words for people."""

from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from p2ptui.config import Config
from p2ptui.core.addresses import address_words, relay_address, socket_address
from p2ptui.core.aliases import MAX_ALIASES, MAX_CLAIMED_ALIASES
from p2ptui.core.peers import Dialect
from p2ptui.core.sessions.greetings import response_payloads
from p2ptui.core.traversal import check_round
from p2ptui.core.traversal.attempt import NatFacts
from p2ptui.core.traversal.candidates import MAX_OTHERS, MAX_PREDICTED, offered
from p2ptui.core.traversal.checks import build_check
from p2ptui.nat.allocation import AllocationKind, PortAllocation
from p2ptui.nat.behavior import NatType
from p2ptui.nat.feasibility import Side, Technique, planned_way, side_of
from p2ptui.wire.address import Address
from p2ptui.wire.offer import TraversalOffer
from tests.core.meeting import Meeting
from tests.core.traversal.test_security import Wire, joined, offer_by

STRICT, RANDOM = "port-restricted-cone", "symmetric, random"
UNPREDICTABLE = NatFacts(NatType.SYMMETRIC, allocation=PortAllocation(AllocationKind.RANDOM))
PREDICTABLE = NatFacts(NatType.SYMMETRIC, allocation=PortAllocation(AllocationKind.SEQUENTIAL, 1))


def unrelayed() -> Meeting:
    """Two that talk directly, the one from a further socket, and nobody relays."""
    meeting = Meeting(STRICT, RANDOM, server={"allow_symmetric_nat_relay": False})
    meeting.connect(15)
    meeting.world.run_for(3)
    assert "#" in meeting.peer(meeting.b).address[0]
    return meeting


# The socket at whose address a session lives.


def test_without_a_relay_a_few_silent_seconds_end_no_session() -> None:
    meeting = unrelayed()
    meeting.world.remove(meeting.server)  # nobody helps to find another path
    meeting.cut()
    meeting.say("into the dark", back=True)
    meeting.world.run_for(4)
    meeting.heal()
    meeting.world.run_for(2)

    assert meeting.b.outcome(meeting.say("again", back=True), 30).delivered
    assert meeting.a.outcome(meeting.say("and back"), 30).delivered


def test_a_new_search_of_the_other_side_leaves_the_socket_open() -> None:
    meeting = unrelayed()
    traversal = meeting.b.endpoint.traversal
    traversal._stop(meeting.attempt(meeting.b))
    meeting.b.settle()

    assert len(meeting.b.sockets) == 1
    assert meeting.b.outcome(meeting.say("still here", back=True), 30).delivered


def test_the_socket_is_closed_with_its_session() -> None:
    meeting = unrelayed()
    meeting.b.endpoint.traversal._stop(meeting.attempt(meeting.b))
    meeting.cut()
    meeting.world.remove(meeting.server)
    meeting.world.run_for(300)

    assert meeting.peer(meeting.b) is None
    assert meeting.b.sockets == {}


# Aliases.


def test_an_address_that_answers_takes_the_place_of_one_that_only_says_so() -> None:
    meeting = Meeting()
    meeting.cut()
    meeting.connect()
    meeting.world.run_for(0.2)
    paths, attempt = meeting.a.endpoint.traversal._paths, meeting.attempt(meeting.a)
    peers, drops = meeting.a.endpoint.peers, meeting.a.endpoint.counters.drops
    claimed = [("203.0.113.9", 1000 + number) for number in range(MAX_CLAIMED_ALIASES + 1)]
    for address in claimed:
        paths.expect_from(attempt, address, 0)
    assert peers.at(claimed[-1]) is None
    assert drops["aliases_full"] == 1

    real = [("198.51.100.2", 5000 + number) for number in range(MAX_ALIASES)]
    for address in real:
        paths.expect_from(attempt, address, 0, proved=True)

    assert all(peers.at(address) is meeting.peer(meeting.a) for address in real)
    assert all(peers.at(address) is None for address in claimed)
    assert len(meeting.aliases(meeting.a)) == MAX_ALIASES == meeting.a.endpoint.sizes()["aliases"]
    assert drops["aliases_full"] == 1 + MAX_CLAIMED_ALIASES

    paths.drop_aliases(attempt)
    assert peers.at(real[0]) is None
    assert not meeting.aliases(meeting.a)


# Offers that are read, however much is configured.


def test_an_offer_is_never_too_large_to_be_read() -> None:
    hosts = [(f"10.0.0.{n}", 1) for n in range(200)]
    seen = [("198.51.100.1", 1)]
    predicted = [("198.51.100.1", 2000 + n) for n in range(500)]
    candidates = offered(hosts, seen, predicted)

    kinds = [kind for kind, _ in candidates]
    assert kinds.count("predicted") == MAX_PREDICTED
    assert kinds.count("srflx") == 1
    assert len(kinds) == MAX_PREDICTED + MAX_OTHERS
    offer = TraversalOffer("abcd", "x" * 16, candidates=candidates)
    assert msgspec.convert(msgspec.to_builtins(offer), TraversalOffer) == offer


def test_no_more_sockets_are_opened_than_ports_are_told() -> None:
    config = Config().with_options(port_prediction={"max_predictions": 5000})
    count = check_round.sockets_needed(Technique.PREDICTED, Side.PREDICTABLE, config)
    assert count == (MAX_PREDICTED, MAX_PREDICTED)


# Checks that are forged or repeated.


def test_one_forged_check_costs_no_more_than_three_times_its_bytes() -> None:
    meeting = Meeting("open")
    puppet = joined(meeting)
    offer_by(puppet, meeting.a, meeting.server)
    meeting.world.run_for(0.1)
    a = meeting.a
    attempt = a.endpoint.traversal.offers.get(puppet.id)
    wire = Wire(meeting)
    data = build_check(b"1" * 12, attempt.remote, attempt.offer, nominate=False)
    victim = ("203.0.113.9", 53)

    for _ in range(20):
        a.endpoint.receive_datagram(data, victim, meeting.world.now)
        a.settle()
    meeting.world.run_for(20)

    sent = [raw for to, raw in wire.by(a) if to == victim]
    # Two copies are taken, so that is what came.
    assert sum(map(len, sent)) <= 3 * 2 * len(data)
    assert wire.checks_by(a)[victim] <= 3
    assert a.endpoint.counters.drops["check_repeated"] == 18


# Options that are the cause.


class Known:
    """An attempt of which only the facts matter."""

    def __init__(self, remote: NatFacts, *, number: int = 1, **offer: Any) -> None:
        self.remote_facts = remote
        self.server = SimpleNamespace(public_address=("198.51.100.1", 5000))
        self.observed: Address = ("198.51.100.2", 5000)
        self.offer = TraversalOffer("abcd", "x" * 16, round=number)
        self.remote = TraversalOffer("efgh", "x" * 16, round=number, **offer)

    def way(self, own: NatFacts) -> Technique:
        return planned_way(own.side, self.remote_facts.side)


CONE = NatFacts(NatType.PORT_RESTRICTED_CONE)


def test_two_behind_one_nat_without_hairpin_are_told_so() -> None:
    attempt = Known(CONE)
    attempt.observed = ("198.51.100.1", 6000)

    reason = check_round.why_relayed(attempt, CONE, Config())

    assert reason.startswith("both are behind one NAT at 198.51.100.1, which passes nothing")
    assert "a direct path should work" in check_round.why_relayed(Known(CONE), CONE, Config())


@pytest.mark.parametrize(
    ("own", "options", "name"),
    [
        (PREDICTABLE, {"port_prediction": {"enable": False}}, "port_prediction.enable"),
        (UNPREDICTABLE, {"ice": {"birthday_sockets": 0}}, "ice.birthday_sockets"),
    ],
)
def test_what_is_switched_off_is_not_tried_and_named(
    own: NatFacts, options: dict[str, Any], name: str
) -> None:
    config, attempt = Config().with_options(**options), Known(CONE)
    way = attempt.way(own)

    assert check_round.sockets_needed(way, own.side, config) == (0, 0)
    assert check_round.is_exhausted(attempt, way, own, config, limited=False)
    assert name in check_round.why_relayed(attempt, own, config)
    assert not check_round.is_exhausted(attempt, way, own, Config(), limited=False)
    assert name not in check_round.why_relayed(attempt, own, Config())


def test_what_is_switched_off_there_is_named_too() -> None:
    config = Config()
    assert "birthday_sockets" in check_round.why_relayed(Known(UNPREDICTABLE), CONE, config)
    assert "port_prediction" in check_round.why_relayed(Known(PREDICTABLE), CONE, config)
    met = Known(UNPREDICTABLE, sockets=256)
    assert "birthday_sockets" not in check_round.why_relayed(met, CONE, config)


def test_an_unknown_nat_is_planned_for_as_a_strict_one() -> None:
    unknown = side_of(NatType.UNKNOWN)
    assert unknown is Side.UNKNOWN
    assert planned_way(unknown, Side.UNPREDICTABLE) is Technique.BIRTHDAY
    assert planned_way(unknown, Side.PREDICTABLE) is Technique.PREDICTED
    assert planned_way(unknown, unknown) is Technique.PLAIN
    assert planned_way(unknown, Side.BLOCKED) is Technique.RELAY


def test_open_sockets_are_stale_only_if_something_was_predicted_of_them() -> None:
    meeting = Meeting()
    meeting.cut()
    meeting.connect()
    attempt = meeting.attempt(meeting.a)
    attempt.sockets, attempt.prepared_at = (1, 2), 0.0
    assert not check_round.is_stale(attempt, Config(), 1000.0)
    candidates = [*attempt.offer.candidates, ("predicted", "198.51.100.1:7")]
    attempt.offer = msgspec.structs.replace(attempt.offer, candidates=candidates)
    assert check_round.is_stale(attempt, Config(), 1000.0)


# The pace.


@pytest.mark.parametrize(
    ("latency_s", "adapts", "pause_s"),
    [(0.001, True, 0.02), (0.06, True, 0.12), (0.06, False, 0.05)],
)
def test_the_first_repeat_comes_after_a_round_trip(
    latency_s: float, adapts: bool, pause_s: float
) -> None:
    meeting = Meeting(options={"ice": {"adapt_pace": adapts}}, latency_s=latency_s)
    meeting.cut()
    meeting.connect()
    meeting.world.run_until(lambda: meeting.attempt(meeting.a).punching is not None, 5)
    assert meeting.attempt(meeting.a).punching._first_pause_s == pytest.approx(pause_s, rel=0.3)


# Words.


def test_a_relayed_node_is_not_told_an_address_that_means_nothing() -> None:
    meeting = Meeting()
    own, server = meeting.a.endpoint.identity, ("198.51.100.9", 8080)

    def told(address: tuple[str, int]) -> str | None:
        raw = next(response_payloads(own, Dialect.SPEC, address, None))
        return msgspec.json.decode(raw, type=dict)["public_addr"]  # type: ignore[no-any-return]

    assert told(relay_address(server, own.id)) is None
    assert told(socket_address(3, ("198.51.100.2", 7))) == "198.51.100.2:7"
    assert told(("198.51.100.2", 7)) == "198.51.100.2:7"


def test_a_relayed_handshake_that_fails_names_the_node_and_the_server() -> None:
    assert address_words(relay_address(("198.51.100.9", 8080), "some-id")) == (
        "node some-id by way of the server at 198.51.100.9:8080"
    )
    meeting = Meeting()
    token = meeting.ask(3.0)
    meeting.world.remove(meeting.b)
    words = str(meeting.a.outcome(token))
    assert words == (
        f"no answer from node {meeting.b.id} by way of the server at 198.51.100.9:8080"
    )
