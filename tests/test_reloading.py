"""A configuration that is read again while the node runs: what changes, what waits, what stays."""

import asyncio
import logging
import re
from pathlib import Path

import pytest

from p2ptui import Config, headless, reloading
from p2ptui.config import OPTIONS
from p2ptui.config.reload import RELOADED, take_over
from p2ptui.core.events import PeerStatus, PeerStatusChanged
from p2ptui.errors import ConfigError, LocalError
from p2ptui.reloading import Reloading
from p2ptui.wire.address import format_address
from tests.town import MET_S, Town, taken
from tests.virtual_loop import run_virtual


@pytest.fixture(autouse=True)
def opened(monkeypatch):
    """The options with which the log was opened anew."""
    seen = []
    monkeypatch.setattr(reloading, "configure_logging", lambda options, **_: seen.append(options))
    return seen


def test_every_option_that_changes_is_an_option_and_is_named_once():
    assert set(RELOADED) <= {option.path for option in OPTIONS.options}
    assert len(set(RELOADED)) == len(RELOADED)


def test_the_page_names_them_all():
    page = Path(__file__).parents[1] / "docs" / "background.md"
    text = page.read_text("utf-8")
    named = set()
    for section, names in re.findall(r"^- `(\w+)`: ((?:.|\n  )*)", text, re.MULTILINE):
        named |= {f"{section}.{name}" for name in re.findall(r"`(\w+)`", names)}
    missing, more = set(RELOADED) - named, named - set(RELOADED)
    assert not missing, f"docs/background.md does not say that {missing} change at a reload"
    assert not more, f"docs/background.md says that {more} change at a reload, which do not"


def test_what_is_told_or_fixed_at_the_start_waits():
    running = Config()
    read = running.with_options(
        max_connections=5, network_id="other", reliability={"max_tries": 3}, name="n"
    )
    config, changed, waiting = take_over(running, read)
    assert changed == ("server.max_connections",)
    assert waiting == ("server.network_id", "server.name", "reliability.max_tries")
    assert config == running.with_options(max_connections=5)


def story_of(act, **options):
    """A server, its Reloading with files that are written as options, and the lines it logged."""

    async def story():
        async with Town() as town:
            server = await town.start("server", **options)
            base = server._config
            reading = Reloading(base)

            def become(**changes):
                reading.read = lambda: base.with_options(**changes)
                reading.run(server)

            await act(town, server, become)

    run_virtual(story())


def test_a_new_limit_holds_for_the_next_one_who_comes():
    async def act(town, server, become):
        alice, bob = await town.start("alice"), await town.start("bob")
        await alice.connect(server.address)
        become(max_connections=1)
        with pytest.raises(Exception, match="the server is full"):
            await bob.connect(server.address)
        become(max_connections=2)
        await bob.connect(server.address)
        await asyncio.sleep(MET_S)
        assert len(server.peers) == 2

    story_of(act)


def test_servers_are_joined_and_left_alone_without_a_session_hurt():
    async def act(town, server, become):
        other = await town.start("other")
        where = format_address(other.address)
        become(join=[where])
        await asyncio.sleep(1)
        assert [peer.name for peer in server.peers] == ["other"]
        events = server.events()
        become(join=[])
        await asyncio.sleep(100)
        assert taken(events, PeerStatusChanged) == []
        assert (await server.send("other", "still here")).delivered
        await other.close()
        await asyncio.sleep(300)
        assert server.peers == []
        statuses = {event.status for event in taken(events, PeerStatusChanged)}
        assert statuses == {PeerStatus.DISCONNECTED}

    story_of(act)


def test_other_heartbeats_other_relays():
    async def act(town, server, become):
        alice, bob = await town.start("alice"), await town.start("bob")
        for client in (alice, bob):
            await client.connect(server.address)
        await alice.connect(bob.id)
        become(traffic_forwarding={"deny": [alice.id]}, heartbeat_interval=5.0)
        result = await alice.relay("server", bob.id, b"x")
        assert not result.delivered
        assert "deny" in (result.reason or "") or "not" in (result.reason or "")
        before = server.stats().datagrams_out
        await asyncio.sleep(100)
        assert server.stats().datagrams_out - before >= 30

    story_of(act, traffic_forwarding={"allow_symmetric_nat_relay": True})


def test_messages_under_way_arrive():
    async def act(town, server, become):
        alice = await town.start("alice")
        await alice.connect(server.address)
        sends = []
        for number in range(200):
            sends.append(asyncio.create_task(alice.send("server", number)))
            if number % 20 == 0:
                become(max_connections=50 + number)
            await asyncio.sleep(0.005)
        assert all(result.delivered for result in await asyncio.gather(*sends))

    story_of(act)


def test_what_waits_for_a_restart_is_one_line(caplog):
    async def act(town, server, become):
        with caplog.at_level(logging.INFO, logger="p2ptui"):
            become(address="127.0.0.1:9", stun_server={"enable": True}, stats_interval=7.0)

    story_of(act)
    told = [record.getMessage() for record in caplog.records]
    assert "SIGHUP: new values: server.stats_interval" in told
    assert "needs a restart: server.address, stun_server.enable" in told


def test_a_broken_file_is_one_line_and_changes_nothing(caplog, opened):
    async def story():
        async with Town() as town:
            server = await town.start("server")
            before = server._config

            def read():
                raise ConfigError("node.toml: line 3: not valid TOML: expected '='")

            reading = Reloading(before, read)
            with caplog.at_level(logging.INFO, logger="p2ptui"):
                reading.run(server)
            assert server._config == before
            assert opened == [before.logging]  # the log is opened anew all the same

    run_virtual(story())
    (record,) = caplog.records  # and no line that speaks of success
    assert record.levelname == "ERROR"
    assert record.event == "reload_refused"
    assert record.fields == {"reason": "node.toml: line 3: not valid TOML: expected '='"}
    assert record.getMessage() == (
        "SIGHUP: the configuration was not applied: node.toml: line 3: not valid TOML: expected"
        " '='; the old values stay in effect"
    )


def test_a_log_that_cannot_be_opened_leaves_the_old_one(caplog, monkeypatch):
    def refuse(*_, **__):
        raise ConfigError("logging.log_file_path: cannot open '/x': Permission denied")

    monkeypatch.setattr(reloading, "configure_logging", refuse)

    async def act(town, server, become):
        with caplog.at_level(logging.INFO, logger="p2ptui"):
            become(logging={"log_to_file": True, "log_file_path": "/x"}, max_connections=7)
        assert server._config.logging == Config().logging
        assert server._config.server.max_connections == 7

    story_of(act)
    told = [record.getMessage() for record in caplog.records]
    (refused,) = [record for record in caplog.records if "cannot open '/x'" in record.getMessage()]
    assert refused.event == "log_not_reopened"
    assert "SIGHUP: new values: server.max_connections" in told


@pytest.mark.parametrize("keeps_files", [True, False])
def test_another_level_of_the_log_changes_what_is_read_of_data(caplog, keeps_files):
    async def story():
        async with Town() as town:
            server, client = await town.start("server"), await town.start("client")
            reloading, readers = Reloading(server._config), server._endpoint.readers
            work = headless._log_events(server, reloading, keeps_files=keeps_files)
            logging_events = asyncio.ensure_future(work)
            await client.connect(server.address)
            await asyncio.sleep(MET_S)
            for text, level, is_read in (
                ("first", logging.INFO, False),
                ("second", logging.DEBUG, True),
                ("third", logging.DEBUG, True),
                ("fourth", logging.INFO, False),
            ):
                with caplog.at_level(level, logger="p2ptui"):
                    caplog.clear()
                    reloading.run(server)
                    await asyncio.sleep(0.1)
                    assert readers.reads(b"1") is is_read
                    assert readers.reads(b'{"file":1}') is (is_read or not keeps_files)
                    await client.send(server.address, text)
                    await asyncio.sleep(0.1)
                    told = [r.message for r in caplog.records if r.message.startswith("data from")]
                    assert len(told) == is_read
                    assert readers.used_bytes == 0
            assert not logging_events.done()
            await server.close()
            await logging_events

    run_virtual(story())


def test_a_node_that_does_not_run_has_nothing_to_reload():
    async def story():
        async with Town() as town:
            node = town.make("node")
            with pytest.raises(LocalError, match="start it first"):
                node.reload(Config())

    run_virtual(story())


def test_whatever_goes_wrong_the_service_manager_hears_that_it_is_done():
    """`systemctl reload` waits for this until its time-out."""
    told = []

    class Manager:
        def reloading(self):
            told.append("reloading")

        def ready(self, status):
            told.append("ready")

    async def story():
        async with Town() as town:
            node = await town.start("node")

            def read():
                raise ZeroDivisionError

            with pytest.raises(ZeroDivisionError):
                headless._reload(Reloading(node._config, read), node, Manager())

    run_virtual(story())
    assert told == ["reloading", "ready"]
