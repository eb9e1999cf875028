"""A configuration looked at without starting a node: what it names must be there, too."""

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path

from p2ptui.commands.answer import Answer
from p2ptui.config import ClusterOptions, Config, config_warnings
from p2ptui.config.load import files_to_read, load_config
from p2ptui.config.security_section import OPEN_BY_ID, key_notices
from p2ptui.errors import ConfigError
from p2ptui.node.own_identity import network_key_of
from p2ptui.operating import advice
from p2ptui.ordinary import open_ordinary
from p2ptui.text import cause


def show_config(
    options: argparse.Namespace, overrides: Mapping[str, object], environ: Mapping[str, str]
) -> int:
    """Print what was asked for.

    Args:
        options: What the command line says.
        overrides: What it sets, by option path.
        environ: The environment.

    Raises:
        ConfigError: The configuration cannot be used.
    """
    with Answer(options.json) as answer:
        files = files_to_read(options.config)
        if options.where:
            from p2ptui.config.where import trace_config

            where = trace_config(files, environ, overrides)
            answer.tell(where.as_json())
            text = where.as_text()
        elif options.print_config:
            from p2ptui.config.render import config_json, render_config

            config = load_config(files, environ, overrides)
            answer.tell(config_json(config))
            text = render_config(config)
        else:
            warnings = check_config(load_config(files, environ, overrides))
            for warning in warnings:
                print(f"p2ptui: {warning}", file=sys.stderr)
            answer.tell({"valid": True, "warnings": warnings})
            text = "the configuration is valid\n"
        if not options.json:
            print(text, end="")
    return 0


def check_config(config: Config) -> list[str]:
    """What is allowed but will surprise, one line each.

    Raises:
        ConfigError: A key, an action or a theme that there is not; a file of [cluster] that cannot
            be read; metrics are to be served without what writes them.
        KeyFileError: The file of the network key cannot be used.
    """
    network_key = network_key_of(config)
    if config.metrics.address:
        from p2ptui.metrics.server import require_client

        require_client()
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
        *advice(config),
    ]


def _cluster_notices(options: ClusterOptions) -> list[str]:
    """What keeps this server from its broker, as far as it is seen from here.

    Raises:
        ConfigError: A file cannot be read.
    """
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
    for name, path in named.items():
        try:
            if path:
                open_ordinary(Path(path)).close()
        except OSError as error:
            raise ConfigError(f"cluster.{name}: {path} cannot be read: {cause(error)}") from None
    return [] if find_spec("nats") else [INSTALL]
