"""The first requests to STUN servers: all at once, once more if none answers, and the best is
chosen.

One time budget covers looking names up and waiting: a server whose address is known is asked at
once, and no slow name is waited for longer than the servers are.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Coroutine, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, Final, TypeAlias

from p2ptui.core.sessions.race import STAGGER_S
from p2ptui.errors import BindError
from p2ptui.io.advice import refusal_reason
from p2ptui.io.refusal import Refusal
from p2ptui.io.resolve import is_literal
from p2ptui.io.stun_client import AGAIN, CONTACT, Schedule, StunClient
from p2ptui.node.stun_servers import (
    RESOLVE_S,
    Announced,
    Contact,
    KnownServer,
    Resolve,
    beyond_nat,
    look_up,
    unfound,
)
from p2ptui.wire.address import Address, ip_version

BUDGET_S: Final = 2.6
"""The time for look-up and contact together: "blocked" is reported within three seconds."""

AGAIN_S: Final = 0.8
"""After this much silence from all servers a second socket asks: a NAT may lose all packets of one
flow, for example if the outside port that it computes for the flow is taken.
"""

GRACE_S: Final = 0.05
"""Wait after the first answer, besides twice its round trip: a server that can do more may be a
little slower.
"""

OWN_SIDE_S: Final = 0.4
"""Wait after the first answer, while all servers that answered see this machine's own address: they
may be on this side of a NAT, and those beyond it are further away.
"""

SETTLED_S: Final = 1.2
"""How long to wait for a second server if one alone does not show the mapping."""

IPV4_FIRST_S: Final = 0.9
"""After this, IPv6 is taken if IPv4 is still silent: a report may take two seconds, and at 10 %
loss each way IPv4 is silent for this long once in 4,000 times.
"""

OpenClient: TypeAlias = Callable[[int], Awaitable[StunClient]]
"""Opens a client for an IP version, 4 or 6."""
FindRefusal: TypeAlias = Callable[[Address], Awaitable[str | None]]
"""See `p2ptui.io.refusal.find_refusal`."""
IsNode: TypeAlias = Callable[[Address], Awaitable[bool]]
"""Whether there is a node at an address, as far as can be found out in a second."""


class FirstContact:
    """Asks as long as `asking` lasts: a late answer still counts as one more witness.

    Args:
        targets: The servers, by the text in which they were given.
        open_client: Opens sockets; the caller closes them.
        own_hosts: The IP addresses of this machine; a socket's own may be added.
        announced: Which servers are joined nodes.
        resolve: Looks a name up.
        find_refusal: Asks whether a machine itself says that nothing listens at an address.
        is_node: Asks whether there is a node at an address.
    """

    def __init__(
        self,
        targets: Sequence[tuple[str, Address]],
        open_client: OpenClient,
        own_hosts: Collection[str],
        announced: Announced,
        resolve: Resolve,
        find_refusal: FindRefusal | None,
        is_node: IsNode | None = None,
    ) -> None:
        self._targets = targets
        self._open_client = open_client
        self._own_hosts = own_hosts
        self._announced = announced
        self._resolve = resolve
        self._find_refusal = find_refusal
        self._is_node = is_node
        self._loop = asyncio.get_running_loop()
        self._began = self._loop.time()
        self._known: dict[str, list[KnownServer]] = {text: [] for text, _ in targets}
        self._clients: dict[int, StunClient | BindError] = {}
        self._changed = asyncio.Event()
        self._looking_up = 0
        self._first_answer_at: dict[int, float] = {}
        self._opening = asyncio.Lock()
        self._tasks: list[asyncio.Task[None]] = []

    @asynccontextmanager
    async def asking(self) -> AsyncIterator[None]:
        """Ask; at the end everything still pending is given up."""
        async with asyncio.TaskGroup() as self._group:
            try:
                for text, address in self._targets:
                    if not is_literal(address[0]):
                        self._looking_up += 1
                        self._begin(self._find(text, address))
                for text, address in self._targets:
                    if is_literal(address[0]):
                        self._known[text] = [KnownServer(text, address)]
                        await self._ask(self._known[text][0])
                self._begin(self._ask_again())
                yield
            finally:
                for task in self._tasks:
                    task.cancel()

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        self._tasks.append(self._group.create_task(work))

    @property
    def servers(self) -> list[KnownServer]:
        """All servers, in the order in which they were given."""
        return [
            server
            for text, _ in self._targets
            for server in self._known[text] or [unfound(text, _SLOW)]
        ]

    def of_version(self, version: int) -> list[KnownServer]:
        """The servers of an IP version."""
        return [s for s in self.servers if s.address and ip_version(s.address[0]) == version]

    async def choose(self) -> KnownServer | None:
        """The quickest server, or one a little slower that can do more; None if all are silent.

        IPv4 is preferred: it is IPv4 that NATs translate.

        Raises:
            BindError: No socket could be opened at all.
        """
        while True:
            self._changed.clear()
            passed_s = self._loop.time() - self._began
            first, hold_v4 = self._pick(4)
            second, hold_v6 = self._pick(6)
            is_v4_over = not self._is_pending(4) or passed_s >= IPV4_FIRST_S
            if first is not None:
                return first
            if second is not None and hold_v4 is None and is_v4_over:
                return second
            is_over = not (self._is_pending(4) or self._is_pending(6))
            if is_over or passed_s >= BUDGET_S:
                self._raise_if_no_socket()
                return second
            limits = [limit for limit in (hold_v4, hold_v6) if limit is not None]
            limits += [self._began + limit for limit in (IPV4_FIRST_S, BUDGET_S)]
            await self._wait_until(min(at for at in limits if at > self._loop.time()))

    async def settle(self, version: int) -> bool:
        """Wait a little for one more server; returns whether one answered."""
        limit = self._began + SETTLED_S
        before = self._count(version)
        while self._is_pending(version) and self._loop.time() < limit:
            self._changed.clear()
            await self._wait_until(limit)
            if self._count(version) > before:
                return True
        return False

    def _count(self, version: int) -> int:
        return sum(server.mapped is not None for server in self.of_version(version))

    def _pick(self, version: int) -> tuple[KnownServer | None, float | None]:
        """The best of an IP version, if that is clear; otherwise until when to wait for others."""
        answered = beyond_nat(self.of_version(version), self._own_hosts)
        if not answered:
            return None, None
        now = self._loop.time()
        began = self._first_answer_at.setdefault(version, now)
        answered.sort(key=lambda server: server.rtt_s)
        able = [server for server in answered if server.other is not None]
        best = (able or answered)[0]
        limit = began + 2 * answered[0].rtt_s + GRACE_S
        if best.mapped is not None and best.mapped[0] in self._own_hosts:
            limit = began + OWN_SIDE_S
        elif able:
            return best, None
        if now >= limit or not self._is_pending(version):
            return best, None
        return None, limit

    def _is_pending(self, version: int) -> bool:
        return self._looking_up > 0 or any(s.is_pending for s in self.of_version(version))

    async def _wait_until(self, limit: float) -> None:
        try:
            async with asyncio.timeout_at(limit):
                await self._changed.wait()
        except TimeoutError:
            pass

    async def _find(self, text: str, address: Address) -> None:
        try:
            async with asyncio.timeout(RESOLVE_S):
                found = await look_up(text, address, self._resolve)
        except TimeoutError:
            found = [unfound(text, _SLOW)]
        by_version = [[s for s in found if _version(s) == version] for version in (4, 6, None)]
        async with asyncio.TaskGroup() as group:
            for servers in by_version:
                group.create_task(self._ask_in_turn(servers))
        self._looking_up -= 1
        self._changed.set()

    async def _ask_in_turn(self, servers: Sequence[KnownServer]) -> None:
        """Ask one address of a name after the other, until one answers (RFC 8305)."""
        for server in servers:
            self._known[server.text].append(server)
            await self._ask(server)
            contact = server.contact
            if contact is not None and server is not servers[-1]:
                with suppress(TimeoutError):
                    async with asyncio.timeout(STAGGER_S):
                        await contact.transaction.done.wait()
            if any(one.answer is not None for one in servers):
                return

    async def _ask(self, server: KnownServer) -> None:
        server.announced = self._announced.get(server.text, ())
        if server.address is None:
            return
        version = ip_version(server.address[0])
        async with self._opening:
            if version not in self._clients:
                try:
                    self._clients[version] = await self._open_client(version)
                except BindError as error:
                    self._clients[version] = error
        client = self._clients[version]
        if isinstance(client, BindError):
            server.give_up(f"this machine has no socket for IPv{version}")
        else:
            self._start(server, client, CONTACT)

    def _start(self, server: KnownServer, client: StunClient, schedule: Schedule) -> None:
        assert server.address is not None
        transaction = client.start(server.address, schedule)
        transaction.on_done = self._changed.set
        server.contacts.append(Contact(client, transaction))
        self._changed.set()

    async def _ask_again(self) -> None:
        await asyncio.sleep(self._began + AGAIN_S - self._loop.time())
        if any(server.answer is not None for server in self.servers):
            return
        for version in (4, 6):
            silent = [server for server in self.of_version(version) if server.is_pending]
            if not silent:
                continue
            try:
                client = await self._open_client(version)
            except BindError:
                continue
            for server in silent:
                self._start(server, client, AGAIN)
                if self._find_refusal is not None:
                    self._begin(self._note_refusal(server, self._find_refusal))
                if self._is_node is not None:
                    self._begin(self._note_node(server, self._is_node))

    async def _note_node(self, server: KnownServer, is_node: IsNode) -> None:
        assert server.address is not None
        if await is_node(server.address):
            server.is_node = True
            server.error = "a node lives there, and serves no STUN"
            self._changed.set()

    async def _note_refusal(self, server: KnownServer, find_refusal: FindRefusal) -> None:
        assert server.address is not None
        refused_by = await find_refusal(server.address)
        if refused_by is None:
            return
        if isinstance(refused_by, Refusal) and not refused_by.kind.is_port:
            server.error = f"no answer: {refusal_reason(refused_by, refused_by.kind)}"
        elif refused_by == server.address[0]:
            server.is_refused = True
            server.error = "refused: no STUN server is running there"
            self._changed.set()
        else:
            server.is_stopped = True
            server.error = f"no answer: {refused_by} does not let it pass"

    def _raise_if_no_socket(self) -> None:
        errors = [client for client in self._clients.values() if isinstance(client, BindError)]
        if errors and len(errors) == len(self._clients):
            raise errors[0]


def _version(server: KnownServer) -> int | None:
    return ip_version(server.address[0]) if server.address is not None else None


_SLOW: Final = "its name was not looked up in time"
