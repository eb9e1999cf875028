"""What is handed to the servers that hold other nodes, and what they hand to this one.

Each item is delivered at most once, like a datagram. While the link to the broker is down it waits,
within limits of size and time; as far as it is known that something did not arrive, its sender is
told.
"""

from collections.abc import Callable
from functools import partial
from itertools import count
from typing import Final, NamedTuple

from p2ptui.bounded import BoundedTable
from p2ptui.core.cluster.others import Others
from p2ptui.core.cluster.own import Own
from p2ptui.core.cluster.runs import Run
from p2ptui.core.cluster.view import View
from p2ptui.core.peers import Foreign, Handed, Handing, NotHanded, Peer, Taker
from p2ptui.core.state import NodeState
from p2ptui.wire.cluster import MAX_BODY_BYTES, MAX_REF, HandOver, Message, Undelivered
from p2ptui.wire.frames import node_id_bytes, node_id_text

WAITING_S: Final = 5.0
"""How long something waits for the link to the broker."""

MAX_WAITING: Final = 16_384
MAX_WAITING_BYTES: Final = 8_388_608
"""Limits of what waits for it, including the overhead of keeping it."""

KEPT_BYTES: Final = 512
"""The memory that a waiting item takes besides its body."""


class _Waiting(NamedTuple):
    """Something that waits for the link."""

    server_id: str
    """The server that held its target when it came."""
    handed: Handed
    """What its source is told about, should it not arrive."""
    until: float


class HandOvers:
    """Hands things over to other servers, and takes what they hand over.

    Args:
        state: The shared state.
        own: Who this server is in the cluster.
        others: The other servers.
        view: The nodes that they hold.
        taker: Gives the peers of this server what comes for them.
        news: What is said about a peer that the others may not have heard of yet.
        send: Sends a message to a server, by its id; False: there is no room for it.
        max_waiting_bytes: Most bytes that wait for the link.
    """

    def __init__(
        self,
        state: NodeState,
        own: Own,
        others: Others,
        view: View,
        taker: Taker,
        news: Callable[[Peer, float], bytes],
        send: Callable[[str, Message], bool],
        max_waiting_bytes: int = MAX_WAITING_BYTES,
    ) -> None:
        self._state = state
        self._own = own
        self._others = others
        self._view = view
        self._taker = taker
        self._news = news
        self._send = send
        # In order of arrival. The table has a lifetime because its oldest item is looked up again
        # and again; `_expire` reports each item before that ends.
        self._waiting: BoundedTable[int, _Waiting] = state.tables.add(
            "cluster_waiting",
            BoundedTable(
                MAX_WAITING,
                full="cluster_waiting_full",
                refuses=True,
                limit_bytes=max_waiting_bytes,
                shares=state.tables.shares,
                lifetime_s=2 * WAITING_S,
            ),
        )
        self._numbers = count()
        self._expires = False
        self.is_ready = False
        """Whether the link is up, and it is known who holds whom."""
        self.given = self.returned = self.taken = self.failed = 0
        """Totals, which never fall: items given to the link, and those that came back unsent; items
        taken for peers of this server, and items reported as failed."""

    @property
    def handed(self) -> int:
        """How many items were given to the link and did not come back."""
        return self.given - self.returned

    @property
    def waiting(self) -> int:
        """How many things wait for the link."""
        return len(self._waiting)

    @property
    def waiting_bytes(self) -> int:
        """The bytes that they take."""
        return self._waiting.used_bytes

    # The way out.

    def hand(
        self, target: Foreign, source: Peer, kind: Handing, body: bytes, ref: str, now: float
    ) -> bool:
        """See `Elsewhere.hand`."""
        if len(body) > MAX_BODY_BYTES or len(ref) > MAX_REF:
            self._state.counters.drop("cluster_too_large")
            return False
        handed = Handed(kind, self._own.server_id, source.node_id, target.node_id, body, ref)
        waiting = _Waiting(target.server_id, handed, now + WAITING_S)
        if not self.is_ready:
            return self._wait(waiting, source, now)
        return self._hand_over(waiting, now)

    def _wait(self, waiting: _Waiting, source: Peer, now: float) -> bool:
        size_bytes = len(waiting.handed.body) + KEPT_BYTES
        if not self._waiting.put(
            next(self._numbers), waiting, now, address=source.address, size_bytes=size_bytes
        ):
            return False
        if not self._expires:
            self._expires = True
            self._state.timers.schedule(now + WAITING_S, self._expire)
        return True

    def _hand_over(self, waiting: _Waiting, now: float) -> bool:
        if not self._is_there(waiting):
            # The caller is in the middle of something else.
            self._state.timers.schedule_about(now, self._tell_gone, waiting)
            return True
        handed = waiting.handed
        source = self._state.peers.authenticated(handed.source_id)
        over = HandOver(
            *self._own.head,
            handed.kind,
            node_id_bytes(handed.source_id),
            node_id_bytes(handed.target_id),
            handed.ref,
            handed.body,
            b"" if source is None else self._news(source, now),
        )
        has_left = self._send(waiting.server_id, over)
        self.given += has_left
        return has_left

    def _is_there(self, waiting: _Waiting) -> bool:
        entry = self._view.entry(waiting.handed.target_id)
        if entry is not None and entry.run.is_live and entry.run.server_id == waiting.server_id:
            return True
        return self._others.live_run(waiting.server_id) is not None

    def _tell_gone(self, waiting: _Waiting, now: float) -> None:
        self._tell(waiting.handed, NotHanded.SERVER_GONE, now)

    def _tell(self, handed: Handed, why: NotHanded, now: float) -> None:
        source = self._state.peers.authenticated(handed.source_id)
        if source is not None:
            self.failed += 1
            self._taker.handle_not_handed(source, handed, why, now)

    def handle_ready(self, now: float) -> None:
        """The link is back, and it is known again who holds whom: what waits is sent."""
        self.is_ready = True
        all_waiting = list(self._waiting.values())
        self._waiting.clear()
        for waiting in all_waiting:
            holder = self._view.entry(waiting.handed.target_id)
            if holder is not None and holder.run.server_id != waiting.server_id:
                waiting = waiting._replace(server_id=holder.run.server_id)
            if now >= waiting.until or not self._hand_over(waiting, now):
                self._tell(waiting.handed, NotHanded.EXPIRED, now)

    def handle_down(self) -> None:
        """The link is gone."""
        self.is_ready = False

    def handle_unsent(self, over: HandOver, server_id: str, is_too_large: bool, now: float) -> None:
        """Something given to the link was not sent: it waits for the link if that is down;
        otherwise its source is told."""
        self.returned += 1
        source = self._state.peers.authenticated(node_id_text(over.source))
        if source is None:
            return
        kind, target_id = Handing(over.kind), node_id_text(over.target)
        handed = Handed(kind, self._own.server_id, source.node_id, target_id, over.body, over.ref)
        waiting = _Waiting(server_id, handed, now + WAITING_S)
        if is_too_large:
            self._tell(waiting.handed, NotHanded.TOO_LARGE, now)
        elif self.is_ready:
            # The bus may be about to report that the link is down.
            self._state.timers.schedule_about(now, self._settle_unsent, waiting)
        else:
            self._settle_unsent(waiting, now)

    def _settle_unsent(self, waiting: _Waiting, now: float) -> None:
        source = self._state.peers.authenticated(waiting.handed.source_id)
        if source is not None and (self.is_ready or not self._wait(waiting, source, now)):
            self._tell(waiting.handed, NotHanded.EXPIRED, now)

    def _expire(self, now: float) -> None:
        self._expires = False
        while len(self._waiting):
            number = next(iter(self._waiting))
            waiting = self._waiting[number]
            if waiting.until > now:
                self._expires = True
                self._state.timers.schedule(waiting.until, self._expire)
                return
            self._waiting.pop(number)
            self._tell(waiting.handed, NotHanded.EXPIRED, now)

    # What others hand over.

    def receive(self, over: HandOver, run: Run, now: float) -> None:
        """A server hands something over.

        It may speak for a node that another one holds, such as one with sessions at both: no other
        server can know who is connected to it, and the taker judges what it says. What comes back
        goes to the holder.
        """
        target_id, source_id = node_id_text(over.target), node_id_text(over.source)
        try:
            kind = Handing(over.kind)
        except ValueError:
            self._state.counters.drop("cluster_unknown_kind")
            return
        if over.about:
            self._view.note_passing(source_id, over.about, run, now)
        target = self._state.peers.authenticated(target_id)
        why: NotHanded | None = NotHanded.UNKNOWN
        if target is not None and target.is_plain:
            on_lost = None
            if kind is not Handing.FRAME:  # this kind never waits
                back = self._undelivered(over, NotHanded.UNKNOWN)
                on_lost = partial(self._tell_lost, run.server_id, back)
            handed = Handed(kind, run.server_id, source_id, target_id, over.body, over.ref, on_lost)
            why = self._taker.take_handed(target, handed, now)
        if why is None:
            self.taken += 1
        else:
            self._send(run.server_id, self._undelivered(over, why))

    def _undelivered(self, over: HandOver, why: NotHanded) -> Undelivered:
        return Undelivered(*self._own.head, over.kind, why, over.source, over.target, over.ref)

    def _tell_lost(self, server_id: str, back: Undelivered, _why: str, _now: float) -> None:
        """Something taken for a peer has waited, and will not be sent."""
        self._send(server_id, back)

    def receive_undelivered(self, back: Undelivered, run: Run, now: float) -> None:
        """What this server handed over did not arrive."""
        try:
            kind, why = Handing(back.kind), NotHanded(back.why)
        except ValueError:
            self._state.counters.drop("cluster_unknown_kind")
            return
        source_id, target_id = node_id_text(back.source), node_id_text(back.target)
        handed = Handed(kind, run.server_id, source_id, target_id, b"", back.ref)
        self._tell(handed, why, now)
