"""What an operator's tools see of a node: metrics, the service manager, statistics on demand."""

import logging
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from dataclasses import asdict
from typing import Any

from p2ptui.config import Config, MetricsOptions
from p2ptui.io.sd_notify import ServiceManager
from p2ptui.io.system_limits import system_warnings
from p2ptui.node import Node, Stats
from p2ptui.node.traversal_support import MAX_SOCKETS
from p2ptui.tagged import tagged

log = logging.getLogger("p2ptui.statistics")


def serving_metrics(node: Node, config: Config) -> AbstractAsyncContextManager[object]:
    """Serves a node's metrics within the block, if its configuration asks for that; enter it before
    the node, so that /readyz covers its start and end too.

    Raises:
        ConfigError: prometheus-client is not installed.
    """
    if not config.metrics.address:
        return nullcontext()
    from p2ptui.metrics.server import MetricsServer  # most nodes serve none

    return MetricsServer(node, config.metrics)


def metrics_notices(options: MetricsOptions) -> tuple[str, ...]:
    """What the user should know about where metrics will be served, one line each.

    Raises:
        ConfigError: prometheus-client is not installed.
    """
    if not options.address:
        return ()
    from p2ptui.metrics.server import notices, require_client

    require_client()
    return notices(options.address)


@asynccontextmanager
async def operated(node: Node, config: Config) -> AsyncIterator[ServiceManager]:
    """Serves metrics, and provides the service manager to report the status to."""
    async with serving_metrics(node, config):
        manager = ServiceManager(os.environ)
        try:
            yield manager
        finally:
            manager.close()


def advice(config: Config) -> list[str]:
    """Where this machine allows a node less than it may need: one line each, with the remedy."""
    sockets = MAX_SOCKETS if config.ice.enable else 0
    return system_warnings(config.server.max_connections, sockets)


def stats_line(stats: Stats) -> str:
    """The numbers of a node in one line."""
    return (
        f"up {stats.uptime_s:.0f} s, {stats.connected} peers,"
        f" in {stats.datagrams_in} datagrams / {stats.bytes_in} bytes,"
        f" out {stats.datagrams_out} / {stats.bytes_out},"
        f" delivered {stats.delivered}, forwarded {stats.forwarded}, relayed {stats.relayed},"
        f" STUN {stats.stun_replies},"
        f" refused {stats.handshakes_refused}, sent again {stats.retransmissions},"
        f" duplicates {stats.duplicates}, dropped {_dropped(stats)}"
    )


def stats_fields(stats: Stats) -> dict[str, object]:
    """The same for programs; SIGUSR1 logs all of them."""
    return {
        "uptime_s": round(stats.uptime_s, 3),
        "peers": stats.connected,
        "datagrams_in": stats.datagrams_in,
        "datagrams_out": stats.datagrams_out,
        "bytes_in": stats.bytes_in,
        "bytes_out": stats.bytes_out,
        "delivered": stats.delivered,
        "forwarded": stats.forwarded,
        "relayed": stats.relayed,
        "stun_replies": stats.stun_replies,
        "handshakes_refused": stats.handshakes_refused,
        "retransmissions": stats.retransmissions,
        "duplicates": stats.duplicates,
        "dropped": _dropped(stats),
    }


def _dropped(stats: Stats) -> int:
    """Drops by the protocol and by the socket together."""
    return sum(stats.drops.values()) + stats.socket.dropped_in + stats.socket.dropped_out


def status_line(stats: Stats) -> str:
    """What `systemctl status` shows of a node."""
    joined = f", {stats.servers} servers joined" if stats.servers else ""
    return f"{stats.connected} peers{joined}"


def log_statistics(node: Node) -> None:
    """Log every number of a node: a line for each group, without zeros."""
    groups: dict[str, dict[str, Any]] = {"node": {}}
    for name, value in (asdict(node.stats()) | {"paths": node.path_kinds()}).items():
        if isinstance(value, dict):
            groups[name] = value
        else:
            groups["node"][name] = value
    if (cluster := node.cluster) is not None:
        groups["cluster"] = asdict(cluster.cluster) | {"servers": len(cluster.cluster.servers)}
        groups["broker"] = asdict(cluster.broker)
    for group, numbers in groups.items():
        if words := _words(numbers):
            fields = tagged("statistics", group=group, numbers=numbers)
            log.info("statistics: %s: %s", group, words, extra=fields)


def _words(numbers: Mapping[str, Any], above: str = "") -> str:
    """Names and numbers, with a dot between a name and its parent."""
    parts = []
    for name, value in numbers.items():
        path = above + name.replace(" ", "_")
        if isinstance(value, dict):
            parts.append(_words(value, f"{path}."))
        elif isinstance(value, list) and any(value):
            parts.append(f"{path}={','.join(map(str, value))}")
        elif isinstance(value, int | float) and value:
            parts.append(f"{path}={value:.6g}" if isinstance(value, float) else f"{path}={value:d}")
    return " ".join(filter(None, parts))
