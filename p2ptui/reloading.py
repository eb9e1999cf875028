"""SIGHUP to a node without a screen: it reopens the log, and rereads the configuration."""

import asyncio
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from msgspec.structs import asdict

from p2ptui.config import Config, config_warnings
from p2ptui.config.reload import take_over
from p2ptui.errors import P2PError
from p2ptui.logs import configure_logging
from p2ptui.node import Node
from p2ptui.tagged import tagged

log = logging.getLogger("p2ptui.headless")


_read: ContextVar[Callable[[], Config] | None] = ContextVar("_read", default=None)


@contextmanager
def read_again_with(read: Callable[[], Config]) -> Iterator[None]:
    """A node that is run within this rereads its configuration with this function."""
    before = _read.set(read)
    try:
        yield
    finally:
        _read.reset(before)


@dataclass
class Reloading:
    """A headless node's configuration, as it was last read.

    Args:
        config: The configuration at the start.
        read: Rereads it; by default the function of the `read_again_with` around it, and without
            one it stays the same.
    """

    config: Config
    read: Callable[[], Config] | None = None

    def __post_init__(self) -> None:
        self._changed = asyncio.Event()
        if self.read is None:
            self.read = _read.get()

    async def pause(self, seconds: float | None) -> bool:
        """Wait this long (None: without limit), or until something has changed; return whether it
        has.
        """
        try:
            async with asyncio.timeout(seconds):
                await self._changed.wait()
        except TimeoutError:
            return False
        return True

    def run(self, node: Node) -> None:
        """Reload. An unusable configuration is one line in the log, and everything stays as it was;
        the log file is reopened all the same, since it may have been moved.
        """
        try:
            read = self.config if self.read is None else self.read()
            config, changed, waiting = take_over(self.config, read)
        except P2PError as error:
            self._open_log(self.config)
            log.error(  # noqa: TRY400 - one line tells it
                "SIGHUP: the configuration was not applied: %s; the old values stay in effect",
                error,
                extra=tagged("reload_refused", reason=str(error)),
            )
            return
        if not self._open_log(config):
            kept = {f"logging.{name}": value for name, value in asdict(self.config.logging).items()}
            config = config.with_values(kept)
            changed = tuple(name for name in changed if name not in kept)
        if changed:
            for warning in config_warnings(config):
                log.warning("%s", warning, extra=tagged("config_warning"))
        try:
            node.reload(config)
            node.trace(enabled=log.isEnabledFor(logging.DEBUG))
        except P2PError as error:
            log.info(
                "SIGHUP: too late: %s", error, extra=tagged("reload_too_late", reason=str(error))
            )
            return
        self.config = config
        log.info(
            "SIGHUP: new values: %s",
            ", ".join(changed) or "none",
            extra=tagged("reloaded", options=list(changed)),
        )
        if waiting:
            log.warning(
                "needs a restart: %s",
                ", ".join(waiting),
                extra=tagged("restart_needed", options=list(waiting)),
            )
        self._changed.set()
        self._changed.clear()

    def _open_log(self, config: Config) -> bool:
        """Log from now on according to these options; False, and a line in the log, if that
        fails.
        """
        try:
            configure_logging(config.logging, verbose=config.server.verbose_logging)
        except P2PError as error:
            log.error(  # noqa: TRY400 - one line tells it
                "SIGHUP: the log stays where it is: %s",
                error,
                extra=tagged("log_not_reopened", reason=str(error)),
            )
            return False
        return True
