"""What `p2ptui receive` prints about each incoming file, and about the servers in between."""

import argparse
import asyncio
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

from p2ptui.bounded import FairBucket, LeftOut
from p2ptui.commands.answer import print_json
from p2ptui.commands.progress import ProgressLine
from p2ptui.core.addresses import address_words, sources_at
from p2ptui.core.events import (
    Event,
    EventsDropped,
    FileReceived,
    FilesNotTold,
    PeerStatus,
    PeerStatusChanged,
    TrustChanged,
)
from p2ptui.errors import P2PError
from p2ptui.node import Node
from p2ptui.node.files import NOT_TAKEN, not_told_words, sender_words
from p2ptui.node.subscription import Subscription
from p2ptui.secure.known_nodes import Trust
from p2ptui.text import counted, printable
from p2ptui.wire.address import Address, format_address

WARNINGS_PER_SECOND: Final = 5
"""Warnings about nodes that have changed: anybody may come under any name."""

TOLD_LATER_S: Final = 1.0
"""How long after a warning was omitted the omission is reported."""


class FileTeller:
    """Reports each file as it comes.

    Args:
        options: The options of the command.
        servers: The joined servers.
        line: The progress line, which any other line replaces.
        node: Knows the senders.
    """

    def __init__(
        self,
        options: argparse.Namespace,
        servers: Sequence[Address],
        line: ProgressLine,
        node: Node,
    ) -> None:
        self._node = node
        self._once: bool = options.once
        self._wanted: str = getattr(options, "sender", None) or ""
        self._json: bool = options.json
        self._servers = servers
        self._line = line
        self._lost: set[Address] = set()
        self._warnings = FairBucket(WARNINGS_PER_SECOND, time.monotonic())
        self._left_out = LeftOut(self._tell_left_out, _later)
        self.files = 0
        self.bytes = 0

    async def tell_all(self, events: Subscription) -> bool:
        """Report files until there is nothing more to wait for.

        Returns:
            Whether that is because the one wanted file has come.
        """
        try:
            async for event in events:
                self._line.clear()
                self._tell(event)
                if self._once and self.files:
                    return True
            return False
        finally:
            self._left_out.tell()

    def _tell(self, event: Event) -> None:
        match event:
            case FileReceived():
                self._tell_file(event)
            case FilesNotTold():
                self._complain(not_told_words(event))
            case EventsDropped():
                missing = counted(event.count, "event is", "events are")
                self._complain(f"{missing} missing, and maybe files among them")
            case TrustChanged() if event.trust is Trust.CHANGED:
                self._warn(event)
            case PeerStatusChanged() if event.address in self._servers:
                self._tell_server(event)
            case _:
                pass

    def _tell_file(self, event: FileReceived) -> None:
        if event.path is not None:
            self.files += 1
            self.bytes += event.size_bytes or 0
        trust = self._trust_in(event.node_id)
        if self._json:
            print_json(_report(event, trust))
            return
        sender = sender_words(event)
        if event.path is None:
            name, why = printable(event.name, 255), printable(event.reason or "", 400)
            if self._wanted and why.startswith(NOT_TAKEN):
                only = f"files are taken from {printable(self._wanted, 64)} only (--from)"
                why = only + why.removeprefix(NOT_TAKEN)
            self._complain(f"file {name} from {sender} is not kept: {why}")
            return
        path = printable(event.path, 2000)
        print(f"{path}: {event.size_bytes} bytes from {sender}, sha256 {event.sha256}", flush=True)

    def _warn(self, event: TrustChanged) -> None:
        sources = sources_at(event.address, is_claim=event.is_claim)
        if not self._warnings.take(*sources, time.monotonic()):
            self._left_out.add()
            return
        self._left_out.tell()
        where = f"{address_words(event.address)} is refused: " if event.is_refused else ""
        self._complain(printable(where + event.advice, 1000))

    def _tell_left_out(self, count: int) -> None:
        self._line.clear()
        more = counted(count, "more warning was", "more warnings were")
        self._complain(f"{more} left out")

    def _trust_in(self, node_id: str) -> Trust | None:
        """The trust in the sender of a file; None if it no longer has a session."""
        try:
            return self._node.peer(node_id).trust
        except P2PError:
            return None

    def _tell_server(self, event: PeerStatusChanged) -> None:
        where = format_address(event.address)
        if event.status is PeerStatus.DISCONNECTED:
            why = printable(event.reason or "", 400)
            self._complain(f"the server {where} is lost ({why}); joining it again")
            self._lost.add(event.address)
        elif event.status is PeerStatus.AUTHENTICATED and event.address in self._lost:
            self._complain(f"joined {where} again")
            self._lost.discard(event.address)

    def _complain(self, text: str) -> None:
        print(f"p2ptui: {text}", file=sys.stderr, flush=True)


def _later(action: Callable[[], None]) -> asyncio.TimerHandle:
    return asyncio.get_running_loop().call_later(TOLD_LATER_S, action)


def _report(event: FileReceived, trust: Trust | None) -> dict[str, Any]:
    user = {"id": event.signer_id, "name": event.signer_name}
    return {
        "file": event.name,
        "path": event.path,
        "kept": event.path is not None,
        "bytes": event.size_bytes,
        "sha256": event.sha256,
        "from": {
            "id": event.node_id,
            "name": event.sender,
            "trust": None if trust is None else trust.value,
        }
        | ({"user": user} if event.signer_name else {}),
        "reason": event.reason,
    }
