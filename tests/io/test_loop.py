"""The loop of a program: its result, its fast variant, and look-ups that hold nothing up."""

import asyncio
import gc
import os
import socket
import sys
import threading

import pytest

from p2ptui.io.loop import LOOP_FILES, YOUNG_OBJECTS, run
from tests.patience import PATIENCE_S


@pytest.mark.parametrize("fast", [False, True])
def test_it_runs_a_coroutine_to_its_end(fast):
    async def program():
        await asyncio.sleep(0)
        return type(asyncio.get_running_loop()).__mro__[1].__module__.partition(".")[0]

    if fast:
        pytest.importorskip("uvloop")
    assert run(program(), fast=fast) == ("uvloop" if fast else "asyncio")


@pytest.mark.skipif(sys.version_info < (3, 12), reason="new in Python 3.12")
@pytest.mark.parametrize("fast", [False, True])
def test_tasks_can_start_eagerly_as_textual_has_them(fast):
    async def program():
        loop = asyncio.get_running_loop()
        loop.set_task_factory(asyncio.eager_task_factory)
        began = []

        async def work():
            began.append("at once")

        task = asyncio.create_task(work())
        assert began == ["at once"]
        await task
        assert loop.get_task_factory() is asyncio.eager_task_factory
        loop.set_task_factory(None)
        assert loop.get_task_factory() is None

    run(program(), fast=fast)


def test_without_uvloop_it_runs_all_the_same(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "uvloop", None)

    async def program():
        return 42

    assert run(program(), fast=True) == 42


def test_a_long_running_program_has_garbage_collected_seldom_and_leaves_no_trace():
    async def program():
        return gc.get_threshold()[0], gc.get_freeze_count() > 0

    before = gc.get_threshold()
    assert run(program()) == (before[0], False)
    assert run(program(), fast=True) == (YOUNG_OBJECTS, True)
    assert gc.get_threshold() == before
    assert gc.get_freeze_count() == 0


@pytest.mark.parametrize("fast", [False, True])
def test_a_look_up_gives_what_the_system_says(fast, monkeypatch):
    asked = []

    def getaddrinfo(host, port, **options):
        asked.append((host, port, options))
        if host == "nosuch.example":
            raise socket.gaierror(-2, "Name or service not known")
        return [(socket.AF_INET, socket.SOCK_DGRAM, 17, "", ("192.0.2.1", port))]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)

    async def program():
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo("host.example", 80, type=socket.SOCK_DGRAM)
        assert found[0][4] == ("192.0.2.1", 80)
        with pytest.raises(socket.gaierror, match="not known"):
            await loop.getaddrinfo("nosuch.example", 80)

    run(program(), fast=fast)
    assert asked[0] == ("host.example", 0, {"type": socket.SOCK_DGRAM}), "once for every port"


@pytest.mark.parametrize("fast", [False, True])
def test_a_look_up_without_an_end_does_not_keep_the_program(fast, monkeypatch):
    let_go = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: let_go.wait() and [])

    async def program():
        loop = asyncio.get_running_loop()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(loop.getaddrinfo("slow.example", 80), 0.01)
        looking = asyncio.ensure_future(loop.getaddrinfo("slow.example", 80))
        await asyncio.sleep(0)
        return looking

    try:
        assert run(program(), fast=fast).cancelled()
    finally:
        let_go.set()
    for thread in threading.enumerate():
        if thread.name.startswith("look up"):
            thread.join(PATIENCE_S)
            assert not thread.is_alive()


@pytest.mark.skipif(sys.platform == "win32", reason="limits of POSIX")
@pytest.mark.parametrize("spare", range(LOOP_FILES))
def test_a_loop_that_lacks_files_ends_with_the_reason_alone(spare, recwarn):
    """uvloop, begun with too few, could neither run nor be closed: three chained tracebacks."""
    import resource

    async def program():
        raise AssertionError("it never begins")

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    taken = [os.open(os.devnull, os.O_RDONLY) for _ in range(spare + 1)]
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(taken) + 1, hard))
        holes = _fill_up()
        for number in taken[:spare]:
            os.close(number)
        with pytest.raises(OSError, match="Too many open files"):
            run(program(), fast=True)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for number in (*taken[spare:], *holes):
            os.close(number)
    gc.collect()
    assert not recwarn.list


def _fill_up():
    """Take all descriptors that are left."""
    opened = []
    try:
        while True:
            opened.append(os.open(os.devnull, os.O_RDONLY))
    except OSError:
        return opened
