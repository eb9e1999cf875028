"""Which options a running node takes over from a configuration that is read again."""

from typing import Any, Final

from p2ptui.config.sections import OPTIONS, Config

RELOADED: Final = (
    "server.max_connections",
    "server.heartbeat_interval",
    "server.connection_timeout",
    "server.discovery_port_range",
    "server.discovery_interval",
    "server.peerlist_broadcast_debounce_ms",
    "server.peerlist_broadcast_max_wait_ms",
    "server.join",
    "server.stats_interval",
    "server.verbose_logging",
    "routing.introductions_max",
    "routing.introduction_probe_ports",
    "security.auth_timeout",
    "security.max_unauthenticated_connections",
    "security.enable_rate_limiting",
    "security.max_requests_per_ip",
    "security.max_share_per_address",
    "security.max_share_per_prefix",
    "logging.level",
    "logging.verbose_logging",
    "logging.format",
    "logging.log_to_file",
    "logging.log_file_path",
    "logging.max_log_file_size",
    "logging.max_log_files",
    "traffic_forwarding.max_relay_rate_per_client",
    "traffic_forwarding.buffer_size",
    "traffic_forwarding.max_concurrent_relays",
    "traffic_forwarding.relay_timeout",
    "traffic_forwarding.allow",
    "traffic_forwarding.deny",
    "stun_server.timeout_ms",
    "stun_server.max_concurrent_requests",
    "stun_server.verbose_logging",
    "nat_detection.stun_servers",
    "nat_detection.detection_timeout_ms",
    "nat_detection.retry_count",
    "nat_detection.verbose_logging",
)
"""They are read where they are used. All others are told to peers, or fixed when a socket is opened
or a session begins."""


def take_over(running: Config, read: Config) -> tuple[Config, tuple[str, ...], tuple[str, ...]]:
    """Change what may change.

    Args:
        running: What the node goes by.
        read: What its configuration says now.

    Returns:
        What it is to go by, the options that are new in it, and those that need a restart.

    Raises:
        ConfigError: The new values do not go together with those that stay.
    """
    values: dict[str, Any] = {}
    waiting = []
    for option in OPTIONS.options:
        value = option.value_in(read)
        if value == option.value_in(running):
            continue
        if option.path in RELOADED:
            values[option.path] = value
        else:
            waiting.append(option.path)
    return running.with_values(values), tuple(values), tuple(waiting)
