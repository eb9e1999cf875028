"""From the configuration to the screen and back: whatever happens, the terminal is restored."""

import asyncio
import contextlib
import logging
import os
import signal
import sys
from typing import Final

from p2ptui.config import Config, config_warnings, unavailable_options
from p2ptui.errors import LocalError
from p2ptui.node import Node
from p2ptui.tui.app import P2PApp, default_history

EXIT_FAILED: Final = 1
EXIT_TERMINATED: Final = 143


def run_screen(config: Config) -> int:
    """Run a node with its screen until the user leaves.

    Args:
        config: Every option.

    Returns:
        The exit code: 0 if the user left, 1 if it failed, 143 after SIGTERM.

    Raises:
        P2PError: There is no terminal, or the node cannot start.
    """
    served = "TEXTUAL_DRIVER" in os.environ  # a browser stands in for the terminal
    if not served and not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise LocalError("the screen needs a terminal; without one use --no-ui")
    return asyncio.run(_run(config))


async def _run(config: Config) -> int:
    async with Node(config) as node:
        app = P2PApp(node, default_history())
        for warning in config_warnings(config):
            app.note(warning, "warn")
        if missing := unavailable_options(config):
            app.note(f"not available yet, ignored: {', '.join(missing)}", "warn")
        handler = _NoteHandler(app)
        logger = logging.getLogger("p2ptui")
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
        with contextlib.suppress(NotImplementedError):  # Windows has no such signal to handle
            asyncio.get_running_loop().add_signal_handler(
                signal.SIGTERM, app.exit, EXIT_TERMINATED, EXIT_TERMINATED, "terminated"
            )
        try:
            await app.run_async()
        finally:
            logger.removeHandler(handler)
        return app.return_code or 0


class _NoteHandler(logging.Handler):
    """What the node logs becomes a note of the message log."""

    def __init__(self, app: P2PApp) -> None:
        super().__init__()
        self._app = app

    def emit(self, record: logging.LogRecord) -> None:
        level = "warn" if record.levelno >= logging.WARNING else "info"
        self._app.note(record.getMessage(), level)
