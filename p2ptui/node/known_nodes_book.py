"""The known nodes as a running node has them: at hand at once, and in the user's file a bit later.

To judge and to note somebody touches no file. What is noted is written by a thread, since the disk
may take its time and datagrams do not wait; what commands and other nodes have changed in the file
is seen within a second. A simulated node has no file, and knows nodes as long as it runs.
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
"""Nodes that were met and are not written down; with half as many they are, at once."""

WRITE_PAUSE_S: Final = 5.0
"""Whom a node meets is written down no more often than this, and when it ends."""

LOOK_S: Final = 1.0
"""So often it is looked whether the file is another one."""

HERE_S: Final = 600.0
"""So often those that are connected are noted as seen, where the last time is long enough ago."""

CLOSE_S: Final = 2.0
"""A node that ends waits so long, at most, until it is written whom it has met."""

T = TypeVar("T")


class KnownNodesBook:
    """The known nodes of a running node.

    Args:
        wall: Unix time, seconds.
        store: The file; None: nodes are known until this object ends.
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
        """Who has it may use the store."""
        self._under_way: set[asyncio.Future[Any]] = set()
        """Threads that use the store."""
        self._unwritten: BoundedTable[tuple[str, str | None, bool], Met] = BoundedTable(
            MAX_UNWRITTEN
        )
        """Whoever is not known to be in the file; strangers are taken for unproved."""
        self._since_write_s = WRITE_PAUSE_S
        self._since_seen_s = 0.0
        self._is_stuck = False
        """Whether the file could not be written the last time: it is tried again at leisure."""
        self._known = KnownNodes() if store is None else store.known.copy()
        self._is_here: Callable[[str], bool] = lambda _: False

    @property
    def known(self) -> KnownNodes:
        """All of them, as far as they are known at this moment."""
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
        """Know who is connected now: that is seen now, and makes no room for strangers.

        Args:
            is_here: Whether a node is, by its id.
        """
        self._is_here = is_here
        self._known.heed(is_here)

    def judge(self, met: Met) -> Judgement:
        """What is known of who is on the other side; changes nothing."""
        return self._known.judge(met)

    def note(self, met: Met) -> None:
        """Remember that a node was met; judge it first, since afterwards it is known."""
        if self._known.note(met, self._wall()) and self._store is not None:
            is_named = met.came_from is None
            self._unwritten.put((met.id, met.joined, is_named), met, proved=is_named)

    async def trust(self, ref: str, met: Met | None = None) -> KnownNode:
        """As `KnownNodesStore.trust`, which writes the file where there is one."""
        if self._store is None:
            return self._known.trust(ref, met, self._wall())
        store = self._store
        return await self._change(lambda: store.trust(ref, met))

    async def forget(self, ref: str) -> KnownNode:
        """As `KnownNodesStore.forget`, which writes the file where there is one."""
        if self._store is None:
            return self._known.forget(ref)
        store = self._store
        return await self._change(lambda: store.forget(ref))

    async def keep(self, on_change: Callable[[], Awaitable[None]]) -> None:
        """Write down whom this node meets, and see what others change, until cancelled.

        Args:
            on_change: Told when the file was changed by somebody else.
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
        """Write down whom this node has met, if the disk takes it in time.

        What is being written when it is called is waited for just as long.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_S):
                while self._under_way:
                    await asyncio.wait(self._under_way)
                if self._unwritten:
                    await self._write()

    async def _write(self) -> None:
        """Write down whom this node has met; where that fails, it is said once."""
        self._is_stuck = False
        try:
            await self._change(lambda: None)
        except NotWrittenError as error:
            self._is_stuck = True
            assert self._store is not None
            self._store.tell(error)

    async def _change(self, change: Callable[[], T]) -> T:
        """Change the file, and know what it says then.

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
        for one in self._unwritten.values():  # who has come meanwhile
            self._known.note(one, self._wall())
        return result

    async def _away(self, work: Callable[[], T]) -> T:
        """Do something that may take long, in a thread: one that hangs keeps nobody from ending."""
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
        # Whoever waits may be cancelled; the thread goes on, and is waited for by `close`.
        return await asyncio.shield(future)

    def _end(self, future: "asyncio.Future[Any]") -> None:
        self._under_way.discard(future)
        if not future.cancelled():
            future.exception()  # perhaps nobody waits for it any more
