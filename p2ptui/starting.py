"""What a configuration needs of this machine, looked at before a node starts.

A start and `--check-config` both ask here, so that they refuse the same, and warn of the same.
"""

from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from p2ptui.config import ClusterOptions, Config, config_warnings
from p2ptui.errors import ConfigError, LocalError
from p2ptui.logs import require_log_file
from p2ptui.node.files import open_store
from p2ptui.node.own_identity import identity_notices, require_keys_for_cluster
from p2ptui.operating import advice, metrics_notices
from p2ptui.ordinary import open_ordinary
from p2ptui.text import cause


class Findings(NamedTuple):
    """What is allowed but will surprise, one line each."""

    warnings: tuple[str, ...]
    """Of the options, and of this machine."""
    notices: tuple[str, ...]
    """What parts of a node say of themselves once they run: keys, cluster, metrics."""


def examine(config: Config) -> Findings:
    """Look at everything that a start reads, writes or imports; nothing is made or changed.

    What only this moment decides is left to the start: whether a port is free, and whether another
    node uses the identity. The screen has options of its own.

    Args:
        config: Every option.

    Raises:
        ConfigError: A node cannot start with it.
    """
    require_log_file(config.logging)
    try:
        open_store(config)
    except LocalError as error:
        raise ConfigError(str(error)) from None
    require_keys_for_cluster(config)
    notices = (
        *identity_notices(config),
        *_cluster_notices(config.cluster),
        *metrics_notices(config.metrics),
    )
    return Findings((*config_warnings(config), *advice(config)), notices)


def _cluster_notices(options: ClusterOptions) -> tuple[str, ...]:
    """What keeps this server from its broker, as far as it is seen from here.

    Raises:
        ConfigError: A file cannot be read.
    """
    if not options.servers:
        return ()
    named = {
        "credentials": options.credentials,
        "tls_ca": options.tls_ca,
        "tls_cert": options.tls_cert,
        "tls_key": options.tls_key,
    }
    for name, path in named.items():
        try:
            if path:
                open_ordinary(Path(path)).close()
        except OSError as error:
            raise ConfigError(f"cluster.{name}: {path} cannot be read: {cause(error)}") from None
    if find_spec("nats"):
        return ()
    from p2ptui.io.nats_trouble import INSTALL

    return (INSTALL,)
