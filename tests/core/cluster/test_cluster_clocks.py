"""Servers whose clocks are wrong, or were: nobody is lost, and somebody is told."""

import msgspec
import pytest

from p2ptui.core.cluster.others import Trouble
from p2ptui.wire.cluster import Beacon, decode_message, encode_message
from tests.core.cluster_rooms import Rooms, Server

DAY_S = 86_400.0


def restarted(rooms: Rooms, former: Server, *, apart_s: float, clean: bool = True) -> Server:
    """A server is started again with the same keys, and its clock elsewhere."""
    if clean:
        former.cluster.close(rooms.now)
        former.settle()
    former.kill()
    return rooms.server(name=former.cluster._own.name, like=former, apart_s=apart_s)


def lists(server: Server) -> set[str]:
    """The other servers that it lists."""
    return {one.server_id for one in server.cluster.servers(server.rooms.now)}


def recorder(server: Server) -> list[Beacon]:
    """Notes all beacons that a server hears."""
    heard: list[Beacon] = []
    receive = server.cluster.receive_message

    def note(subject: str, data: bytes, now: float) -> None:
        message = decode_message(data)
        if isinstance(message, Beacon):
            heard.append(message)
        receive(subject, data, now)

    server.cluster.receive_message = note  # type: ignore[method-assign]
    return heard


@pytest.mark.parametrize("apart_s", [90.0, 5 * 3600.0, DAY_S])
@pytest.mark.parametrize("clean", [True, False])
def test_a_server_that_once_ran_with_its_clock_ahead_is_there_again(
    apart_s: float, clean: bool
) -> None:
    rooms = Rooms(2)
    one, two = rooms.servers
    node = rooms.node()
    ahead = rooms.server(apart_s=apart_s)
    rooms.run_for(5)
    assert ahead.id in lists(one) & lists(two)
    right = restarted(rooms, ahead, apart_s=0.0, clean=clean)
    right.join(node)
    rooms.run_for(3)
    assert right.id in lists(one) & lists(two)
    assert lists(right) == {one.id, two.id}
    assert one.holder(node) == two.holder(node) == right.id
    rooms.run_for(30)
    for server in (one, two):
        (told,) = server.troubles
        assert told[0] is Trouble.CLOCK_SET_BACK
        assert right.id in told[1]
    again = restarted(rooms, right, apart_s=-apart_s, clean=clean)
    rooms.run_for(3)
    assert again.id in lists(one) & lists(two)


@pytest.mark.parametrize("apart_s", [-7 * 3600.0, 7 * 3600.0])
def test_clocks_apart_by_hours_are_told_of_once_on_both_sides(apart_s: float) -> None:
    rooms = Rooms(1)
    (one,) = rooms.servers
    other = rooms.server(apart_s=apart_s)
    node = rooms.node()
    other.join(node)
    rooms.run_for(30)
    assert one.holder(node) == other.id
    assert one.troubles == other.troubles == [], "it may still be set"
    rooms.run_for(600)
    for server, far, side in ((one, other, apart_s > 0), (other, one, apart_s < 0)):
        ((kind, words),) = server.troubles
        assert kind is Trouble.CLOCKS_APART
        direction = "ahead of" if side else "behind"
        assert f"({far.id}) is 7 h {direction} this server's" in words


def test_a_clock_that_is_set_in_time_is_no_trouble() -> None:
    rooms = Rooms(1)
    (one,) = rooms.servers
    other = rooms.server(apart_s=3600.0)
    rooms.run_for(40)
    other.state.unix_offset -= 3600.0
    rooms.run_for(200)
    assert one.troubles == other.troubles == []
    assert lists(one) == {other.id}


def test_what_a_run_with_its_clock_ahead_has_signed_is_no_use_later() -> None:
    rooms = Rooms(1)
    (one,) = rooms.servers
    heard = recorder(one)
    ahead = rooms.server(apart_s=DAY_S)
    rooms.run_for(4)
    kept = [beacon for beacon in heard if beacon.server == ahead.cluster._own.server]
    right = restarted(rooms, ahead, apart_s=0.0)
    rooms.run_for(3)
    instance = right.cluster._own.instance
    count = one.drops.get("cluster_old_beacon", 0)
    for number, beacon in enumerate(kept):
        one.cluster.receive_message("servers", encode_message(beacon), rooms.now)
        rooms.run_for(0.5)
        assert one.drops["cluster_old_beacon"] == count + number + 1
    live = [run for run in one.cluster._others._runs.values() if run.is_live]
    assert [run.instance for run in live] == [instance]


def test_a_recording_that_was_not_heard_then_stops_nobody_now() -> None:
    rooms = Rooms(1)
    (one,) = rooms.servers
    heard = recorder(one)
    ahead = rooms.server(apart_s=DAY_S)
    rooms.run_for(4)
    kept = [beacon for beacon in heard if beacon.server == ahead.cluster._own.server]
    right = restarted(rooms, ahead, apart_s=0.0)
    late = rooms.server()  # has heard nothing of that
    rooms.run_for(3)
    late.cluster.receive_message("servers", encode_message(kept[-1]), rooms.now)
    for _ in range(10):
        rooms.run_for(1)
        late.cluster.receive_message("servers", encode_message(kept[-2]), rooms.now)
        late.cluster.receive_message("servers", encode_message(kept[-1]), rooms.now)
    live = [run for run in late.cluster._others._runs.values() if run.is_live]
    assert right.cluster._own.instance in {run.instance for run in live}
    assert {run.server_id for run in live} == {one.id, right.id}
    rooms.run_for(4)
    live = [run for run in late.cluster._others._runs.values() if run.is_live]
    assert len(live) == 2


def test_an_echo_that_was_recorded_does_not_count_again() -> None:
    """Neither that of this run of the listener, nor one put into what somebody else has signed."""
    rooms = Rooms(1)
    (one,) = rooms.servers
    heard = recorder(one)
    ahead = rooms.server(apart_s=DAY_S)
    rooms.run_for(4)
    right = restarted(rooms, ahead, apart_s=0.0)
    rooms.run_for(4)
    later = restarted(rooms, right, apart_s=-DAY_S)
    rooms.run_for(1.5)
    own = later.cluster._own
    assert lists(one) == {later.id}
    former = [b for b in heard if b.server == own.server and b.instance != own.instance]
    count = one.drops.get("cluster_old_beacon", 0)
    for beacon in former:
        one.cluster.receive_message("servers", encode_message(beacon), rooms.now)
    assert one.drops["cluster_old_beacon"] == count + len(former)
    newest = next(b for b in reversed(heard) if b.server == own.server)
    forged = msgspec.structs.replace(former[-1], echoes=newest.echoes, instance=b"invented")
    rooms.run_for(1.2)
    one.cluster.receive_message("servers", encode_message(forged), rooms.now)
    live = [run for run in one.cluster._others._runs.values() if run.is_live]
    assert own.instance in {run.instance for run in live}
    assert b"invented" not in {run.instance for run in one.cluster._others._runs.values()}
    rooms.run_for(10)
    assert lists(one) == {later.id}


@pytest.mark.parametrize("apart_s", [0.0, -DAY_S])
def test_what_the_former_run_said_a_moment_ago_is_old_at_once(apart_s: float) -> None:
    rooms = Rooms(1)
    (one,) = rooms.servers
    heard = recorder(one)
    former = rooms.server()
    rooms.run_for(4)
    later = restarted(rooms, former, apart_s=apart_s, clean=False)
    own, runs = later.cluster._own, one.cluster._others._runs
    while (own.server, own.instance) not in runs:
        rooms.run_for(0.01)
    recorded = [b for b in heard if b.server == own.server and b.instance != own.instance]
    assert recorded
    count = one.drops.get("cluster_old_beacon", 0)
    for beacon in recorded:
        one.cluster.receive_message("servers", encode_message(beacon), rooms.now)
    assert one.drops["cluster_old_beacon"] == count + len(recorded)
