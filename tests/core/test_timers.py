"""The heap of planned actions, against a plain list, and its corners."""

from collections.abc import Callable

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule

from p2ptui.core.timers import DUE_S, LOOK, NEVER, Timer, Timers


class TimersAgainstAList(RuleBasedStateMachine):
    """The model: a list of (time, order, name) of what is still planned."""

    handles = Bundle("handles")

    def __init__(self) -> None:
        super().__init__()
        self.timers = Timers()
        self.planned: list[tuple[float, int]] = []
        self.ran: list[int] = []
        self.now = 0.0
        self.order = 0
        self.at: dict[int, Timer] = {}
        self.victims: dict[int, tuple[int, ...]] = {}

    def plan(self, when: float, victims: tuple[int, ...] = (), again: float | None = None) -> int:
        name = self.order = self.order + 1

        def action(now: float) -> None:
            assert now == self.now
            self.ran.append(name)
            for victim in victims:
                self.at[victim].cancel()
            if again is not None:
                self.plan(now + again)

        self.at[name] = self.timers.schedule(when, action)
        self.planned.append((when, name))
        self.victims[name] = victims
        return name

    @rule(target=handles, delay=st.integers(-2, 6))
    def schedule(self, delay: int) -> int:
        return self.plan(self.now + delay)

    @rule(target=handles, delay=st.integers(0, 4), victims=st.lists(handles, max_size=3))
    def schedule_one_that_cancels(self, delay: int, victims: list[int]) -> int:
        return self.plan(self.now + delay, tuple(victims))

    @rule(target=handles, delay=st.integers(0, 4), again=st.integers(-1, 3))
    def schedule_one_that_plans_another(self, delay: int, again: int) -> int:
        return self.plan(self.now + delay, (), again)

    @rule(handle=handles)
    def cancel(self, handle: int) -> None:
        self.at[handle].cancel()
        self.planned = [entry for entry in self.planned if entry[1] != handle]

    @rule(step=st.integers(0, 3), clock=st.sampled_from([None, lambda: 0.0]))
    def run(self, step: int, clock: Callable[[], float] | None) -> None:
        self.now += step
        due = sorted(entry for entry in self.planned if entry[0] <= self.now)
        self.planned = [entry for entry in self.planned if entry[0] > self.now]
        expected: list[int] = []
        taken_back: set[int] = set()
        for _, name in due:
            if name not in taken_back:
                expected.append(name)
                taken_back.update(self.victims[name])
        self.ran = []
        self.timers.run(self.now, clock)
        assert self.ran == expected
        self.planned = [entry for entry in self.planned if entry[1] not in taken_back]

    @invariant()
    def both_agree(self) -> None:
        assert len(self.timers) == len(self.planned)
        assert self.timers.next_timeout() == min((when for when, _ in self.planned), default=None)


TestTimersAgainstAList = TimersAgainstAList.TestCase


def test_what_is_due_at_the_same_time_runs_in_the_order_in_which_it_was_planned() -> None:
    timers, ran = Timers(), []
    for name in range(100):
        timers.schedule(1.0, lambda _, name=name: ran.append(name))
    timers.run(1.0)
    assert ran == list(range(100))


class Clock:
    """One that each action moves on."""

    def __init__(self, step_s: float) -> None:
        self.now, self.step_s = 0.0, step_s

    def __call__(self) -> float:
        return self.now

    def pass_by(self) -> None:
        self.now += self.step_s


@pytest.mark.parametrize(
    ("step_s", "each"),
    [(0.0, 100), (DUE_S / 1000, 100), (DUE_S / 31.5, 32), (DUE_S / 10, 16), (1.0, LOOK)],
)
def test_what_is_due_is_run_for_a_while_and_the_rest_is_due_still(step_s, each) -> None:
    timers, ran, clock = Timers(), [], Clock(step_s)

    def note(name: int, _now: float) -> None:
        ran.append(name)
        clock.pass_by()

    for name in range(100):
        timers.schedule_about(1.0 + name % 2, note, name)
    rounds = 0
    while timers.next_timeout() is not None:
        assert timers.next_timeout() <= 2.0
        timers.run(2.0, clock)
        rounds += 1
        assert len(ran) == min(each * rounds, 100)
    assert ran == [*range(0, 100, 2), *range(1, 100, 2)]


def test_what_plans_itself_anew_at_once_has_one_turn_though_time_is_left() -> None:
    timers, ran, clock = Timers(), list[int](), Clock(0.0)

    def again(name: int, now: float) -> None:
        ran.append(name)
        for when in (now, now - 0.5):
            timers.schedule_about(when, again, name + 100)

    for name in range(3 * LOOK):
        timers.schedule_about(1.0, again, name)
    timers.run(2.0, clock)
    assert ran == [*range(3 * LOOK)]
    assert (len(timers), timers.next_timeout()) == (6 * LOOK, 1.5)


def test_what_was_planned_meanwhile_can_be_taken_back_at_once_or_later() -> None:
    timers, ran, planned = Timers(), [], []

    def plan(now: float) -> None:
        planned.extend(timers.schedule(now, ran.append) for _ in range(3))
        planned[0].cancel()

    timers.schedule(1.0, plan)
    timers.run(1.0)
    assert len(timers) == 2
    planned[1].cancel()
    assert len(timers) == 1
    timers.run(1.0)
    assert (ran, len(timers), timers.next_timeout()) == ([1.0], 0, None)


def test_what_an_action_plans_for_now_waits_for_the_next_call() -> None:
    timers, ran = Timers(), []

    def repeat(now: float) -> None:
        ran.append(now)
        timers.schedule(now - 1, repeat)

    timers.schedule(1.0, repeat)
    timers.run(1.0)
    assert ran == [1.0]
    assert timers.next_timeout() == 0.0
    timers.run(1.0)
    assert ran == [1.0, 1.0]


def test_an_action_may_cancel_all_the_others_of_its_round_and_the_count_stays_right() -> None:
    timers, ran = Timers(), []

    def cancel_all(_now: float) -> None:
        for timer in others:
            timer.cancel()

    timers.schedule(1.0, cancel_all)
    others = [timers.schedule(1.0, ran.append) for _ in range(500)]
    timers.run(1.0)
    assert not ran
    assert len(timers) == 0
    timers.schedule(2.0, ran.append)
    assert len(timers) == 1


def test_cancelling_twice_or_after_the_run_does_nothing() -> None:
    timers, ran = Timers(), []
    timer = timers.schedule(1.0, ran.append)
    other = timers.schedule(2.0, ran.append)
    timers.run(1.0)
    timer.cancel()
    timer.cancel()
    assert len(timers) == 1
    other.cancel()
    other.cancel()
    assert len(timers) == 0
    assert timers.next_timeout() is None


def test_cancelled_timers_do_not_pile_up() -> None:
    timers = Timers()
    keeper = timers.schedule(1e9, lambda _: None)
    for _ in range(10_000):
        timers.schedule(1e6, lambda _: None).cancel()
    assert len(timers._heap) < 300
    assert timers.next_timeout() == keeper.when


def test_an_action_that_raises_takes_no_other_with_it() -> None:
    timers, ran = Timers(), []

    def fail(_now: float) -> None:
        raise RuntimeError("a bug")

    timers.schedule(1.0, ran.append)
    timers.schedule(2.0, fail)
    timers.schedule(3.0, ran.append)
    with pytest.raises(RuntimeError):
        timers.run(5.0)
    assert (ran, len(timers), timers.next_timeout()) == ([5.0], 1, 3.0)
    timers.run(5.0)
    assert ran == [5.0, 5.0]


def test_of_more_than_there_is_time_for_the_rest_is_due_still_and_in_order() -> None:
    timers, ran, clock = Timers(), list[int](), Clock(1.0)

    def note(name: int, _now: float) -> None:
        ran.append(name)
        clock.pass_by()
        if name == 0:
            timers.schedule_about(1.0, note, 99)

    planned = [timers.schedule_about(1.0, note, name) for name in range(LOOK + 2)]
    timers.schedule_about(2.0, note, LOOK + 2)
    timers.run(3.0, clock)
    planned[LOOK + 1].cancel()
    assert (ran, len(timers), timers.next_timeout()) == ([*range(LOOK)], 3, 1.0)
    timers.run(3.0)
    assert ran == [*range(LOOK + 1), 99, LOOK + 2]
    assert timers.next_timeout() is None


def test_what_is_planned_for_one_time_is_one_entry_of_the_heap() -> None:
    timers = Timers()
    planned = [timers.schedule(float(number % 4), lambda _: None) for number in range(4000)]
    assert len(timers._heap) == 4
    for timer in planned[:-1]:
        timer.cancel()
    assert sum(len(moment.planned) for moment in timers._moments.values()) < 200
    assert (len(timers), timers.next_timeout()) == (1, 3.0)


def test_what_is_planned_for_before_all_times_is_due_at_once() -> None:
    timers, ran = Timers(), []
    timers.schedule(NEVER, ran.append)
    assert timers.next_timeout() == NEVER
    timers.run(1.0)
    assert ran == [1.0]
