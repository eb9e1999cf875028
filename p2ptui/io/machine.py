"""The machine under a node, as far as it can move: its routes to others, and its sleep."""

import asyncio
import errno
import socket
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final, NamedTuple, Protocol

from p2ptui.io.interfaces import source_host
from p2ptui.io.netlink import find_route, open_changes, read_changes
from p2ptui.wire.address import Address, is_wildcard

_ANY_PORT: Final = 9

Stop = Callable[[], None]


class Way(NamedTuple):
    """How a datagram leaves this machine."""

    source: str
    """The address that it leaves from."""
    interface: int = 0
    """The index of the interface; 0 if unknown."""
    gateway: str = ""
    """The first router; empty if there is none or it is unknown."""


class Machine(Protocol):
    """What a node asks of its machine."""

    def way_to(self, host: str, local_host: str, /) -> Way | None:
        """How a datagram to a literal IP would leave a socket bound to an address; None: it would
        not.
        """

    def watch(self, on_change: Callable[[dict[int, bool]], None], /) -> Stop | None:
        """Report each change of addresses, links and routes, until stopped.

        Args:
            on_change: Called with the affected interfaces, by index, and whether each has a
                carrier.

        Returns:
            A function that ends it; None if this system reports nothing: then callers must poll.
        """

    def asleep_s(self) -> float:
        """How long the machine has slept since some moment, or clocks were set forward, seconds."""


class StillMachine:
    """A machine that never moves, for simulated networks."""

    def way_to(self, _host: str, local_host: str) -> Way | None:
        """Always the same."""
        return Way(local_host)

    def watch(self, _on_change: Callable[[dict[int, bool]], None]) -> Stop | None:
        """Never reports anything."""
        return lambda: None

    def asleep_s(self) -> float:
        """Never sleeps."""
        return 0.0


class RealMachine:
    """The machine that this program runs on."""

    def way_to(self, host: str, local_host: str) -> Way | None:
        """How a datagram would leave; see `Machine`."""
        bound = None if is_wildcard(local_host) else local_host
        if bound is not None and not _is_own(bound):
            return None
        source = bound or source_host(host, _ANY_PORT)
        if source is None:
            return None
        if sys.platform == "linux":
            with suppress(OSError, ValueError):
                route = find_route(host, bound)
                return None if route is None else Way(source, *route)
        return Way(source)

    def watch(self, on_change: Callable[[dict[int, bool]], None]) -> Stop | None:
        """Netlink, on Linux; see `Machine`."""
        if sys.platform != "linux":
            return None
        loop = asyncio.get_running_loop()
        try:
            link = open_changes()
        except OSError:  # some containers have no netlink
            return None
        try:
            loop.add_reader(link.fileno(), lambda: on_change(read_changes(link)))
        except NotImplementedError:
            link.close()
            return None

        def stop() -> None:
            if not loop.is_closed():
                loop.remove_reader(link.fileno())
            link.close()

        return stop

    def asleep_s(self) -> float:
        """The clock that runs during sleep, minus the one that stands still; see `Machine`."""
        if sys.platform == "linux":
            return time.clock_gettime(time.CLOCK_BOOTTIME) - time.monotonic()
        # Setting the wall clock looks the same: then peers are asked, and nothing else happens.
        return time.time() - time.monotonic()


def _is_own(host: str) -> bool:
    """Whether this machine has an address at present."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        address: Address = (host, 0)
        with socket.socket(family, socket.SOCK_DGRAM) as sock:
            sock.bind(address)
    except OSError as error:
        return error.errno != errno.EADDRNOTAVAIL
    return True
