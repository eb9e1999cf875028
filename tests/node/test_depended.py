"""Who is spared by the test of what is let in."""

import asyncio

import pytest

from p2ptui.io.stun_client import Schedule, StunAnswer, Transaction
from p2ptui.nat.behavior import Change
from p2ptui.node.depended import Dependencies, plain_host, plan_filtering, spared_lines
from p2ptui.node.stun_servers import Contact, KnownServer
from p2ptui.node.whom_to_spare import why_spared
from p2ptui.wire.address import Address
from p2ptui.wire.stun import MessageClass, StunMessage

ONE, TWO, THREE = ("203.0.113.1", 3478), ("203.0.113.2", 3479), ("203.0.113.3", 3478)
CLIENT = ("198.51.100.1", 5000)


def server(address: Address, other: Address | None = None, text: str = "") -> KnownServer:
    """One that has answered."""
    request = StunMessage(message_class=MessageClass.REQUEST, transaction_id=b"twelve bytes")
    answer = StunMessage(
        message_class=MessageClass.SUCCESS,
        transaction_id=b"twelve bytes",
        xor_mapped=CLIENT,
        other_address=other,
    )
    known = KnownServer(text or f"{address[0]}:{address[1]}", address)
    transaction = Transaction(address, request, Schedule((0.0,), 1.0), done=asyncio.Event())
    transaction.answer = StunAnswer(answer, address, 0.02, 0)
    known.contacts.append(Contact(None, transaction))  # type: ignore[arg-type]
    return known


BOTH = [Change.ADDRESS_AND_PORT, Change.PORT]


def test_where_nobody_is_depended_on_everybody_is_asked() -> None:
    one = server(ONE, TWO)
    plan = plan_filtering([one], one, [one], Dependencies())
    assert [change for _, change in plan.questions] == BOTH
    assert plan.spared == ()


@pytest.mark.parametrize("used", ["203.0.113.1", "203.0.113.2", "::ffff:203.0.113.1"])
def test_a_server_is_spared_by_each_of_its_addresses(used: str) -> None:
    one, third = server(ONE, TWO), server(THREE, ("203.0.113.4", 3479))
    plan = plan_filtering([one, third], one, [one, third], Dependencies.on([used]))
    assert {asked for asked, _ in plan.questions} == {third}
    assert plan.spared == (one,)
    assert "ask with --filter-with 203.0.113.1:3478" in spared_lines(plan.spared)[0]


def test_a_name_is_all_its_addresses() -> None:
    by_v4 = server(ONE, TWO, "stun.example:3478")
    by_v6 = server(("2001:db8::1", 3478), ("2001:db8::2", 3479), "stun.example:3478")
    plan = plan_filtering([by_v6], by_v6, [by_v4, by_v6], Dependencies.on(["203.0.113.1"]))
    assert plan.questions == ()


def test_who_would_reply_must_be_known_where_somebody_is_depended_on() -> None:
    one = server(ONE)
    plan = plan_filtering([], one, [one], Dependencies.on(["9.9.9.9"]))
    assert plan.questions == ((one, Change.PORT),)
    plan = plan_filtering([], one, [one], Dependencies.on(["203.0.113.1"]))
    assert (plan.questions, plan.spared) == ((), (one,))


def test_who_is_named_is_asked() -> None:
    one = server(ONE, TWO)
    plan = plan_filtering([one], one, [one], Dependencies.on(["203.0.113.1"], ["203.0.113.1"]))
    assert [change for _, change in plan.questions] == BOTH
    plan = plan_filtering([one], one, [one], Dependencies.on(["203.0.113.1"], ["9.9.9.9"]))
    assert plan.questions == ()


def test_hosts_are_compared_in_one_form() -> None:
    assert plain_host("::ffff:192.0.2.1") == "192.0.2.1"
    assert plain_host("fe80::1%eth0") == "fe80::1"
    assert plain_host("2001:DB8::0001") == "2001:db8::1"
    assert plain_host("stun.example") == "stun.example"


SERVER, HELPER = ("9.9.9.9", 8080), ("8.8.8.8", 8080)


@pytest.mark.parametrize(
    ("helper", "hosts", "named", "is_spared"),
    [
        (HELPER, [], [], False),
        (None, [], [], False),
        (HELPER, ["9.9.9.9"], [], False),
        (HELPER, ["9.9.9.9", "8.8.8.8"], [], True),
        (("9.9.9.9", 7777), ["9.9.9.9"], [], True),
        (None, ["9.9.9.9"], [], True),
        (("127.0.0.1", 8080), ["9.9.9.9"], [], True),
        (("192.168.1.5", 8080), ["9.9.9.9"], [], True),
        (("192.168.1.5", 8080), ["9.9.9.9"], ["9.9.9.9"], False),
        (HELPER, ["9.9.9.9", "8.8.8.8"], ["9.9.9.9"], False),
    ],
)
def test_a_helper_sends_unless_somebody_would_miss_it(
    helper: Address | None, hosts: list[str], named: list[str], is_spared: bool
) -> None:
    reason = why_spared(helper, SERVER, Dependencies.on(hosts, named))
    assert (reason is not None) is is_spared
    if reason is not None:
        assert reason.endswith("; ask with --filter-with 9.9.9.9:8080")
