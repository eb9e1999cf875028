"""From the configuration to the screen and back: whatever happens, the terminal is restored."""

import logging
import os
import signal
import sys
from collections.abc import Sequence

from p2ptui.config import Config
from p2ptui.errors import LocalError
from p2ptui.io.loop import run
from p2ptui.io.signals import ENDING, EXIT_BY_SIGNAL, handle_signals
from p2ptui.logs import configure_logging, shutdown_logging
from p2ptui.node import Node, diagnoses_at_start
from p2ptui.operating import log_statistics, serving_metrics
from p2ptui.starting import examine
from p2ptui.tui.app import P2PApp
from p2ptui.tui.history import History
from p2ptui.tui.keymap import check_ui_options
from p2ptui.tui.settings import Settings, history_path, settings_path


def run_screen(config: Config, *, key_log: str | None = None, warnings: Sequence[str] = ()) -> int:
    """Run a node with its screen until the user leaves.

    Args:
        config: Every option.
        key_log: Where the keys of sessions are written, for debugging; None: nowhere.
        warnings: What is wrong with the configuration files, one line each.

    Returns:
        The exit code: 0 if the user left, 1 if it failed, 143 after SIGTERM, 129 after SIGHUP.

    Raises:
        ConfigError: A node with a screen cannot start with it.
        P2PError: There is no terminal, or the node cannot start.
    """
    warnings = (*warnings, *examine(config).warnings)
    check_ui_options(config.ui)
    served = "TEXTUAL_DRIVER" in os.environ  # a browser stands in for the terminal
    if not served and not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise LocalError("the screen needs a terminal; without one use --no-ui")
    if not served and os.environ.get("TERM") == "dumb":
        raise LocalError(
            "the screen needs a terminal that can place its cursor, and TERM is dumb; use --no-ui"
        )
    # Textual draws to it everywhere except on Windows: in a file nobody would see the screen.
    if not served and sys.platform != "win32" and not sys.stderr.isatty():
        raise LocalError(
            "the screen is drawn on standard error, which is no terminal here: do not redirect it;"
            " for a log set logging.log_to_file"
        )
    # Output meant for standard error becomes notes; a log file is written nevertheless.
    with open(os.devnull, "w", encoding="utf-8") as nowhere:
        configure_logging(config.logging, nowhere, verbose=config.server.verbose_logging)
        try:
            return run(_run(config, key_log, warnings), fast=True)
        finally:
            shutdown_logging()


async def _run(config: Config, key_log: str | None, warnings: Sequence[str]) -> int:
    node = Node(config) if key_log is None else Node(config, key_log=key_log)
    async with serving_metrics(node, config), node:
        app = P2PApp(
            node,
            History(history_path()),
            options=config.ui,
            settings=Settings(settings_path()),
            diagnose=diagnoses_at_start(config, node.address),
        )
        for warning in warnings:
            app.note(warning, "warn")
        for notice in node.own_identity.notices:
            app.note(notice, "warn")
        handler = _NoteHandler(app)
        logger = logging.getLogger("p2ptui")
        logger.addHandler(handler)
        _leave_when_asked(app)
        handle_signals(lambda _: log_statistics(node), "SIGUSR1")
        try:
            await app.run_async()
        finally:
            logger.removeHandler(handler)
        # Without one the user did not leave: it failed in an unforeseen way.
        return 1 if app.return_code is None else app.return_code


def _leave_when_asked(app: P2PApp) -> None:
    """End politely when asked to, and when the terminal is gone."""

    def leave(number: signal.Signals) -> None:
        code = EXIT_BY_SIGNAL + number
        said = "terminated" if number is signal.SIGTERM else "the terminal was closed"
        app.exit(code, code, f"p2ptui: {said}")

    handle_signals(leave, *ENDING)


class _NoteHandler(logging.Handler):
    """What the node logs becomes a note of the message log, unless events report it."""

    def __init__(self, app: P2PApp) -> None:
        super().__init__()
        self._app = app

    def emit(self, record: logging.LogRecord) -> None:
        if getattr(record, "is_event", False):
            return
        level = "warn" if record.levelno >= logging.WARNING else "info"
        self._app.note(record.getMessage(), level)
