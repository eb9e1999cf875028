"""Who copies frames while a session moves, and passes on challenges alone, has it not for long."""

from collections.abc import Callable

import pytest

from tests.core.secure.test_own_moves import BACK_S, is_here, move, tell_both
from tests.core.secure.test_secured_nodes import peer_of
from tests.core.secure.wiretap import Seen, Wiretap, two_secured
from tests.simulation import Host, World

SMALL = 60
"""No message is so short, nor an Ack; challenges and their answers are."""

WHO = pytest.mark.parametrize("who", [0, 1], ids=["who asked", "who answered"])


class Thief:
    """He sees all, and drops nothing: copies of what the victim sends come from his own address,
    and sooner. Of what is sent there he passes on what is small; of what the victim sends there,
    all."""

    def __init__(self, tap: Wiretap, victim: Host, other: Host) -> None:
        self.copies: Callable[[Seen], bool] = lambda _: False
        self.puppet = tap.world.puppet(("10.66.6.6", 666))
        self.dropped = 0
        self._tap, self._victim, self._other = tap, victim, other
        tap.rules.append(self._see)

    @property
    def has_it(self) -> bool:
        return peer_of(self._other, self._victim).sends_to == self.puppet.address

    def _see(self, seen: Seen) -> bytes:
        victim, other, own = self._victim, self._other, self.puppet.address
        if not seen.is_sealed:
            return seen.data
        if seen.source == victim.address:
            if seen.to == own or (seen.to == other.address and self.copies(seen)):
                self._tap.inject(seen.data, own, other)
        elif seen.to == own and len(seen.data) <= SMALL:
            self._tap.inject(seen.data, own, victim)
        elif seen.to == own:
            self.dropped += 1
        return seen.data


def robbed(who: int) -> tuple[World, Host, Host, Thief]:
    """Two nodes, of which one will move, and he."""
    world = World(secured=True)
    tap = Wiretap(world)
    hosts = two_secured(world)
    victim, other = hosts[who], hosts[1 - who]
    return world, victim, other, Thief(tap, victim, other)


def first(count: int) -> Callable[[Seen], bool]:
    left = [count]

    def copies(_seen: Seen) -> bool:
        left[0] -= 1
        return left[0] >= 0

    return copies


def small(seen: Seen) -> bool:
    return len(seen.data) <= SMALL


def every(_seen: Seen) -> bool:
    return True


@WHO
@pytest.mark.parametrize("speaks", ["victim", "other", "both"])
@pytest.mark.parametrize("copies", ["first", "small", "every"])
def test_what_is_said_comes_within_two_seconds_after_a_move(
    who: int, speaks: str, copies: str
) -> None:
    world, victim, other, thief = robbed(who)
    thief.copies = {"first": first(2), "small": small, "every": every}[copies]
    move(victim)
    world.run_for(0.5)
    began = world.now
    tokens = []
    for host, to in ((victim, other), (other, victim)):
        if speaks == "both" or host is (victim if speaks == "victim" else other):
            tokens.append((host, host.endpoint.send(peer_of(host, to), "hello", world.now)))
            host.settle()
    for host, token in tokens:
        assert host.outcome(token, within=BACK_S + 1).delivered
    assert world.now - began < BACK_S
    assert is_here(other, victim)


@WHO
@pytest.mark.parametrize("count", [1, 2, 3, 5, 1000])
def test_a_nat_that_changes_while_he_copies(who: int, count: int) -> None:
    world, victim, other, thief = robbed(who)
    thief.copies = first(count)
    world.move(victim)
    began = world.now
    for host, token in tell_both((victim, other), 1):
        assert host.outcome(token, within=BACK_S + 1).delivered
    assert world.now - began < BACK_S
    for number in range(2, 20):
        for host, token in tell_both((victim, other), number):
            assert host.outcome(token, within=1.0).delivered
        world.run_for(1)
        assert is_here(other, victim)
    assert victim.received() == other.received() == list(range(1, 20))


@WHO
@pytest.mark.parametrize("copies", [small, every])
def test_a_session_that_does_not_move_is_never_his(
    who: int, copies: Callable[[Seen], bool]
) -> None:
    """It was so before."""
    world, victim, other, thief = robbed(who)
    thief.copies = copies
    for number in range(60):
        tokens = tell_both((victim, other), number)
        world.run_for(0.3)
        assert not thief.has_it
        for host, token in tokens:
            assert host.outcome(token, within=0.1).delivered


@WHO
def test_a_path_that_fails_for_a_while_is_taken_up_again(who: int) -> None:
    world, victim, other, thief = robbed(who)
    thief.copies, is_broken = every, [True]
    tap = thief._tap
    to_victim = (other.address, victim.address)
    tap.rules.append(
        lambda seen: None if is_broken[0] and (seen.source, seen.to) == to_victim else seen.data
    )
    tell_both((victim, other), 1)
    world.run_for(1)
    assert thief.has_it, "there is no other way"
    is_broken[0] = False
    began = world.now
    for host, token in tell_both((victim, other), 2):
        assert host.outcome(token, within=BACK_S + 1).delivered
    assert world.now - began < BACK_S
    assert is_here(other, victim)


def test_copies_in_the_name_of_a_third_address_draw_no_more_than_they_pay_for() -> None:
    world, victim, other, thief = robbed(0)
    tap, third = thief._tap, ("10.9.9.9", 99)

    def rule(seen: Seen) -> bytes | None:
        if (seen.source, seen.to) == (other.address, victim.address):
            return None  # nothing is acknowledged
        return seen.data

    victim.outcome(victim.send(other, "hello"))
    tap.rules.append(rule)
    frames = [seen.data for seen in tap.between(victim, other) if seen.is_sealed][-2:]
    began = len(tap.seen)
    for frame in frames:
        tap.inject(frame, third, other)
    other.endpoint.send(peer_of(other, victim), "hello", world.now)
    other.settle()
    world.run_for(20)
    went = [seen.data for seen in tap.seen[began:] if seen.to == third]
    assert went, "it may be the peer"
    assert sum(map(len, went)) <= 3 * sum(map(len, frames))
    assert all(len(data) <= SMALL for data in went)


@WHO
def test_a_move_that_nobody_copies_costs_no_datagram_more(who: int) -> None:
    """It was so before."""
    world, victim, other, thief = robbed(who)
    tap = thief._tap
    former = victim.address
    move(victim)
    world.run_for(1)
    began = len(tap.seen)
    for number in range(10):
        for host, token in tell_both((victim, other), number):
            assert host.outcome(token, within=0.5).delivered
        world.run_for(1)
    assert not any(seen.to == former for seen in tap.seen[began:])
    assert not any(seen.is_sealed and len(seen.data) == 38 for seen in tap.seen[began:])
