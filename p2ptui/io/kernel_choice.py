"""Which of this machine's addresses the system would send from by itself."""

import asyncio
from collections.abc import Callable
from typing import Final

from p2ptui.io.interfaces import source_host

CHOICE_S: Final = 1.0
"""Everything known is forgotten after this: a machine's routes and addresses change."""

WORTH_LOOKING: Final = 16
"""Datagrams to a host within that time before its route is looked up: a look-up costs as much as
naming the source of ten datagrams, and strangers never get that far.
"""

MAX_CHOICES: Final = 1024
"""Hosts that are known at a time. For others the source is named, which is never wrong."""


class KernelChoice:
    """Knows, for busy hosts, the address that the system would send from.

    It only saves time: senders name the source unless it is certain to be the system's choice.

    Args:
        look_up: The source address towards a literal host and a port, or None.
    """

    def __init__(self, look_up: Callable[[str, int], str | None] = source_host) -> None:
        self._look_up = look_up
        self._loop = asyncio.get_running_loop()
        self.known: dict[str, str | int] = {}
        """The choice, empty if there is no route; or how often the host was asked for."""
        self.period = object()
        """Replaced as soon as what is known is forgotten: a caller that keeps it with an answer of
        `is_certain` need not ask again while it is the same.
        """
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self.known)

    def is_certain(self, host: str, own: str) -> bool:
        """Whether datagrams to a host are known to leave from `own` without naming the source.

        Args:
            host: A literal IP address.
            own: An address of this machine, without a scope.
        """
        known = self.known.get(host, 0)
        if known.__class__ is str:
            return known == own
        if isinstance(known, int) and known + 1 < WORTH_LOOKING:
            self._remember(host, known + 1)
            return False
        return self.towards(host) == own

    def towards(self, host: str) -> str | None:
        """The address, without a scope, that the system would send from; None without a route."""
        known = self.known.get(host)
        if not isinstance(known, str):
            known = (self._look_up(host, 9) or "").partition("%")[0]
            self._remember(host, known)
        return known or None

    def _remember(self, host: str, value: str | int) -> None:
        if host not in self.known and len(self.known) >= MAX_CHOICES:
            return
        if self._timer is None:
            self._timer = self._loop.call_later(CHOICE_S, self.forget)
        self.known[host] = value

    def forget(self) -> None:
        """Look everything up again when needed; no timer runs afterwards."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self.known.clear()
        self.period = object()
