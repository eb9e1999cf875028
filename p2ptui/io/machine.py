"""The machine under a node, as far as it can move: its ways to others, and its sleep."""

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
    """The index of the interface; 0 where it is not known."""
    gateway: str = ""
    """The first router, if there is one and it is known."""


class Machine(Protocol):
    """What a node asks of it."""

    def way_to(self, host: str, local_host: str, /) -> Way | None:
        """How a datagram to a literal IP would leave a socket bound at an address; None: not."""

    def watch(self, on_change: Callable[[dict[int, bool]], None], /) -> Stop | None:
        """Have each change of addresses, links and routes told, until stopped.

        Args:
            on_change: Told of the interfaces, by index, that were spoken of, and whether each has
                a carrier.

        Returns:
            What ends it; None if this system tells nothing: it must be looked up then.
        """

    def asleep_s(self) -> float:
        """How long the machine has slept since some moment, or clocks were set forward, seconds."""


class StillMachine:
    """One that never moves: that of a simulated network."""

    def way_to(self, _host: str, local_host: str) -> Way | None:
        """Always the same."""
        return Way(local_host)

    def watch(self, _on_change: Callable[[dict[int, bool]], None]) -> Stop | None:
        """Nothing is ever told."""
        return lambda: None

    def asleep_s(self) -> float:
        """Never."""
        return 0.0


class RealMachine:
    """The one that this program runs on."""

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
        except OSError:  # not everywhere: some containers have none
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
        """The clock that goes on in sleep, less the one that stands still; see `Machine`."""
        if sys.platform == "linux":
            return time.clock_gettime(time.CLOCK_BOOTTIME) - time.monotonic()
        # A wall clock that was set looks the same: peers are asked then, and that is all.
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
