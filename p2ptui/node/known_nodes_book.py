"""The known nodes of a running node: in memory at once, and in the user's file a bit later.

Judging and noting a node touches no file. A thread writes what is noted, since the disk may be slow
and datagrams do not wait; changes to the file by commands and other nodes are seen within a second.
A simulated node has no file, and knows nodes only while it runs.
"""

import asyncio
import threading
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Final, TypeVar

from p2ptui.bounded import BoundedTable
from p2ptui.io.threads import NoThreadError, in_thread
from p2ptui.node.known_nodes_store import KnownNodesStore, NotWrittenError
from p2ptui.secure.known_nodes import Judgement, KnownNode, KnownNodes, Met

MAX_UNWRITTEN: Final = 1_024
"""Nodes that were met and are not in the file yet; at half as many they are written at once."""

WRITE_PAUSE_S: Final = 5.0
"""How often, at most, the nodes that were met are written; and once more at the end."""

LOOK_S: Final = 1.0
"""How often to check whether the file has changed."""

HERE_S: Final = 600.0
"""How often connected nodes are noted as seen, if the last time is long enough ago."""

CLOSE_S: Final = 2.0
"""How long a node that ends waits, at most, for the nodes that it has met to be written."""

T = TypeVar("T")


class KnownNodesBook:
    """The known nodes of a running node.

    Args:
        wall: Unix time, seconds.
        store: The file; None: nodes are known as long as this object lives.
        in_thread: Whether the file is used by a thread.
    """

    def __init__(
        self,
        wall: Callable[[], float],
        store: KnownNodesStore | None = None,
        *,
        in_thread: bool = False,
    ) -> None:
        self._wall = wall
        self._store = store
        self._in_thread = in_thread
        self._alone = threading.Lock()
        """Its holder may use the store."""
        self._under_way: set[asyncio.Future[Any]] = set()
        """Threads that use the store."""
        self._unwritten: BoundedTable[tuple[str, str | None, bool], Met] = BoundedTable(
            MAX_UNWRITTEN
        )
        """Nodes not known to be in the file; strangers count as unproved."""
        self._since_write_s = WRITE_PAUSE_S
        self._since_seen_s = 0.0
        self._is_stuck = False
        """Whether the last write failed: then there is no hurry to try again."""
        self._known = KnownNodes() if store is None else store.known.copy()
        self._is_here: Callable[[str], bool] = lambda _: False

    @property
    def known(self) -> KnownNodes:
        """All known nodes at this moment."""
        return self._known

    @property
    def now_wall(self) -> float:
        """Unix time, seconds."""
        return self._wall()

    @property
    def has_file(self) -> bool:
        """Whether there is a file, which `keep` writes and watches."""
        return self._store is not None

    def heed(self, is_here: Callable[[str], bool]) -> None:
        """Learn which nodes are connected: these are seen now, and make no room for strangers.

        Args:
            is_here: Whether the node with an id is connected.
        """
        self._is_here = is_here
        self._known.heed(is_here)

    def judge(self, met: Met) -> Judgement:
        """Judge who is on the other side; changes nothing."""
        return self._known.judge(met)

    def note(self, met: Met) -> None:
        """Remember that a node was met; judge it first, since afterwards it is known."""
        if self._known.note(met, self._wall()) and self._store is not None:
            is_named = met.came_from is None
            self._unwritten.put((met.id, met.joined, is_named), met, proved=is_named)

    async def trust(self, ref: str, met: Met | None = None) -> KnownNode:
        """As `KnownNodesStore.trust`, which writes the file if there is one."""
        if self._store is None:
            return self._known.trust(ref, met, self._wall())
        store = self._store
        return await self._change(lambda: store.trust(ref, met))

    async def forget(self, ref: str) -> KnownNode:
        """As `KnownNodesStore.forget`, which writes the file if there is one."""
        if self._store is None:
            return self._known.forget(ref)
        store = self._store
        return await self._change(lambda: store.forget(ref))

    async def keep(self, on_change: Callable[[], Awaitable[None]]) -> None:
        """Write the nodes that this one meets, and notice what others change, until cancelled.

        Args:
            on_change: Called when somebody else has changed the file.
        """
        store = self._store
        while store is not None:
            await asyncio.sleep(LOOK_S)
            self._since_write_s += LOOK_S
            self._since_seen_s += LOOK_S
            has_changed = store.has_changed
            waiting = len(self._unwritten)
            is_crowded = waiting >= MAX_UNWRITTEN // 2 and not self._is_stuck
            is_due = self._since_seen_s >= HERE_S
            if is_due:
                self._since_seen_s = 0.0
            is_late = waiting and self._since_write_s >= WRITE_PAUSE_S
            if has_changed or is_crowded or is_late or is_due:
                await self._write()
            if has_changed:
                await on_change()

    async def close(self) -> None:
        """Write the nodes that this one has met, if the disk is quick enough.

        A write already in progress gets the same time.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_S):
                while self._under_way:
                    await asyncio.wait(self._under_way)
                if self._unwritten:
                    await self._write()

    async def _write(self) -> None:
        """Write the nodes that this one has met; a failure is reported once."""
        self._is_stuck = False
        try:
            await self._change(lambda: None)
        except NotWrittenError as error:
            self._is_stuck = True
            assert self._store is not None
            self._store.tell(error)

    async def _change(self, change: Callable[[], T]) -> T:
        """Change the file, and take over its new content.

        Raises:
            NotWrittenError: It could not be written.
        """
        store = self._store
        assert store is not None
        met = list(self._unwritten.items())
        here = frozenset(node.id for node in self._known if self._is_here(node.id))
        if met:
            self._since_write_s = 0.0

        def work() -> tuple[T, KnownNodes]:
            with self._alone:
                store.note_all([one for _, one in met], here)
                return change(), store.known.copy()

        result, self._known = await self._away(work)
        self._known.heed(self._is_here)
        for key, one in met:
            if self._unwritten.get(key) is one:
                self._unwritten.pop(key)
        for one in self._unwritten.values():  # nodes met meanwhile
            self._known.note(one, self._wall())
        return result

    async def _away(self, work: Callable[[], T]) -> T:
        """Do slow work in a thread; one that hangs does not keep the program from ending."""
        if not self._in_thread:
            return work()
        try:
            future = in_thread(work, "known nodes")
        except NoThreadError as error:
            raise NotWrittenError(
                f"the known nodes: {error.strerror}",
                "whom this node meets is remembered only until it ends",
                "let more threads be started",
            ) from None
        self._under_way.add(future)
        future.add_done_callback(self._end)
        # The waiting task may be cancelled; the thread goes on, and `close` waits for it.
        return await asyncio.shield(future)

    def _end(self, future: "asyncio.Future[Any]") -> None:
        self._under_way.discard(future)
        if not future.cancelled():
            future.exception()  # perhaps nobody waits any more
