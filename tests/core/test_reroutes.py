"""Whatever changes the way of a peer's datagrams, nothing learnt of the last way is kept."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

import p2ptui
from p2ptui.core.addresses import relay_address
from p2ptui.core.aliases import Standing
from p2ptui.core.peers import Peer, PeerTable
from p2ptui.wire.address import Address
from tests.core.meeting import Meeting
from tests.core.test_aliases import at, peer_at
from tests.simulation import Host

RELAY = {"max_relay_rate_per_client": 100_000_000, "buffer_size": 10_000_000}


# The table.


def on_a_path(table: PeerTable) -> Peer:
    peer = peer_at(table, "10.0.0.1")
    table.take_path(peer, at(1))
    return peer


CHANGES: dict[str, Callable[[PeerTable, Peer], object]] = {
    "another path": lambda table, peer: table.take_path(peer, at(2)),
    "the own address": lambda table, peer: table.take_path(peer, peer.address),
    "no path": lambda table, peer: table.leave_path(peer),
    "no aliases": lambda table, peer: table.remove_aliases(peer),
    "another's": lambda table, _: table.take_path(peer_at(table, "10.0.0.2"), at(1)),
    "an alias of another": lambda table, _: table.add_alias(
        peer_at(table, "10.0.0.2"), at(1), Standing.CHOSEN
    ),
}


def learn(peer: Peer) -> None:
    """Of the way in use it is known that it is wide and quick."""
    sender = peer.channel.sender
    sender.fit(1.0)
    sender.path.size_bytes = 8989
    sender.window.window = 1_000_000.0


def knows(peer: Peer) -> bool:
    sender = peer.channel.sender
    sender.fit(2.0)
    return sender.path.size_bytes == 8989 or sender.window.window == 1_000_000


@pytest.mark.parametrize("change", CHANGES)
def test_each_change_of_the_way_forgets_the_last_one_and_is_told(change: str) -> None:
    table, told = PeerTable(), list[Peer]()
    peer = on_a_path(table)
    learn(peer)
    table.on_rerouted = told.append
    CHANGES[change](table, peer)

    assert peer.sends_to != at(1)
    assert peer in told
    assert not knows(peer)


def test_a_new_home_forgets_the_last_one_unless_a_path_is_in_use() -> None:
    table = PeerTable()
    peer = on_a_path(table)
    learn(peer)
    other = relay_address(("10.0.0.9", 1), "another server")
    table.take_home(peer, other)
    assert knows(peer)  # datagrams go where they went

    table.leave_path(peer)
    learn(peer)
    table.take_home(peer, peer.address)
    assert not knows(peer)


def test_what_changes_nothing_forgets_nothing() -> None:
    table = PeerTable()
    peer = on_a_path(table)
    learn(peer)
    table.take_path(peer, at(1))
    table.add_alias(peer, at(3), Standing.ANSWERED)
    table.take_home(peer, peer.address)
    assert knows(peer)


def test_one_place_alone_changes_a_way() -> None:
    package = Path(p2ptui.__file__).parent
    found = [
        (path.name, line.strip())
        for path in package.glob("core/**/*.py")
        for line in path.read_text("utf-8").splitlines()
        if re.search(r"peer\._(path|home)\b.*[^=]=[^=]", line)
        and not re.search(r"_route\(|def ", line)
    ]
    assert found == [("peers.py", "peer._path, peer._home = path, home")]


# Whole nodes.


class Wide:
    """Two nodes on a wide direct path, whose server is reached by a narrow way."""

    def __init__(self) -> None:
        self.meeting = meeting = Meeting("full-cone", "full-cone", server=RELAY)
        self.world = meeting.world
        meeting.connect()
        self.world.run_until(meeting.is_direct, 10)
        for back in (False, True):
            for _ in range(3):
                meeting.say("x" * 700_000, back=back)
        self.world.run_for(20)
        assert self.size(meeting.a) > 8000
        assert self.size(meeting.b) > 8000
        self.world.run_until(self._is_unconfirmed, 5)
        self.to_server: list[int] = []
        send = self.world.network.send

        def note(
            data: bytes, source: Address, destination: Address, now: float, **how: object
        ) -> None:
            if destination == meeting.server.address:
                self.to_server.append(len(data))
            send(data, source, destination, now, **how)

        self.world.network.send = note  # type: ignore[method-assign]

    def _is_unconfirmed(self) -> bool:
        """Whether it is some time since the path was confirmed: an older sign may be doubted."""
        attempt = self.meeting.attempt(self.meeting.a)
        assert attempt is not None
        assert attempt.direct is not None
        return self.world.now > attempt.direct.confirmed_at + 0.3

    def size(self, host: Host) -> int:
        peer = self.meeting.peer(host)
        assert peer is not None
        return peer.channel.sender.path.size_bytes


def _move(meeting: Meeting) -> None:
    a = meeting.a
    a.endpoint.moving.move(
        lambda address: address[0] != meeting.server.address[0], meeting.world.now
    )


def _doubt(meeting: Meeting) -> None:
    attempt = meeting.attempt(meeting.a)
    assert attempt is not None
    meeting.a.endpoint.traversal._paths.doubt(attempt, meeting.world.now)


def _leave(meeting: Meeting) -> None:
    attempt = meeting.attempt(meeting.a)
    assert attempt is not None
    meeting.a.endpoint.traversal._stop(attempt)


@pytest.mark.parametrize("leave", [_move, _doubt, _leave])
def test_who_leaves_a_wide_path_sends_no_large_datagrams_to_the_server(
    leave: Callable[[Meeting], None],
) -> None:
    wide = Wide()
    meeting, world = wide.meeting, wide.world
    meeting.cut()
    meeting.say("under way")
    world.run_for(0.005)
    leave(meeting)
    meeting.a.settle()
    assert not meeting.goes_direct(meeting.a)
    meeting.say("y" * 60_000)
    world.run_for(0.05)

    assert wide.to_server
    assert max(wide.to_server) < 1600
    if leave is not _doubt:
        # What was lost on the path goes again at once, and not after a timeout.
        world.run_for(0.1)
        assert "under way" in meeting.heard(meeting.b)


def test_who_returns_to_a_path_begins_anew() -> None:
    wide = Wide()
    meeting, world = wide.meeting, wide.world
    _doubt(meeting)
    meeting.a.settle()
    assert wide.size(meeting.a) < 1600
    peer = meeting.peer(meeting.a)
    assert peer is not None
    peer.channel.sender.path.size_bytes = 60_000  # as if the way by the server were the wider one
    world.run_until(lambda: meeting.goes_direct(meeting.a), 5)
    assert wide.size(meeting.a) < 1600
