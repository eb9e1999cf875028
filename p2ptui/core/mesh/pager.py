"""Long lists, sent page by page: each within the datagram budget, valid by itself, and paced.

An address that has proved nothing is sent as much as its request pays for; the rest waits for the
proof or for the next request.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final, TypeAlias

from msgspec import Raw

from p2ptui.bounded import BoundedTable
from p2ptui.core.delivery import Delivery
from p2ptui.core.peers import Peer
from p2ptui.core.state import NodeState
from p2ptui.core.trust import voucher
from p2ptui.errors import LocalError
from p2ptui.wire.codec import encode_payload
from p2ptui.wire.message import Capability, MessageType

ENVELOPE_BYTES: Final = 260
"""The most that the envelope and a list's own keys take of a datagram."""

TICK_S: Final = 0.01
PAGES_PER_TICK: Final = 16
"""1,600 pages a second for all peers together: a list of 10,000 nodes takes about a second."""

PLAIN_ENVELOPE_BYTES: Final = 160
"""What the envelope takes besides the payload and the type, without a number."""

NEWS_BYTES: Final = 400
"""A list leaves this much of an unproved peer's allowance for news of the next two newcomers,
unless not even its first entry would be sent."""

MAX_JOBS: Final = 1024
"""Lists being sent at the same time; one for each peer and kind."""

MAX_PAUSED: Final = 128
"""Lists that wait for the next request of a peer; the oldest starts again from the beginning."""

PROOF_PATIENCE_S: Final = 10.0
"""A list for an unproved peer waits this long for the proof of its address."""

PAUSE_S: Final = 60.0
"""A list that was given up continues if the proof comes within this time afterwards: a proof by
timing takes half a minute."""

MAX_QUEUED_FOR_PAGES: Final = 64 * 1024
"""A reliable list waits while this many bytes are already queued for its peer."""

Frame: TypeAlias = Callable[[bytes, int, bool], bytes]
"""Makes a payload from the joined entries, the page's number and whether more follow."""


def pages(entries: Iterator[Any], budget_bytes: int) -> Iterator[tuple[bytes, bool]]:
    """Join entries into pages.

    Args:
        entries: What is listed; encoded when its page is due.
        budget_bytes: Largest joined size.

    Yields:
        The joined entries of a page (empty for an empty list), and whether more follow.
    """
    cutter = Cutter(entries)
    more = True
    while more:
        joined, more = cutter.cut(budget_bytes) or cutter.cut_one()
        yield joined, more


class Cutter:
    """Cuts a list into pages whose sizes are known only when they are due.

    Args:
        entries: The entries of the list; each is encoded when the page before it is cut.
    """

    def __init__(self, entries: Iterator[Any]) -> None:
        self._encoded = map(bytes, map(encode_payload, entries))
        self._next = next(self._encoded, None)
        self.count = 0
        """Entries in the pages so far."""

    def cut(self, room: float) -> tuple[bytes, bool] | None:
        """The next page, at most `room` bytes long.

        Returns:
            Its joined entries (none of an empty list), and whether more follow; None if not even
            the first entry fits.
        """
        if room < 0 or (self._next is not None and len(self._next) > room):
            return None
        page: list[bytes] = []
        while self._next is not None and len(self._next) <= room:
            page.append(self._next)
            room -= len(self._next) + 1
            self._next = next(self._encoded, None)
        self.count += len(page)
        return b",".join(page), self._next is not None

    def cut_one(self) -> tuple[bytes, bool]:
        """A page with only the next entry, however long that is."""
        one, self._next = self._next, next(self._encoded, None)
        self.count += one is not None
        return one or b"", self._next is not None

    @property
    def least(self) -> int:
        """The length of the shortest possible page: with only the next entry."""
        return len(self._next or b"")


@dataclass(slots=True)
class _Job:
    peer: Peer
    kind: str
    frame: Frame
    cutter: Cutter
    expires: float
    number: int = 0
    waiting: Raw | None = None
    last: bool = False
    asked: bool = False
    """Whether its peer has just asked for it: before a proof only that pays for pages."""
    served: bool = False
    """Whether that request has already brought a page."""
    is_vouched: bool = False
    """Whether the sender of the request has proved that it is the peer."""


class Pager:
    """Sends lists to peers, a few pages at a time.

    Args:
        state: The shared state.
        delivery: Sends messages.
    """

    def __init__(self, state: NodeState, delivery: Delivery) -> None:
        self._state = state
        self._delivery = delivery
        self._jobs: BoundedTable[tuple[str, str], _Job] = state.tables.add(
            "lists",
            BoundedTable(MAX_JOBS, refuses=True, full="lists_full", shares=state.tables.shares),
        )
        """Lists being sent, in the order of their turns."""
        self._paused: BoundedTable[tuple[str, str], _Job] = state.tables.add(
            "lists_paused", BoundedTable(MAX_PAUSED, shares=state.tables.shares)
        )
        """Lists that wait for the next request of a peer that has not proved itself."""
        self._running = False
        delivery.on_proved.append(self._handle_proved)

    def start(
        self, peer: Peer, kind: str, label: str, entries: Iterator[Any], frame: Frame, now: float
    ) -> None:
        """Send a list; does nothing while the same list is being sent to this peer.

        A peer that has not proved its address gets as many pages as its request pays for, and the
        next ones when it asks again.

        Args:
            peer: The peer.
            kind: The `message_type` of its pages.
            label: Tells lists of one kind apart.
            entries: The entries of the list.
            frame: Makes the payload of a page.
            now: The time, seconds.
        """
        key = (peer.node_id, label)
        known = self._jobs.get(key)
        if known is not None and not (known.peer is peer and self._waits_for_proof(known)):
            self._state.counters.drop("list_under_way")
            return
        paused = known or self._paused.pop(key, None)
        job = _Job(peer, kind, frame, Cutter(entries), now + PROOF_PATIENCE_S)
        if paused is not None and paused.peer is peer and self._waits_for_proof(paused):
            job = paused
            job.expires = now + PROOF_PATIENCE_S
        job.is_vouched = self._state.gate.is_vouched
        if peer.purse.proved:
            # From here on its pages are charged one by one to what is left for such requests.
            self._state.gate.count_apart()
        if known is not None:
            self._jobs.replace(key, job)
        elif not self._jobs.put(key, job, address=peer.address, proved=peer.proved):
            return
        # Its own request pays for it: it does not wait behind lists of others.
        if not peer.purse.proved and not self._serve(job, now):
            del self._jobs[key]
        if self._jobs and not self._running:
            self._tick(now)

    def _serve(self, job: _Job, now: float) -> bool:
        """Send what a request pays for; returns whether the list continues."""
        job.asked, job.served = True, False
        pages, goes_on = -1, True
        while goes_on and job.number > pages:
            pages = job.number
            goes_on = self._advance(job, now)
            if _is_reliable(job.peer):
                break  # its pages wait for each other
        job.asked = False
        return goes_on

    def _handle_proved(self, peer: Peer, now: float) -> None:
        for key in [key for key, job in self._paused.items() if job.peer is peer]:
            job = self._paused.pop(key)
            assert job is not None
            if now < job.expires + PAUSE_S and key not in self._jobs and self._jobs.admit():
                job.expires = now + PROOF_PATIENCE_S
                self._jobs.put(key, job, address=peer.address)
        if self._jobs and not self._running:
            self._tick(now)

    def _pause(self, key: tuple[str, str], job: _Job) -> None:
        for other in [k for k, paused in self._paused.items() if not paused.peer.is_authenticated]:
            del self._paused[other]
        self._paused.put(key, job, address=job.peer.address)

    @staticmethod
    def _waits_for_proof(job: _Job) -> bool:
        return job.number > 0 and not job.peer.purse.proved and not _is_reliable(job.peer)

    def _tick(self, now: float) -> None:
        for key in list(islice(self._jobs, PAGES_PER_TICK)):
            job = self._jobs[key]
            if self._advance(job, now):
                self._jobs.touch(key)
                continue
            del self._jobs[key]
            is_owed = not (job.last or job.peer.purse.proved or _is_reliable(job.peer))
            if is_owed and job.peer.is_authenticated:
                self._pause(key, job)
        self._running = bool(self._jobs)
        if self._running:
            self._state.timers.schedule(now + TICK_S, self._tick)

    def _advance(self, job: _Job, now: float) -> bool:
        """Send the next page of a list if it may leave; returns whether the list continues."""
        peer = job.peer
        if not peer.is_authenticated:
            return False
        if job.waiting is None:
            page = self._cut(job)
            if page is None:
                self._delivery.challenge(peer, now)
                return now < job.expires
            joined, more = page
            job.waiting = Raw(job.frame(joined, job.number, more))
            job.number += 1
            job.last = not more
        if not self._is_allowed(job, job.waiting) or not self._send(job, job.waiting, now):
            if now < job.expires:
                return True
            self._state.counters.drop("list_given_up")
            return False
        job.waiting = None
        job.expires = now + PROOF_PATIENCE_S
        return not job.last

    def _is_allowed(self, job: _Job, payload: Raw) -> bool:
        """Whether a page may be sent where anybody may have forged the request for it."""
        if job.is_vouched or not job.peer.purse.proved or self._waits_in_queue(job.peer):
            return True
        return self._state.gate.draw(job.peer.purse, ENVELOPE_BYTES + len(payload))

    def _cut(self, job: _Job) -> tuple[bytes, bool] | None:
        """The next page, or None if its peer may not be sent one before it proves its address."""
        peer, cutter = job.peer, job.cutter
        budget = self._delivery.datagram_bytes(peer) - ENVELOPE_BYTES
        if peer.purse.proved or _is_reliable(peer):
            return cutter.cut(budget) or cutter.cut_one()
        if job.number and not job.asked:
            return None
        around = PLAIN_ENVELOPE_BYTES + len(job.kind) + len(job.frame(b"", 0, True))
        room = peer.purse.spendable - around
        page = cutter.cut(min(budget, room - NEWS_BYTES))
        if page is None and not job.served and cutter.least <= room:
            page = cutter.cut_one()
        job.served = job.served or page is not None
        return page

    @staticmethod
    def _waits_in_queue(peer: Peer) -> bool:
        return _is_reliable(peer) and peer.channel.queued_bytes > MAX_QUEUED_FOR_PAGES

    def _send(self, job: _Job, payload: Raw, now: float) -> bool:
        peer = job.peer
        if not _is_reliable(peer):
            return self._delivery.send(peer, job.kind, payload, now, waits=False)
        if self._waits_in_queue(peer):
            return False
        try:
            ack_for = voucher(peer) if job.kind != MessageType.DATA else None
            self._delivery.send_reliable(peer, job.kind, payload, now, ack_for=ack_for)
        except LocalError:
            return False
        return True


def _is_reliable(peer: Peer) -> bool:
    return Capability.RETRANSMIT in peer.facts.capabilities
