"""Tells systemd the state of the service, as sd_notify(3) does: one datagram to the socket it
names.

None of this ever fails the node: outside systemd there is nobody to tell, and an untold state costs
no more than the manager's patience.
"""

import asyncio
import logging
import os
import socket
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Final

from p2ptui.tagged import tagged
from p2ptui.text import whole_number

log = logging.getLogger("p2ptui.service")

_MAX_USEC: Final = 2**64 - 1
"""The most microseconds: systemd counts them in 64 bits."""

_PART_OF_TIMEOUT: Final = 3
"""How often the watchdog is fed within its timeout; systemd advises twice."""


class ServiceManager:
    """The service manager that started this program and wants its state, if there is one.

    Args:
        environ: The environment, in which systemd names its socket and the watchdog's time-out.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._socket: socket.socket | None = None
        self._to = _address(environ.get("NOTIFY_SOCKET", ""))
        self.watchdog_s = _watchdog_s(environ) if self._to else None
        """A service that is silent this long is restarted; None: never."""
        self._timer: asyncio.TimerHandle | None = None
        if self._to and sys.platform != "win32":
            with suppress(OSError):
                self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
                self._socket.setblocking(False)

    @property
    def listens(self) -> bool:
        """Whether there is anyone to tell."""
        return self._socket is not None

    def ready(self, status: str) -> None:
        """The service has started, or has read its configuration again.

        Args:
            status: Its state, in one line for people.
        """
        self._tell("READY=1", f"STATUS={status}")
        self._feed()

    def reloading(self) -> None:
        """The service reads its configuration; `ready` says when that is done."""
        self._tell("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def status(self, status: str) -> None:
        """The state of the service, in one line for people."""
        self._tell(f"STATUS={status}")

    def stopping(self, status: str) -> None:
        """The service ends."""
        self._tell("STOPPING=1", f"STATUS={status}")

    def close(self) -> None:
        """Stop telling anything."""
        if self._timer is not None:
            self._timer.cancel()
        if self._socket is not None:
            self._socket.close()
        self._timer = self._socket = None

    def _feed(self) -> None:
        """Runs in the event loop itself: if that stands still, the service is not fed, and is
        restarted.
        """
        if self.watchdog_s is None or self._socket is None:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._tell("WATCHDOG=1")
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(self.watchdog_s / _PART_OF_TIMEOUT, self._feed)

    def _tell(self, *lines: str) -> None:
        if self._socket is None:
            return
        with suppress(OSError):  # nobody listens there, or not fast enough
            self._socket.sendto("\n".join(lines).encode(), self._to)


def _address(text: str) -> str:
    """The address of the socket; `@` stands for the zero byte of an abstract socket."""
    if not text or not hasattr(socket, "AF_UNIX"):
        return ""
    if text.startswith("@"):
        return "\0" + text[1:]
    if text.startswith("/"):
        return text
    log.warning(
        "cannot notify the service manager: NOTIFY_SOCKET is neither a path nor an abstract"
        " socket: %s",
        text,
        extra=tagged("service_manager_unknown", variable="NOTIFY_SOCKET", value=text),
    )
    return ""


def _watchdog_s(environ: Mapping[str, str]) -> float | None:
    text = environ.get("WATCHDOG_USEC", "")
    if not text or environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    if microseconds := whole_number(text, _MAX_USEC):
        return microseconds / 1e6
    log.warning(
        "the watchdog is off: WATCHDOG_USEC is not a number of microseconds: %s",
        text,
        extra=tagged("service_manager_unknown", variable="WATCHDOG_USEC", value=text),
    )
    return None
