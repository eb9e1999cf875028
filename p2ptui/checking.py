"""Checks a configuration without starting a node: what it names must exist, too."""

import argparse
import sys
from collections.abc import Mapping

from p2ptui.commands.answer import Answer
from p2ptui.config import Config
from p2ptui.config.file_rights import file_warnings
from p2ptui.config.load import files_to_read, load_config
from p2ptui.starting import examine


def show_config(
    options: argparse.Namespace, overrides: Mapping[str, object], environ: Mapping[str, str]
) -> int:
    """Print what was asked for.

    Args:
        options: The options of the command line.
        overrides: The values that it sets, by option path.
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
            config = load_config(files, environ, overrides)
            found = check_config(config, screen=not options.no_ui)
            warnings = [*found, *file_warnings(files, config)]
            for warning in warnings:
                print(f"p2ptui: {warning}", file=sys.stderr)
            answer.tell({"valid": True, "warnings": warnings})
            text = "the configuration is valid\n"
        if not options.json:
            print(text, end="")
    return 0


def check_config(config: Config, *, screen: bool = True) -> list[str]:
    """What is valid but surprising, one line each: everything that a start would warn of.

    Args:
        config: Every option.
        screen: Whether the node is to have a screen.

    Raises:
        ConfigError: A node cannot start with this configuration.
    """
    found = examine(config)
    if screen and (config.ui.keys or config.ui.theme):
        from p2ptui.tui.keymap import check_ui_options

        check_ui_options(config.ui)
    return [*found.notices, *found.warnings]
