"""What the allocator keeps is given back: after much was read, and seldom."""

import ctypes
from itertools import pairwise

import p2ptui.io.heap as heap_module
from p2ptui.io.heap import AFTERWARDS_S, PAUSE_S, TRIM_ABOVE, Heap


class Loop:
    """A clock that is set, and what is planned on it."""

    def __init__(self):
        self.now = 0.0
        self.planned = []

    def time(self):
        return self.now

    def call_later(self, pause_s, call):
        handle = Handle(self, self.now + pause_s, call)
        self.planned.append(handle)
        return handle

    def run_until(self, now):
        while due := [each for each in self.planned if each.when <= now]:
            due[0].cancel()
            self.now = due[0].when
            due[0].call()
        self.now = now


class Handle:
    def __init__(self, loop, when, call):
        self.loop, self.when, self.call = loop, when, call

    def cancel(self):
        if self in self.loop.planned:
            self.loop.planned.remove(self)


def test_little_that_is_read_is_not_worth_it():
    loop, calls = Loop(), []
    heap = Heap(loop, calls.append)
    heap.note_read(TRIM_ABOVE)
    assert not loop.planned
    heap.note_read(1)
    assert len(loop.planned) == 1


def test_it_is_done_once_a_pause_and_once_afterwards():
    loop, calls = Loop(), []
    heap = Heap(loop, calls.append)
    for step in range(30):
        heap.note_read(1000)
        loop.run_until(step / 10 * PAUSE_S)
    assert len(calls) == 2
    loop.run_until(100)
    assert 3 <= len(calls) <= 4
    assert not loop.planned
    heap.note_read(1)
    assert not loop.planned


def test_a_flood_that_goes_on_does_not_wait_for_the_end():
    loop, calls = Loop(), []
    heap = Heap(loop, calls.append)
    for second in range(20):
        heap.note_read(10 * TRIM_ABOVE)
        loop.run_until(second * 1.01 * PAUSE_S)
    assert len(calls) >= 18 > AFTERWARDS_S


def test_one_that_takes_long_is_done_seldom():
    loop, calls = Loop(), []

    def trim(_):
        calls.append(loop.now)
        loop.now += 0.05

    heap = Heap(loop, trim)
    for step in range(400):
        heap.note_read(1000)
        loop.run_until(max(step / 10, loop.now))
    assert all(later - earlier >= 4 for earlier, later in pairwise(calls))


def test_where_the_allocator_cannot_nothing_is_planned():
    loop = Loop()
    Heap(loop, None).note_read(10**6)
    assert not loop.planned


def test_closed_nothing_is_planned():
    loop, calls = Loop(), []
    heap = Heap(loop, calls.append)
    heap.note_read(1000)
    heap.close()
    loop.run_until(100)
    assert not calls


def test_the_allocator_is_told_a_size():
    """Of its own width: a C `int` is what ctypes passes otherwise."""
    if heap_module._trim is not None:
        assert heap_module._trim.argtypes == [ctypes.c_size_t]
