"""What happens to a node, read as it happens: which events become lines, and how many at most."""

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Final, TypeGuard

from p2ptui.bounded import BoundedTable, FairBucket, LeftOut
from p2ptui.core.addresses import sources_at
from p2ptui.core.events import (
    DataReceived,
    ErrorReceived,
    Event,
    FileReceived,
    PathChanged,
    PathMtuChanged,
    PeerIntroduced,
    PeerStatus,
    PeerStatusChanged,
    TrustChanged,
)
from p2ptui.event_log import level_of, log_file, log_unkept
from p2ptui.event_log import log_event as log_event
from p2ptui.node import Node
from p2ptui.reloading import Reloading
from p2ptui.secure.known_nodes import Trust
from p2ptui.tagged import tagged
from p2ptui.wire.address import Address
from p2ptui.wire.files import FILE, is_file

log = logging.getLogger("p2ptui.headless")

PEER_LINES_PER_SECOND: Final = 20
"""Lines about peers that come and go: a flood of handshakes must not become one of the log. Errors,
files that nobody keeps, changes of trust, and peers that are trusted have as many each, so that
none of them takes the place of another; and in each kind those have as many who have proved
nothing, since handshakes can be forged from any address."""

MAX_BEGUN: Final = 4_096
"""Sessions of which it was told that they have begun: so it is when they end."""


async def log_events(node: Node, reloading: Reloading, *, keeps_files: bool) -> None:
    """Tell what happens, until the node ends."""
    lines = Lines(keeps_files=keeps_files, has_proved=node.has_proved)
    readers = deque([_Reader(node, lines)])
    renewing = asyncio.ensure_future(_renew(readers, reloading))
    try:
        while readers:
            async for event in readers[0].events:
                lines.log(event)
            readers.popleft()
    finally:
        renewing.cancel()
        for reader in readers:
            reader.end()


class _Reader:
    """Who reads as much as there are lines about, as the log is now.

    Args:
        node: What happens there.
        lines: These lines.
    """

    def __init__(self, node: Node, lines: "Lines") -> None:
        self._node, self._lines = node, lines
        # Who reads Data has each message held for him, and told.
        self._data = lines.data
        self.events = node.events(data=self._data, wants=lines.wants)

    def renewed(self) -> "_Reader | None":
        """Another one, from now on, if the log has changed so that this one will not do: it ends
        with what it has."""
        if self._lines.data == self._data:
            return None
        other = _Reader(self._node, self._lines)
        self.end()
        return other

    def end(self) -> None:
        """It reads nothing more."""
        self._node.unsubscribe(self.events)


async def _renew(readers: deque[_Reader], reloading: Reloading) -> None:
    while True:
        await reloading.pause(None)
        other = readers[-1].renewed() if readers else None
        if other is not None:
            readers.append(other)


_ENDS: Final = frozenset({PeerStatus.DISCONNECTED, PeerStatus.FAILED})


class Lines:
    """The lines about what happens. What has none is known when it is told, and waits nowhere.

    Args:
        keeps_files: Whether files are kept, of which other lines tell then.
        has_proved: Whether the peer with an id has proved that it is there.
    """

    def __init__(
        self, *, keeps_files: bool, has_proved: Callable[[str], bool] = lambda _: True
    ) -> None:
        self._keeps_files, self._has_proved = keeps_files, has_proved
        self._peers, self._files = _LimitedLines("changes of peers"), _LimitedLines("files")
        self._trusted = _LimitedLines("changes of trusted peers")
        self._errors = _LimitedLines("errors of peers")
        self._trust = _LimitedLines("changes of trust")
        self._begun: BoundedTable[str, None] = BoundedTable(MAX_BEGUN)
        """The ids of those of which it was told that they are here, and not yet that they left."""

    @property
    def data(self) -> bool | str:
        """What must be read of Data for them: all, nothing, or what has this key."""
        return log.isEnabledFor(logging.DEBUG) or (not self._keeps_files and FILE)

    def wants(self, event: Event) -> bool:
        """Whether an event is to be read, since there is a line about it, as far as is known
        without a look inside, and room for that line: it takes its place."""
        if isinstance(event, DataReceived):
            return log.isEnabledFor(logging.DEBUG) or (
                not self._keeps_files and not event.is_echo and event.may_have(FILE)
            )
        if not log.isEnabledFor(level_of(event)):
            return False
        if isinstance(event, TrustChanged) and event.previous is None:
            return False  # it is warned of already
        match event:
            case ErrorReceived():
                return self._errors.take(event.address, is_claim=event.is_claim)
            case TrustChanged():
                return self._trust.take(event.address, is_claim=event.is_claim)
            case PeerStatusChanged():
                return self._wants_status(event)
            case PeerIntroduced() | PathChanged() | PathMtuChanged():
                return self._peers.take(event.address, is_claim=False)
            case _:
                return True  # of files that are not kept, their keeper tells few

    def _wants_status(self, event: PeerStatusChanged) -> bool:
        node_id = event.node_id or ""
        if event.status in _ENDS:
            # Whose coming is in the log, its going is: strangers cannot hide it.
            has_begun = node_id in self._begun
            self._begun.pop(node_id)
            return has_begun or self._peers.take(event.address, is_claim=event.is_claim)
        is_trusted = event.trust == Trust.VERIFIED.value
        lines = self._trusted if is_trusted else self._peers
        has_room = lines.take(event.address, is_claim=event.is_claim)
        if has_room and event.status is PeerStatus.AUTHENTICATED:
            self._begun.put(node_id, None, proved=is_trusted)
        return has_room

    def log(self, event: Event) -> None:
        """Tell of an event that is wanted."""
        if _is_file(event):
            is_claim = not self._has_proved(event.carrier_id or event.node_id)
            if not self._keeps_files and self._files.take(event.address, is_claim=is_claim):
                log_unkept(event)
        elif isinstance(event, FileReceived):
            log_file(event)
        else:
            log_event(event)


def _is_file(event: Event) -> TypeGuard[DataReceived]:
    return (
        isinstance(event, DataReceived)
        and not event.is_echo
        and event.may_have(FILE)
        and is_file(event.payload)
    )


class _LimitedLines:
    """Room for lines that somebody else can cause without end.

    Args:
        about: What they tell of.
    """

    def __init__(self, about: str) -> None:
        self._about = about
        self._loop = asyncio.get_running_loop()
        self._bucket = FairBucket(PEER_LINES_PER_SECOND, self._loop.time())
        later = partial(self._loop.call_later, 1.0)
        self._left_out = LeftOut(partial(self._tell, ""), later)
        self._left_out_claims = LeftOut(partial(self._tell, " (unproved)"), later)
        """Apart: they hide no others among them."""

    def take(self, address: Address, *, is_claim: bool) -> bool:
        """Take the place of one more line, if there is room now; a line without is counted, and
        told of.

        Args:
            address: Whoever is there has caused it.
            is_claim: Whether nothing shows that anybody is there.
        """
        if self._bucket.take(*sources_at(address, is_claim=is_claim), self._loop.time()):
            return True
        (self._left_out_claims if is_claim else self._left_out).add()
        return False

    def _tell(self, whose: str, count: int) -> None:
        fields = tagged("lines_left_out", count=count, about=f"{self._about}{whose}")
        log.info("%d more %s were not logged%s", count, self._about, whose, extra=fields)
