"""What a search, a path and a call find where a table is full; and that it is counted."""

from typing import Any

import pytest

from p2ptui.core.events import ConnectResult, Path
from p2ptui.core.traversal.early_checks import MAX_EARLY, EarlyChecks
from p2ptui.core.traversal.offer_intake import MAX_UNASKED
from p2ptui.wire.address import Address
from p2ptui.wire.offer import MAX_CANDIDATES, MAX_PREDICTED
from tests.core.meeting import Meeting
from tests.core.traversal.test_security import joined, offer_by


def direct() -> Meeting:
    meeting = Meeting()
    meeting.connect()
    meeting.world.run_until(meeting.is_direct, 1)
    return meeting


def at(number: int) -> Address:
    return ("203.0.113.9", number)


# A path in use.


def test_no_search_takes_the_answers_of_a_path_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other searches send so many checks that every one is forgotten at once."""
    meeting = direct()
    monkeypatch.setattr("p2ptui.core.traversal.direct_paths.MAX_ASKED", 0)
    changes = len(meeting.paths(meeting.a))
    meeting.say("x")
    meeting.world.run_for(30)

    assert meeting.is_direct()
    assert len(meeting.paths(meeting.a)) == changes


def test_checks_that_a_round_forgets_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("p2ptui.core.traversal.direct_paths.MAX_ASKED", 0)
    meeting = Meeting()
    meeting.connect()
    meeting.world.run_for(1)

    assert meeting.a.endpoint.counters.drops["checks_forgotten"]


def test_a_silent_path_without_a_relay_remembers_few_checks() -> None:
    meeting = Meeting(
        server={"allow_symmetric_nat_relay": False}, options={"connection_timeout": 600.0}
    )
    meeting.connect()
    meeting.world.run_for(1)
    meeting.cut()
    meeting.say("x")
    meeting.world.run_for(300)
    paths = meeting.a.endpoint.traversal._paths

    assert len(paths._consents) <= 32
    meeting.a.endpoint.close("done", meeting.world.now)
    assert not paths._consents


# Calls.


def test_without_room_for_a_search_the_relay_serves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("p2ptui.core.traversal.offers.MAX_ATTEMPTS", 0)
    meeting = Meeting()

    assert isinstance(meeting.connect(), ConnectResult)
    assert meeting.peer(meeting.a).connection is None
    assert meeting.a.outcome(meeting.say("x")).delivered
    assert meeting.a.endpoint.counters.drops["searches_full"]
    assert all(change.path is Path.RELAY for change in meeting.paths(meeting.a))


def test_offers_that_find_no_room_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    assert MAX_UNASKED
    monkeypatch.setattr("p2ptui.core.traversal.offer_intake.MAX_UNASKED", 0)
    meeting = Meeting("open")
    puppet = joined(meeting)
    offer_by(puppet, meeting.a, meeting.server)
    meeting.world.run_for(1)

    assert meeting.a.endpoint.sizes()["traversals"] == 0
    assert meeting.a.endpoint.counters.drops["searches_full"] >= 1


# Checks that come early.


def take(early: EarlyChecks) -> dict[Address, tuple[Any, ...]]:
    return {source: rest for source, *rest in early.take()}


def test_every_predicted_socket_may_come_early() -> None:
    early = EarlyChecks()
    for number in range(MAX_PREDICTED):
        assert early.add(at(number), 0, 10, nominated=False)

    assert len(take(early)) == MAX_PREDICTED <= MAX_EARLY
    assert not len(early)


def test_what_comes_again_takes_no_further_place() -> None:
    early = EarlyChecks()
    for _ in range(3 * MAX_EARLY):
        assert early.add(at(1), 0, 10, nominated=False)
    early.add(at(1), 0, 10, nominated=True)

    assert take(early) == {at(1): [0, True, 10 * (3 * MAX_EARLY + 1)]}


def test_a_chosen_way_takes_the_place_of_one_that_was_not() -> None:
    early = EarlyChecks()
    for number in range(MAX_EARLY):
        early.add(at(number), 0, 10, nominated=False)

    assert not early.add(at(8000), 0, 10, nominated=False)
    assert not early.add(at(9000), 0, 10, nominated=True), "one is lost, and counted"
    kept = take(early)
    assert at(9000) in kept
    assert at(0) not in kept
    assert len(kept) == MAX_EARLY


def test_early_checks_without_room_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("p2ptui.core.traversal.early_checks.MAX_EARLY", 0)
    meeting = direct()
    attempt = meeting.attempt(meeting.a)
    exchange = meeting.a.endpoint.traversal.checks
    attempt.remote, attempt.punching = None, None
    monkeypatch.setattr(exchange, "_revive", lambda *_: None)
    meeting.world.run_for(6)

    assert meeting.a.endpoint.counters.drops["early_checks_full"]


def test_an_offer_holds_what_is_told() -> None:
    assert MAX_PREDICTED < MAX_CANDIDATES
