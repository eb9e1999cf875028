"""A configuration looked at without starting a node: what it names must be there, too."""

import os

from p2ptui.config import ClusterOptions, Config, config_warnings
from p2ptui.config.security_section import OPEN_BY_ID, key_notices
from p2ptui.node.own_identity import network_key_of


def check_config(config: Config) -> list[str]:
    """What is allowed but will surprise, one line each.

    Raises:
        ConfigError: A key, an action or a theme that there is not.
        KeyFileError: The file of the network key cannot be used.
    """
    network_key = network_key_of(config)
    if config.ui.keys or config.ui.theme:
        from p2ptui.tui.keymap import check_ui_options

        check_ui_options(config.ui)
    cluster = _cluster_notices(config.cluster)
    of_keys = key_notices(config.security, network_key)
    return [
        *([OPEN_BY_ID] if config.server.node_id else []),
        *of_keys,
        *cluster,
        *config_warnings(config),
    ]


def _cluster_notices(options: ClusterOptions) -> list[str]:
    """What keeps this server from its broker, as far as it is seen from here."""
    if not options.servers:
        return []
    from importlib.util import find_spec

    from p2ptui.io.nats_trouble import INSTALL

    named = {
        "credentials": options.credentials,
        "tls_ca": options.tls_ca,
        "tls_cert": options.tls_cert,
        "tls_key": options.tls_key,
    }
    missing = [
        f"cluster.{name}: {path} is no file that can be read"
        for name, path in named.items()
        if path and not os.access(path, os.R_OK)
    ]
    return [*([] if find_spec("nats") else [INSTALL]), *missing]
