"""Files that others send: taken one after the other, stored, reported and confirmed."""

import asyncio
import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

from p2ptui.bounded import BoundedTable, FairBucket, LeftOut, Shares
from p2ptui.config import Config
from p2ptui.core.addresses import relayed_node, sources_at, visible_address
from p2ptui.core.events import (
    DataReceived,
    Event,
    EventsDropped,
    FileReceived,
    FilesNotTold,
    PeerStatus,
    PeerStatusChanged,
)
from p2ptui.core.identity import short_id
from p2ptui.io.file_room import FileSender
from p2ptui.io.file_store import LEFT_AFTER_S, FileNotKeptError, FileStore
from p2ptui.io.threads import NoThreadError, off_loop
from p2ptui.node.receipts import Receipts
from p2ptui.node.runtime import Runtime
from p2ptui.node.subscription import Subscription
from p2ptui.secure.known_nodes import Trust
from p2ptui.tagged import tagged
from p2ptui.text import cause, counted, printable
from p2ptui.wire.files import (
    FILE,
    SHA256,
    BadFileError,
    FileMessage,
    Receipt,
    is_file,
    read_file,
)

log = logging.getLogger("p2ptui.files")

LAST_FILE_S: Final = 3.0
"""How long a node that ends waits for the file that is being written: a disk may be slow, but a
network drive that is gone may never answer, and what runs the node kills it after ten seconds."""

FINISH_S: Final = 1.0
"""How long it then waits for the last receipts to arrive."""

LEAST_OF_AN_ID: Final = 4
"""Characters of an id that count as one: a single character would let in one node in sixteen."""

ENDS: Final = "the node was shutting down"
"""What senders are told whose files wait while the last one is written."""

NOT_TAKEN: Final = "the node takes files of others only"
"""What a sender is told whose files are not accepted."""

REFUSED_PER_SECOND: Final = 20
"""Most files reported one by one as not kept: anybody may send any number of them."""

TOLD_LATER_S: Final = 1.0
"""How long until the number of those not reported one by one is reported."""


def open_store(config: Config, shares: Shares | None = None) -> FileStore | None:
    """The directory for files, if there is to be one.

    Args:
        config: Every option.
        shares: The part of what all senders share for each address and prefix.

    Raises:
        LocalError: It is not writable, or files written there would be executed.
    """
    options = config.files
    if not options.receive_into:
        return None
    directory = Path(options.receive_into)
    return FileStore(directory, options.max_files, options.max_bytes, shares)


def shares_of(config: Callable[[], Config]) -> Shares:
    """The part of what all senders share for each address and prefix.

    Args:
        config: Every option, as the node has it at the time.
    """
    return Shares(
        lambda: config().security.max_share_per_address,
        lambda: config().security.max_share_per_prefix,
    )


class FileReceiver:
    """Stores the files that come to a node, until it ends.

    Args:
        runtime: The node's runtime.
        config: Every option, as the node has it at the time.
        store: Where files are stored.
    """

    def __init__(self, runtime: Runtime, config: Callable[[], Config], store: FileStore) -> None:
        self._runtime = runtime
        self._store = store
        self._wanted = config().files.receive_from
        self._names: BoundedTable[str, str] = BoundedTable(
            lambda: 2 * config().server.max_connections
        )
        """Peers at the time of the event that is read: one that sent a file and left at once is no
        longer in any table."""
        self._told = FairBucket(REFUSED_PER_SECOND, runtime.now)
        self._untold = LeftOut(
            lambda count: runtime.tell(FilesNotTold(count)),
            lambda tell: runtime.later(TOLD_LATER_S, lambda _: tell()),
        )
        """Files that were not kept, and not reported."""
        self._receipts = Receipts(runtime, shares_of(config), config().routing.max_hops)
        self._ends = False
        self._at_rest = asyncio.Event()
        """Set while no file is being written."""
        self._at_rest.set()
        runtime.begin(self._run(self._subscribe(config().server.event_queue_size)), "files")
        runtime.begin(self._remove_left(), "files left half written")

    def _subscribe(self, limit: int) -> Subscription:
        """The only subscription to Data: files wait in it while one is written."""
        events = self._runtime.subscribe(limit)
        self._learn_names()
        return events

    async def finish(self) -> None:
        """Begin no other file, and wait for the one being written, and for the last receipts to
        arrive."""
        self._ends = True
        for limit_s, ended in ((LAST_FILE_S, self._at_rest), (FINISH_S, self._receipts.at_rest)):
            with suppress(TimeoutError):
                async with asyncio.timeout(limit_s):
                    await ended.wait()

    async def _remove_left(self) -> None:
        for pause_s in (0.0, LEFT_AFTER_S + 1):  # what is too young now is old enough then
            await asyncio.sleep(pause_s)
            with suppress(NoThreadError):
                await off_loop(self._store.remove_left)

    async def _run(self, events: Subscription) -> None:
        async for event in events:
            if isinstance(event, DataReceived):
                if not event.is_echo and event.may_have(FILE):
                    await self._take(event)
            else:
                self._note(event)

    def _note(self, event: Event) -> None:
        if isinstance(event, EventsDropped):
            log.warning(
                "%d events are missing, and maybe files among them",
                event.count,
                extra=tagged("events_dropped", count=event.count),
            )
            self._learn_names()
        elif isinstance(event, PeerStatusChanged) and event.node_id is not None:
            if event.status is PeerStatus.AUTHENTICATED:
                self._names.put(event.node_id, event.name)
            elif event.status is PeerStatus.DISCONNECTED:
                self._names.pop(event.node_id, None)

    def _learn_names(self) -> None:
        self._names.clear()
        for peer in self._runtime.endpoint.peers:
            if peer.is_authenticated:
                self._names.put(peer.node_id, peer.name)

    async def _take(self, event: DataReceived) -> None:
        payload: Mapping[str, Any] = event.payload
        if not is_file(payload):
            return
        sender = self._sender_of(event.node_id)
        against = self._against(sender)
        if against:
            is_other = against.startswith(NOT_TAKEN)  # the rest concerns only this node
            outcome = Outcome(reason=against if is_other else NOT_TAKEN)
        elif self._ends:
            outcome = Outcome(reason=ENDS)
        else:
            outcome = await self._keep(payload, self._whose(event, sender))
        # The receipt is sent before anybody is told, who may end the node.
        self._answer(event, payload, outcome, sender)
        file = outcome.file
        has_proved = self._runtime.endpoint.peers.has_proved(event.carrier_id or event.node_id)
        sources = sources_at(event.address, is_claim=not has_proved)
        if outcome.path is None and not self._told.take(*sources, self._runtime.now):
            self._untold.add()
            return
        self._runtime.tell(
            FileReceived(
                event.node_id,
                sender.name,
                payload[FILE],
                None if file is None else len(file.content),
                None if file is None else file.sha256,
                None if outcome.path is None else str(outcome.path),
                against or outcome.reason or None,
                sender.signer_id,
                sender.signer_name,
            )
        )

    async def _keep(self, payload: Mapping[str, Any], whose: FileSender | None) -> "Outcome":
        """Decode and write a file in a thread: a disk may be slow."""
        self._at_rest.clear()
        try:
            return await off_loop(keep_file, self._store, payload, whose)
        except NoThreadError as error:
            return Outcome(reason=cause(error))
        finally:
            self._at_rest.set()

    def _sender_of(self, node_id: str) -> "_Sender":
        acquaintances = self._runtime.acquaintances
        name, judged = self._names.get(node_id) or "", acquaintances.judged(node_id)
        if judged is None:
            return _Sender(node_id, name)
        lasting_id = judged.met.lasting_id
        signer_id = lasting_id if lasting_id != node_id else ""
        is_trusted = judged.judgement.trust is Trust.VERIFIED
        signer_name = acquaintances.book.known.own_name_of(signer_id) if signer_id else ""
        return _Sender(node_id, name, signer_id, signer_name, is_trusted)

    def _against(self, sender: "_Sender") -> str:
        """Why no file from a node is accepted, in words for the user; empty if it is."""
        wanted = self._wanted
        if not wanted:
            return ""
        is_signers = bool(sender.signer_id) and is_meant(
            wanted, sender.signer_id, sender.signer_name
        )
        if not is_signers and not is_meant(wanted, sender.node_id, sender.name):
            trouble = self._runtime.acquaintances.statement_trouble(sender.node_id)
            more = f"; whose this one is cannot be told: {trouble}" if trouble else ""
            return NOT_TAKEN + more
        return self._runtime.acquaintances.against(wanted, sender.node_id, sender.name)

    def _whose(self, event: DataReceived, sender: "_Sender") -> FileSender | None:
        """The sender whose share a file takes; None if there is nobody to share with, and for nodes
        that the user trusts."""
        if self._wanted or sender.is_trusted:
            return None
        lasting_id, host = sender.signer_id or sender.node_id, visible_address(event.address)[0]
        if event.carrier_id or relayed_node(event.address) is not None:
            return FileSender(lasting_id, host, carrier=event.carrier_id or host)
        return FileSender(lasting_id, host)

    def _answer(
        self, event: DataReceived, payload: Mapping[str, Any], outcome: "Outcome", sender: "_Sender"
    ) -> None:
        told = payload.get(SHA256) if outcome.file is None else outcome.file.sha256
        if not isinstance(told, str):
            return
        kept_as = "" if outcome.path is None else outcome.path.name
        receipt = Receipt(told[:64], outcome.path is not None, kept_as, outcome.reason)
        is_alone = sender.is_trusted or (bool(self._wanted) and receipt.kept)
        address = None if is_alone else visible_address(event.address)
        self._receipts.send(event, receipt, address)


class _Sender(NamedTuple):
    """Who has sent a file."""

    node_id: str
    name: str
    signer_id: str = ""
    """The id of the user whose ephemeral node it is, if that is proved."""
    signer_name: str = ""
    is_trusted: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a payload that has the form of a file."""

    file: FileMessage | None = None
    """None if it could not be read."""
    path: Path | None = None
    """None if it was not kept."""
    reason: str = ""


def keep_file(
    store: FileStore, payload: Mapping[str, Any], sender: FileSender | None = None
) -> Outcome:
    """Read a file and keep it; blocks while it is written."""
    try:
        file = read_file(payload)
    except BadFileError as error:
        return Outcome(reason=str(error))
    try:
        return Outcome(file, store.keep(file.name, [file.content], sender))
    except FileNotKeptError as error:
        return Outcome(file, reason=str(error))


def is_meant(wanted: str, node_id: str, name: str) -> bool:
    """Whether a node is the one that the user wants: by id, the beginning of one, or name.

    Args:
        wanted: The user's reference; empty for anybody.
        node_id: The node's id.
        name: Its name, as it says; empty if unknown.
    """
    begins = len(wanted) >= LEAST_OF_AN_ID and node_id.startswith(wanted.lower())
    return not wanted or name == wanted or begins


def not_told_words(event: FilesNotTold) -> str:
    """How many files were not kept, beyond those that were reported."""
    more = counted(event.count, "more file was", "more files were")
    return f"{more} not kept: there were too many to name them"


def sender_words(event: FileReceived) -> str:
    """Who sent a file: a name and the beginning of an id; for an ephemeral node, those of its
    user's identity, and its own id."""
    if not event.signer_name:
        return f"{printable(event.sender, 64) or 'node'} ({short_id(event.node_id)})"
    name, command = printable(event.signer_name, 64), short_id(event.node_id)
    return f"{name} ({short_id(event.signer_id)}), by its command {command}"
