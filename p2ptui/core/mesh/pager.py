"""Long lists leave page by page: each within the datagram budget, valid by itself, and paced."""

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from msgspec import Raw

from p2ptui.core.delivery import Delivery
from p2ptui.core.peers import Peer
from p2ptui.core.state import NodeState
from p2ptui.errors import LocalError
from p2ptui.wire.codec import encode_payload
from p2ptui.wire.message import Capability

ENVELOPE_BYTES: Final = 260
"""What the envelope and a list's own keys take of a datagram, at most."""

TICK_S: Final = 0.01
PAGES_PER_TICK: Final = 16
"""1,600 pages a second for all peers together: a list of 10,000 nodes takes about a second."""

MAX_JOBS: Final = 1024
"""Lists under way at the same time; one for each peer and kind."""

PROOF_PATIENCE_S: Final = 10.0
"""A list for an unproved peer waits this long for the proof of its address."""

MAX_QUEUED_FOR_PAGES: Final = 64 * 1024
"""A reliable list waits while this much is already queued for its peer, bytes."""

Frame: TypeAlias = Callable[[bytes, int, bool], bytes]
"""Makes a payload of the joined entries, the page's number and whether more follow."""


def pages(entries: Iterator[Any], budget_bytes: int) -> Iterator[tuple[bytes, bool]]:
    """Join entries into pages.

    Args:
        entries: What is listed; encoded when its page is due.
        budget_bytes: Largest joined size.

    Yields:
        The joined entries of a page (empty for an empty list), and whether more follow.
    """
    page: list[bytes] = []
    size = 0
    for entry in entries:
        raw = bytes(encode_payload(entry))
        if page and size + len(raw) > budget_bytes:
            yield b",".join(page), True
            page, size = [], 0
        page.append(raw)
        size += len(raw) + 1
    yield b",".join(page), False


@dataclass(slots=True)
class _Job:
    peer: Peer
    kind: str
    frame: Frame
    pages: Iterator[tuple[bytes, bool]]
    expires: float
    number: int = 0
    waiting: Raw | None = None
    last: bool = False


class Pager:
    """Sends lists to peers, a few pages at a time.

    Args:
        state: The shared ground.
        delivery: The way out.
    """

    def __init__(self, state: NodeState, delivery: Delivery) -> None:
        self._state = state
        self._delivery = delivery
        self._jobs: dict[tuple[str, str], _Job] = {}
        self._turns: deque[tuple[str, str]] = deque()
        self._running = False

    def __len__(self) -> int:
        return len(self._jobs)

    def start(
        self, peer: Peer, kind: str, label: str, entries: Iterator[Any], frame: Frame, now: float
    ) -> None:
        """Send a list; while the same list is under way to this peer, nothing new begins.

        Args:
            peer: To whom.
            kind: The `message_type` of its pages.
            label: Which list, to tell lists of one kind apart.
            entries: What is listed.
            frame: Makes the payload of a page.
            now: The time, seconds.
        """
        key = (peer.node_id, label)
        if key in self._jobs:
            self._state.counters.drop("list_under_way")
            return
        if len(self._jobs) >= MAX_JOBS:
            self._state.counters.drop("lists_full")
            return
        budget = self._state.config.server.datagram_budget - ENVELOPE_BYTES
        self._jobs[key] = _Job(peer, kind, frame, pages(entries, budget), now + PROOF_PATIENCE_S)
        self._turns.append(key)
        if not self._running:
            self._tick(now)

    def _tick(self, now: float) -> None:
        for _ in range(min(PAGES_PER_TICK, len(self._turns))):
            key = self._turns.popleft()
            if self._advance(self._jobs[key], now):
                self._turns.append(key)
            else:
                del self._jobs[key]
            if not self._turns:
                break
        self._running = bool(self._turns)
        if self._running:
            self._state.timers.schedule(now + TICK_S, self._tick)

    def _advance(self, job: _Job, now: float) -> bool:
        """Send the next page of a list if it may go; whether the list goes on."""
        peer = job.peer
        if not peer.is_authenticated:
            return False
        if job.waiting is None:
            joined, more = next(job.pages)
            job.waiting = Raw(job.frame(joined, job.number, more))
            job.number += 1
            job.last = not more
        if not self._send(job, job.waiting, now):
            if now < job.expires:
                return True
            self._state.counters.drop("list_given_up")
            return False
        job.waiting = None
        job.expires = now + PROOF_PATIENCE_S
        return not job.last

    def _send(self, job: _Job, payload: Raw, now: float) -> bool:
        peer = job.peer
        if Capability.RETRANSMIT in peer.capabilities:
            if peer.channel.sender.queued_bytes > MAX_QUEUED_FOR_PAGES:
                return False
            try:
                self._delivery.send_reliable(peer, job.kind, payload, now)
            except LocalError:
                return False
            return True
        if not self._delivery.has_room(peer, len(payload) + ENVELOPE_BYTES):
            self._delivery.challenge(peer, now)
            return False
        return self._delivery.send(peer, job.kind, payload, now)
