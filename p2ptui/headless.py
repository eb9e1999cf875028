"""A node without a screen: it logs what happens, counts, and leaves politely."""

import asyncio
import logging
import os
import signal
from collections import deque
from collections.abc import Iterable
from typing import Any, Final, TypeGuard

from p2ptui.bounded import TokenBucket
from p2ptui.config import Config, config_warnings
from p2ptui.core.events import (
    DataReceived,
    ErrorReceived,
    Event,
    FileReceived,
    MessageTraced,
    PathChanged,
    PathMtuChanged,
    PeerIntroduced,
    PeersDiscovered,
    PeerStatusChanged,
    RelayDataReceived,
    TrustChanged,
)
from p2ptui.errors import P2PError
from p2ptui.event_log import log_event as _log_event
from p2ptui.event_log import log_file, log_unkept
from p2ptui.hangups import survive_hangups
from p2ptui.io.loop import run
from p2ptui.io.signals import EXIT_BY_SIGNAL, handle_signals
from p2ptui.logs import configure_logging, shutdown_logging
from p2ptui.nat.report_text import type_words
from p2ptui.node import Node, Stats, diagnoses_at_start
from p2ptui.reloading import Reloading
from p2ptui.wire.address import format_address
from p2ptui.wire.files import FILE, is_file

log = logging.getLogger("p2ptui.headless")

PEER_LINES_PER_SECOND: Final = 20
"""Lines about peers that come and go: a flood of handshakes must not become one of the log."""


def run_headless(config: Config, *, key_log: str | None = None) -> int:
    """Run a node until SIGINT or SIGTERM; SIGHUP has it open its log anew, and read its options.

    Args:
        config: Every option.
        key_log: Where the keys of sessions are written, for debugging; nowhere without it.

    Returns:
        The exit code, 0.

    Raises:
        ConfigError: The log file cannot be opened.
        P2PError: The node cannot start, or its own machinery failed.
    """
    survive_hangups()
    configure_logging(config.logging, verbose=config.server.verbose_logging)
    try:
        return run(_serve(config, key_log), fast=True)
    finally:
        shutdown_logging()


async def _serve(config: Config, key_log: str | None = None) -> int:
    stopping = asyncio.Event()
    reloading = Reloading(config)
    _stop_when_asked(stopping)
    for warning in config_warnings(config):
        log.warning("%s", warning)
    async with Node(config) if key_log is None else Node(config, key_log=key_log) as node:
        info = node.info
        log.info(
            "%s is listening on %s, network %s, id %s",
            info.name,
            format_address(node.address),
            info.network_id,
            info.id,
        )
        node.trace(enabled=log.isEnabledFor(logging.DEBUG))
        handle_signals(lambda _: reloading.run(node), "SIGHUP")
        waiting = [
            asyncio.ensure_future(work)
            for work in (
                stopping.wait(),
                node.wait_failed(),
                _log_events(node, reloading, keeps_files=bool(config.files.receive_into)),
                _log_stats(node, reloading),
                _log_nat(node, config),
            )
        ]
        done, pending = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        for task in pending:
            task.cancel()
        await asyncio.gather(*pending, return_exceptions=True)
        await _require_success(node, done)
        log.info("shutting down: %d peers", node.stats().connected)
    log.info("stopped")
    return 0


async def _require_success(node: Node, ended: Iterable["asyncio.Task[Any]"]) -> None:
    try:
        for task in ended:
            task.result()
        if node.has_failed:
            await node.wait_failed()
    except P2PError:
        raise
    except Exception as error:
        raise P2PError(
            f"the node failed: {type(error).__name__}: {error}; this is a mistake in p2ptui,"
            " please report it, with the log at level DEBUG"
        ) from error


def _stop_when_asked(stopping: asyncio.Event) -> None:
    def stop(number: signal.Signals) -> None:
        if stopping.is_set():
            os._exit(EXIT_BY_SIGNAL + number)
        log.info("%s: saying goodbye; once more ends at once", number.name)
        stopping.set()

    handle_signals(stop, "SIGINT", "SIGTERM", "SIGBREAK")


async def _log_stats(node: Node, reloading: Reloading) -> None:
    while True:
        interval_s = reloading.config.server.stats_interval
        if not await reloading.pause(interval_s or None):
            log.info("%s", stats_line(node.stats()))
            if (cluster := node.cluster) is not None:
                log.info("%s", cluster.line)


async def _log_nat(node: Node, config: Config) -> None:
    """Say once what the NAT is like, for a node that others elsewhere could reach."""
    if diagnoses_at_start(config, node.address):
        try:
            report = await node.diagnose_nat()
        except P2PError as error:
            log.warning("the NAT is not known: %s", error)
        else:
            log.info("NAT: %s; %s", type_words(report), report.meaning)
    await asyncio.get_running_loop().create_future()


def stats_line(stats: Stats) -> str:
    """The numbers of a node in one line."""
    drops = sum(stats.drops.values()) + stats.socket.dropped_in + stats.socket.dropped_out
    return (
        f"up {stats.uptime_s:.0f} s, {stats.connected} peers,"
        f" in {stats.datagrams_in} datagrams / {stats.bytes_in} bytes,"
        f" out {stats.datagrams_out} / {stats.bytes_out},"
        f" delivered {stats.delivered}, forwarded {stats.forwarded}, relayed {stats.relayed},"
        f" STUN {stats.stun_replies},"
        f" refused {stats.handshakes_refused}, sent again {stats.retransmissions},"
        f" duplicates {stats.duplicates}, dropped {drops}"
    )


async def _log_events(node: Node, reloading: Reloading, *, keeps_files: bool) -> None:
    """Tell what happens, until the node ends."""
    lines = _Lines(keeps_files=keeps_files)
    readers = deque([_Reader(node, lines)])
    renewing = asyncio.ensure_future(_renew(readers, reloading))
    try:
        while readers:
            async for event in readers[0].events:
                lines.log(event)
            readers.popleft()
    finally:
        renewing.cancel()
        for reader in readers:
            reader.end()


class _Reader:
    """Who reads as much as there are lines about, as the log is now.

    Args:
        node: What happens there.
        lines: These lines.
    """

    def __init__(self, node: Node, lines: "_Lines") -> None:
        self._node, self._lines = node, lines
        # Who reads Data has each message held for him, and told.
        self._data = lines.data
        self.events = node.events(data=self._data, wants=lines.wants)

    def renewed(self) -> "_Reader | None":
        """Another one, from now on, if the log has changed so that this one will not do: it ends
        with what it has."""
        if self._lines.data == self._data:
            return None
        other = _Reader(self._node, self._lines)
        self.end()
        return other

    def end(self) -> None:
        """It reads nothing more."""
        self._node.unsubscribe(self.events)


async def _renew(readers: deque[_Reader], reloading: Reloading) -> None:
    while True:
        await reloading.pause(None)
        other = readers[-1].renewed() if readers else None
        if other is not None:
            readers.append(other)


_ABOUT_PEERS: Final = frozenset(
    {
        PeerStatusChanged,
        TrustChanged,
        PeerIntroduced,
        PathChanged,
        PathMtuChanged,
        ErrorReceived,
    }
)
_FOR_DEBUG: Final = frozenset({RelayDataReceived, PeersDiscovered, MessageTraced})
"""What there can be one of for each datagram."""


class _Lines:
    """The lines about what happens. What has none is known when it is told, and waits nowhere.

    Args:
        keeps_files: Whether files are kept, of which other lines tell then.
    """

    def __init__(self, *, keeps_files: bool) -> None:
        self._keeps_files = keeps_files
        self._peers, self._files = _LimitedLines("changes of peers"), _LimitedLines("files")

    @property
    def data(self) -> bool | str:
        """What must be read of Data for them: all, nothing, or what has this key."""
        return log.isEnabledFor(logging.DEBUG) or (not self._keeps_files and FILE)

    def wants(self, event: Event) -> bool:
        """Whether there is a line about an event, as far as is known without a look inside."""
        kind = type(event)
        if isinstance(event, DataReceived):
            return log.isEnabledFor(logging.DEBUG) or (
                not self._keeps_files and not event.is_echo and event.may_have(FILE)
            )
        if kind in _FOR_DEBUG:
            return log.isEnabledFor(logging.DEBUG)
        if isinstance(event, TrustChanged) and event.previous is None:
            return False  # it is warned of already
        if kind in _ABOUT_PEERS:
            return self._peers.has_room()
        return kind is not FileReceived or self._files.has_room()

    def log(self, event: Event) -> None:
        """Tell of an event that is wanted."""
        if _is_file(event):
            if not self._keeps_files and self._files.has_room():
                log_unkept(event)
        elif isinstance(event, FileReceived):
            log_file(event)
        else:
            _log_event(event)


def _is_file(event: Event) -> TypeGuard[DataReceived]:
    return (
        isinstance(event, DataReceived)
        and not event.is_echo
        and event.may_have(FILE)
        and is_file(event.payload)
    )


class _LimitedLines:
    """Room for lines that somebody else can cause without end.

    Args:
        about: What they tell of.
    """

    def __init__(self, about: str) -> None:
        self._about = about
        self._loop = asyncio.get_running_loop()
        self._bucket = TokenBucket(PEER_LINES_PER_SECOND, self._loop.time())
        self._untold = 0

    def has_room(self) -> bool:
        """Whether one more may be logged now; those that may not are counted, and told of."""
        if self._bucket.take(self._loop.time()):
            return True
        if not self._untold:
            self._loop.call_later(1.0, self._tell)
        self._untold += 1
        return False

    def _tell(self) -> None:
        log.info("%d more %s were not logged", self._untold, self._about)
        self._untold = 0
