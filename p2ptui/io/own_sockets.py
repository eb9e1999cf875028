"""A socket for each address of this machine, used as one, for systems that do not tell which
address a datagram went to.

A socket bound to an address knows which address was asked, and answers from there.
"""

import asyncio
import errno
import functools
import logging
import operator
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Final

from p2ptui.errors import BindError
from p2ptui.io.datagrams import NOTHING, DatagramSocket, SocketCounters
from p2ptui.io.interfaces import broadcast_addresses, local_addresses
from p2ptui.io.kernel_choice import KernelChoice
from p2ptui.tagged import tagged
from p2ptui.wire.address import LIMITED_BROADCAST, Address, AskedAddress, ip_version, own_host

log = logging.getLogger("p2ptui.node")

ADDRESSES_S: Final = 1.0
"""How often this machine's addresses are looked up, which takes less than a millisecond."""

PORT_TRIES: Final = 8
"""A port that is free on the wildcard may be taken at one address before that is bound."""


class _Member:
    """One of the sockets, and the task that waits for it."""

    def __init__(self, host: str, sock: DatagramSocket, *, answers: bool) -> None:
        self.host = host
        self.socket = sock
        self.own = host.partition("%")[0] if answers else ""
        self.version = ip_version(host)
        self.taken = asyncio.Event()
        """Set when what the socket had was read."""
        self.task: asyncio.Task[None] | None = None


class SocketPerAddress:
    """Stands for all these sockets, like one socket on the wildcard; see `DatagramSocket`.

    Make it with `open`. It follows the addresses of the machine until it is closed.

    Args:
        local: The wildcard, and the port of all sockets.
        open_one: Binds one address.
        look_up: Returns this machine's addresses; None: asks the system.
    """

    def __init__(
        self,
        local: Address,
        open_one: Callable[[Address], Awaitable[DatagramSocket]],
        look_up: Callable[[], list[str]] | None = None,
    ) -> None:
        self._local = local
        self._open_one = open_one
        self._look_up = look_up or local_addresses
        self._loop = asyncio.get_running_loop()
        self._choice = KernelChoice()
        self._members: dict[str, _Member] = {}
        self._readable: dict[_Member, None] = {}
        self._ready = asyncio.Event()
        self._closed = False
        self._follower: asyncio.Task[None] | None = None
        self._past: SocketCounters | None = None
        """The counters of sockets that are closed by now."""

    @classmethod
    async def open(
        cls,
        address: Address,
        take_port: Callable[[Address], int],
        open_one: Callable[[Address], Awaitable[DatagramSocket]],
        look_up: Callable[[], list[str]] | None = None,
    ) -> "SocketPerAddress":
        """Bind every address of this machine.

        Args:
            address: The wildcard, and a port, or 0 for one that is free everywhere.
            take_port: Returns the port for the wildcard, or raises why it cannot be had.
            open_one: Binds one address.
            look_up: Returns this machine's addresses; None: asks the system.

        Raises:
            BindError: The port is taken at one of them.
        """
        tries = 1 if address[1] else PORT_TRIES
        while True:
            tries -= 1
            made = cls((address[0], take_port(address)), open_one, look_up)
            try:
                await made._update(at_start=True)
            except BindError:
                made.close()
                if not tries:
                    raise
            except BaseException:
                made.close()
                raise
            else:
                made._follower = made._own(made._follow(), "own addresses")
                return made

    def _own(self, work: "Awaitable[None]", name: str) -> "asyncio.Task[None]":
        task = asyncio.ensure_future(work)
        assert isinstance(task, asyncio.Task)
        task.set_name(name)
        task.add_done_callback(self._handle_task_end)
        return task

    def _handle_task_end(self, task: "asyncio.Task[None]") -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error(
                "the sockets of this machine's addresses failed",
                exc_info=error,
                extra=tagged("sockets_failed", reason=str(error)),
            )
            self.close()

    # The machine's addresses.

    async def _follow(self) -> None:
        while True:
            await asyncio.sleep(ADDRESSES_S)
            await self._update()

    def _wanted(self) -> dict[str, bool]:
        """The addresses to bind, and whether datagrams may leave from there."""
        both = ip_version(self._local[0]) == 6
        wanted = {host: True for host in self._look_up() if both or ip_version(host) == 4}
        # A socket of one address gets no broadcasts, except on Windows; one bound to those does.
        return dict.fromkeys((LIMITED_BROADCAST, *broadcast_addresses()), False) | wanted

    async def _update(self, *, at_start: bool = False) -> None:
        wanted = self._wanted()
        for member in list(self._members.values()):
            if member.host not in wanted or member.socket.closed:
                self._remove(member)
        for host, answers in wanted.items():
            if host in self._members:
                continue
            try:
                sock = await self._open_one((host, self._local[1]))
            except BindError as error:
                if at_start and answers and _is_taken(error):
                    raise
                # Too new, gone again, or taken by another program: it will be tried again.
                log.debug(
                    "%s",
                    error,
                    extra=tagged(
                        "socket_not_opened",
                        host=host,
                        reason=str(error),
                    ),
                )
                continue
            if self._closed:
                sock.close()
                return
            member = self._members[host] = _Member(host, sock, answers=answers)
            member.task = self._own(self._watch(member), f"socket at {host}")
            self._choice.forget()

    def _remove(self, member: _Member) -> None:
        del self._members[member.host]
        self._readable.pop(member, None)
        self._choice.forget()
        if member.task is not None:
            member.task.cancel()
        member.socket.close()
        past = member.socket.counters()
        self._past = past if self._past is None else self._past + past

    async def _watch(self, member: _Member) -> None:
        while not member.socket.closed:
            await member.socket.wait()
            member.taken.clear()
            self._readable[member] = None
            self._ready.set()
            await member.taken.wait()

    # What a socket does.

    @property
    def local_address(self) -> Address:
        """The wildcard that they stand for, and their port."""
        return self._local

    @property
    def closed(self) -> bool:
        """True after `close`."""
        return self._closed

    async def wait(self) -> None:
        """Return when a datagram may be readable, or the socket is `closed`."""
        await self._ready.wait()

    def drain(self, budget: int) -> list[tuple[bytes, Address]]:
        """Take at most `budget` datagrams; see `DatagramSocket.drain`."""
        received: list[tuple[bytes, Address]] = []
        # A socket with more goes to the end, behind those that have waited.
        for member in list(self._readable):
            left = budget - len(received)
            if left < 1:
                break
            batch = member.socket.drain(left)
            own = member.own
            received += [(data, AskedAddress(a, own) if own else a) for data, a in batch]
            del self._readable[member]
            if len(batch) < left:
                member.taken.set()
            else:
                self._readable[member] = None
        if not self._readable and not self._closed:
            self._ready.clear()
        return received

    def send(
        self,
        data: bytes,
        address: Address,
        *,
        ttl: int | None = None,
        unfragmented: bool = False,
    ) -> None:
        """Send one datagram from the address that was asked; see `DatagramSocket.send`."""
        member = self._member_towards(address)
        if member is not None:
            member.socket.send(data, address, ttl=ttl, unfragmented=unfragmented)

    def send_all(self, datagrams: Sequence[tuple[bytes, Address]]) -> None:
        """Send each from the address that was asked, those from the same address together."""
        by_member: dict[_Member, list[tuple[bytes, Address]]] = {}
        for datagram in datagrams:
            member = self._member_towards(datagram[1])
            if member is not None:
                by_member.setdefault(member, []).append(datagram)
        for member, batch in by_member.items():
            member.socket.send_all(batch)

    def _member_towards(self, address: Address) -> _Member | None:
        version, scope = ip_version(address[0]), address[0].partition("%")[2]
        for own in (own_host(address), self._choice.towards(address[0])):
            if own is None:
                continue
            member = self._members.get(f"{own}%{scope}" if scope else own, self._members.get(own))
            if member is not None:
                return member
        senders = (member for member in self._members.values() if member.own)
        # With one of the other IP version the destination is blamed, as with a single socket.
        return min(senders, key=lambda member: member.version != version, default=None)

    def next_send_failure(self) -> tuple[Address, OSError] | None:
        """Take the oldest failure of one of them that was not asked for."""
        failures = (member.socket.next_send_failure() for member in self._members.values())
        return next((failure for failure in failures if failure is not None), None)

    def counters(self) -> SocketCounters:
        """What happened so far, at all of them."""
        return functools.reduce(operator.add, self._all_counters(), NOTHING)

    def _all_counters(self) -> Iterator[SocketCounters]:
        if self._past is not None:
            yield self._past
        for member in self._members.values():
            yield member.socket.counters()

    def close(self) -> None:
        """Release the addresses and wake all waiting tasks; calling it again is harmless."""
        self._closed = True
        if self._follower is not None:
            self._follower.cancel()
        for member in list(self._members.values()):
            self._remove(member)
        self._choice.forget()
        self._ready.set()


def _is_taken(error: BindError) -> bool:
    cause = error.__cause__
    return isinstance(cause, OSError) and cause.errno == errno.EADDRINUSE
