"""A node without a screen: it logs events and statistics, and shuts down cleanly."""

import asyncio
import logging
import os
import signal
from collections.abc import Iterable, Sequence
from typing import Any, Final

from p2ptui.config import Config
from p2ptui.errors import P2PError
from p2ptui.event_lines import PEER_LINES_PER_SECOND as PEER_LINES_PER_SECOND
from p2ptui.event_lines import Lines as _Lines  # noqa: F401 - as they were called here
from p2ptui.event_lines import log_event as _log_event  # noqa: F401
from p2ptui.event_lines import log_events as _log_events
from p2ptui.hangups import survive_hangups
from p2ptui.io.loop import run
from p2ptui.io.sd_notify import ServiceManager
from p2ptui.io.signals import EXIT_BY_SIGNAL, handle_signals
from p2ptui.logs import configure_logging, shutdown_logging
from p2ptui.nat.report_text import type_words
from p2ptui.node import Node, diagnose_first, diagnoses_at_start
from p2ptui.operating import log_statistics, operated, stats_fields, stats_line, status_line
from p2ptui.reloading import Reloading
from p2ptui.starting import examine
from p2ptui.tagged import tagged
from p2ptui.wire.address import format_address

log = logging.getLogger("p2ptui.headless")

STATUS_EACH_S: Final = 30.0
"""How often the service manager is told the node's status."""


def run_headless(
    config: Config, *, key_log: str | None = None, warnings: Sequence[str] = ()
) -> int:
    """Run a node until SIGINT or SIGTERM; on SIGHUP it reopens its log and rereads its options.

    Args:
        config: Every option.
        key_log: The file for session keys, for debugging; None: they are not written.
        warnings: What is wrong with the configuration files, one line each.

    Returns:
        The exit code, 0.

    Raises:
        ConfigError: A node cannot start with this configuration.
        P2PError: The node cannot start, or its own machinery failed.
    """
    survive_hangups()
    warnings = (*warnings, *examine(config).warnings)
    configure_logging(config.logging, verbose=config.server.verbose_logging)
    try:
        return run(_serve(config, key_log, warnings), fast=True)
    finally:
        shutdown_logging()


async def _serve(config: Config, key_log: str | None = None, warnings: Sequence[str] = ()) -> int:
    stopping = asyncio.Event()
    reloading = Reloading(config)
    _stop_when_asked(stopping)
    for warning in warnings:
        log.warning("%s", warning, extra=tagged("config_warning"))
    node = Node(config) if key_log is None else Node(config, key_log=key_log)
    async with operated(node, config) as manager, node:
        info = node.info
        log.info(
            "%s is listening on %s, network %s, id %s",
            info.name,
            format_address(node.address),
            info.network_id,
            info.id,
            extra=tagged(
                "listening",
                node_id=info.id,
                name=info.name,
                address=format_address(node.address),
                network_id=info.network_id,
            ),
        )
        node.trace(enabled=log.isEnabledFor(logging.DEBUG))
        handle_signals(lambda _: log_statistics(node), "SIGUSR1")
        handle_signals(lambda _: _reload(reloading, node, manager), "SIGHUP")
        manager.ready(status_line(node.stats()))
        waiting = [
            asyncio.ensure_future(work)
            for work in (
                stopping.wait(),
                node.wait_failed(),
                _log_events(node, reloading, keeps_files=bool(config.files.receive_into)),
                _log_stats(node, reloading),
                _tell_status(node, manager),
                _log_nat(node, config),
            )
        ]
        done, pending = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        for task in pending:
            task.cancel()
        await asyncio.gather(*pending, return_exceptions=True)
        await _require_success(node, done)
        connected = node.stats().connected
        manager.stopping(f"saying goodbye to {connected} peers")
        log.info("shutting down: %d peers", connected, extra=tagged("stopping", peers=connected))
    log.info("stopped", extra=tagged("stopped"))
    return 0


def _reload(reloading: Reloading, node: Node, manager: ServiceManager) -> None:
    manager.reloading()
    try:
        reloading.run(node)
    finally:  # a `systemctl reload` waits for this
        manager.ready(status_line(node.stats()))


async def _tell_status(node: Node, manager: ServiceManager) -> None:
    while manager.listens:
        await asyncio.sleep(STATUS_EACH_S)
        manager.status(status_line(node.stats()))
    await asyncio.get_running_loop().create_future()


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
        log.info(
            "%s: saying goodbye; once more ends at once",
            number.name,
            extra=tagged("signal", signal=number.name),
        )
        stopping.set()

    handle_signals(stop, "SIGINT", "SIGTERM", "SIGBREAK")


async def _log_stats(node: Node, reloading: Reloading) -> None:
    while True:
        interval_s = reloading.config.server.stats_interval
        if not await reloading.pause(interval_s or None):
            stats = node.stats()
            log.info("%s", stats_line(stats), extra=tagged("stats", **stats_fields(stats)))
            if (cluster := node.cluster) is not None:
                log.info(
                    "%s",
                    cluster.line,
                    extra=tagged(
                        "cluster_stats",
                        link_up=cluster.broker.is_up,
                        servers=len(cluster.cluster.servers),
                        nodes=cluster.cluster.nodes,
                        handed=cluster.cluster.handed,
                        taken=cluster.cluster.taken,
                        failed=cluster.cluster.failed,
                    ),
                )


async def _log_nat(node: Node, config: Config) -> None:
    """Log the type of the NAT, for a node that nodes on other machines could reach."""

    async def diagnose() -> bool:
        try:
            report = await node.diagnose_nat()
        except P2PError as error:
            log.warning(
                "the NAT is not known: %s", error, extra=tagged("nat_unknown", reason=str(error))
            )
            return False
        log.info(
            "NAT: %s; %s",
            type_words(report),
            report.meaning,
            extra=tagged("nat", type=type_words(report), meaning=report.meaning),
        )
        return report.udp is not None

    if diagnoses_at_start(config, node.address):
        await diagnose_first(node, diagnose)
    await asyncio.get_running_loop().create_future()
