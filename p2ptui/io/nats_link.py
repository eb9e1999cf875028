"""One connection to the broker at work: entries are watched and put, messages come and go.

It ends at the first sign of doubt, such as a missing answer. The next one starts from scratch, with
all entries anew.
"""

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, Final, NamedTuple, NoReturn

import msgspec
from nats.aio.msg import Msg
from nats.errors import BadSubjectError, MaxPayloadError, SlowConsumerError
from nats.js import api

from p2ptui.bounded import BoundedTable
from p2ptui.config.broker_url import reached_broker
from p2ptui.config.cluster_section import ClusterOptions
from p2ptui.core.cluster.bus import Delete, Heard, Order, Publish, Put
from p2ptui.io.ended import end_tasks
from p2ptui.io.nats_bucket import bucket_shape, require_bucket
from p2ptui.io.nats_client import BrokerClient, connect, end
from p2ptui.io.nats_names import SERVERS, Names
from p2ptui.io.nats_trouble import BrokerError, trouble
from p2ptui.io.nats_watch import Watch, answered
from p2ptui.tagged import tagged
from p2ptui.text import printable

log = logging.getLogger("p2ptui.cluster")

PUT_S: Final = 2.0
"""How long the broker may take to answer an entry."""

PING_S: Final = 1.0
"""How often the broker is pinged."""

SILENT_S: Final = 2
"""How long it may take to answer a ping."""

REQUEST_S: Final = 2
"""How long it may take to answer the first requests."""

DRAIN_S: Final = 1.5
"""How long sending what is left at the end may take."""

TURN: Final = 32
"""Messages processed before the event loop gets its turn."""

MAX_PUTS: Final = 4096
"""Entries put whose outcome is not known yet; beyond that a put is refused, and a deletion goes
without an answer.
"""

MAX_MARKERS: Final = 65_536
"""Deleted entries that are known: the broker keeps a marker of each until it expires, and a put in
its place has to name it.
"""

MAX_QUEUED_BYTES: Final = 8 << 20
"""Most bytes that wait to be written while the broker reads too slowly."""

MAX_HEARD_BYTES: Final = 8 << 20
"""Most bytes of messages received on one subject and not processed yet."""

MAX_HEARD: Final = 16_384
"""Their number."""

_OTHER_STANDS_THERE: Final = (10071, 10164)
"""Error codes of JetStream: the revision is not the expected one."""

_EXPECTED: Final = "Nats-Expected-Last-Subject-Sequence"
_OPERATION: Final = "KV-Operation"


class _Ack(msgspec.Struct):
    """The broker's answer to an entry that was put."""

    seq: int = 0
    error: dict[str, Any] | None = None


class _UnderWay(NamedTuple):
    key: str
    is_put: bool
    expected: int
    """The revision that was expected to be there."""
    until: float


class _Due(NamedTuple):
    """Something that waits to be written."""

    subject: str
    data: bytes
    reply: str
    headers: dict[str, str] | None
    order: Publish | None
    """The message, if it is one."""


_decode_ack: Final = msgspec.json.Decoder(_Ack).decode


class Counters(msgspec.Struct):
    """What a bus has done since it began."""

    links: int = 0
    """Links that came up."""
    puts: int = 0
    refused: int = 0
    """Entries that were refused, or whose outcome is unknown."""
    published: int = 0
    """Messages that left."""
    arrived: int = 0
    """Entries and messages that arrived."""
    dropped_out: int = 0
    """Messages that did not leave: no link, no room, or too large."""
    dropped_in: int = 0
    """Messages that came faster than they could be processed, or that nobody asked for."""


class Link:
    """One connection, from its first entry to its end.

    Args:
        client: The connection.
        broker: The broker's name, for people.
        names: The network's names there.
        own_id: This server's id.
        heard: Called with what arrives.
        clock: A monotonic clock, seconds.
        counters: Counts what happens.
    """

    def __init__(
        self,
        client: BrokerClient,
        broker: str,
        names: Names,
        own_id: str,
        heard: Heard,
        clock: Callable[[], float],
        counters: Counters,
    ) -> None:
        self._client, self.broker, self._names, self._own_id = client, broker, names, own_id
        self._heard, self._clock, self._counters = heard, clock, counters
        self._loop = asyncio.get_running_loop()
        self._broken: asyncio.Future[None] = self._loop.create_future()
        self._inbox = client.new_inbox()
        self._due: deque[_Due] = deque()
        self._due_bytes = 0
        self._has_due, self._is_written = asyncio.Event(), asyncio.Event()
        self._under_way: dict[int, _UnderWay] = {}
        self._last_put = 0
        self._markers: BoundedTable[str, int] = BoundedTable(MAX_MARKERS)
        self._watch = Watch(self._inbox, names, self._write, clock)
        self._is_refusal_told = False
        self._last_revision = 0
        self.round_trip_s: float | None = None
        """The latest round trip to the broker."""

    async def run(self, options: ClusterOptions, on_up: Callable[[], None]) -> NoReturn:
        """Use it until it ends.

        Args:
            options: The configuration of the bucket.
            on_up: Called when it can be used, before any entry is reported.

        Raises:
            BrokerError: Why it ended.
        """
        try:
            consumer = await self._prepare(options)
        except Exception as error:
            self.fail(error)
            # If something was not answered because it is not permitted, that was reported already.
            self._broken.result()
            raise
        self._counters.links += 1
        on_up()
        self._watch.begin(consumer.name)
        if consumer.num_pending == 0:
            self._complete()
        js = self._client.jetstream(timeout=REQUEST_S)
        works = (self._write_all(), self._tend(), self._watch.resume(js, self._complete))
        tasks = [asyncio.ensure_future(work) for work in works]
        try:
            await asyncio.wait([*tasks, self._broken], return_when=asyncio.FIRST_COMPLETED)
            for ended in (self._broken, *tasks):
                if ended.done():
                    ended.result()
        except Exception as error:
            raise trouble(error, self.broker) from None
        finally:
            await end_tasks(tasks)
            while self._due:
                self._tell_not_written(self._due.popleft())
        raise BrokerError(f"the link to the broker {self.broker} ended")

    async def _prepare(self, options: ClusterOptions) -> api.ConsumerInfo:
        """Make sure of the bucket, and subscribe to everything needed."""
        js = self._client.jetstream(timeout=REQUEST_S)
        shape = bucket_shape(self._names, options.heartbeat, options.max_nodes)
        self._last_revision = await require_bucket(js, shape, self.broker)
        subjects: tuple[tuple[str, Callable[[Msg], None]], ...] = (
            (f"{self._inbox}.put.*", self._take_ack),
            (f"{self._inbox}.pull.*", self._take_entry),
            (self._names.subject(SERVERS), self._take_for_all),
            (self._names.subject(self._own_id), self._take_for_this),
        )
        for subject, take in subjects:
            await self._client.subscribe(
                subject,
                cb=self._taking(take),
                pending_msgs_limit=MAX_HEARD,
                pending_bytes_limit=MAX_HEARD_BYTES,
            )
        consumer = await js.add_consumer(self._names.stream, self._watch.shape())
        # The broker reports what is not permitted before it answers this.
        await self._client.flush(timeout=REQUEST_S)
        if self._broken.done():
            self._broken.result()
        return consumer

    async def drain(self) -> None:
        """Wait until what was written has reached the broker, for a short time."""
        with contextlib.suppress(Exception):
            await asyncio.wait_for(self._is_written.wait(), DRAIN_S)
            await self._client.flush(timeout=1)

    async def close(self) -> None:
        """End it."""
        self.fail(BrokerError("closed"))
        self._broken.exception()
        await end(self._client)

    def fail(self, error: BaseException) -> None:
        """The link cannot be trusted any more."""
        if not self._broken.done():
            self._broken.set_exception(trouble(error, self.broker))

    def note(self, error: BaseException) -> None:
        """Record an error of the connection."""
        if isinstance(error, SlowConsumerError):
            self._counters.dropped_in += 1
        else:
            self.fail(error)

    # Outgoing.

    def do(self, order: Order) -> None:
        """See `Bus.do`."""
        if isinstance(order, Publish):
            subject = self._names.subject(order.subject)
            if not self._write(subject, order.data, order=order):
                self._loop.call_soon(self._tell_dropped, order)
            return
        is_put = isinstance(order, Put)
        is_full = len(self._under_way) >= MAX_PUTS
        if is_full and is_put:
            self._loop.call_soon(self._refuse, order.key)
            return
        expected = order.revision or self._markers.get(order.key) or 0
        headers = {_EXPECTED: str(expected)}
        if isinstance(order, Delete):
            headers[_OPERATION] = "DEL"
        self._last_put += 1
        reply = "" if is_full else f"{self._inbox}.put.{self._last_put}"
        value = order.value if isinstance(order, Put) else b""
        if not self._write(f"{self._names.keys}{order.key}", value, reply, headers):
            self._loop.call_soon(self._refuse, order.key)
        elif not is_full:
            until = self._clock() + PUT_S
            self._under_way[self._last_put] = _UnderWay(order.key, is_put, expected, until)

    def _write(
        self,
        subject: str,
        data: bytes,
        reply: str = "",
        headers: dict[str, str] | None = None,
        order: Publish | None = None,
    ) -> bool:
        """Queue a message; return whether there was room."""
        size = len(subject) + len(data)
        if self._due_bytes + size > MAX_QUEUED_BYTES or len(data) > self._client.max_payload:
            return False
        self._due_bytes += size
        self._due.append(_Due(subject, data, reply, headers, order))
        self._has_due.set()
        self._is_written.clear()
        return True

    async def _write_all(self) -> None:
        while True:
            await self._has_due.wait()
            self._has_due.clear()
            while self._due:
                due = self._due.popleft()
                self._due_bytes -= len(due.subject) + len(due.data)
                try:
                    await self._client.publish(due.subject, due.data, due.reply, due.headers)
                except (BadSubjectError, MaxPayloadError):  # the data may come from others
                    self._tell_not_written(due)
                else:
                    self._counters.published += due.order is not None
            self._is_written.set()

    # Incoming.

    def _taking(self, take: Callable[[Msg], None]) -> Callable[[Msg], Awaitable[None]]:
        taken = 0

        async def run(message: Msg) -> None:
            nonlocal taken
            if self._broken.done():
                return  # the next link is told everything anew
            try:
                take(message)
            except BrokerError as error:
                self.fail(error)
            taken += 1
            if taken % TURN == 0:
                await asyncio.sleep(0)

        return run

    def _take_for_all(self, message: Msg) -> None:
        self._counters.arrived += 1
        self._heard.receive_message(SERVERS, message.data, self._clock())

    def _take_for_this(self, message: Msg) -> None:
        self._counters.arrived += 1
        self._heard.receive_message(self._own_id, message.data, self._clock())

    def _take_ack(self, message: Msg) -> None:
        under_way = self._under_way.pop(answered(message.subject), None)
        if under_way is None:
            return
        try:
            ack = _decode_ack(message.data)
        except msgspec.MsgspecError:
            ack = _Ack(error={})  # nobody listens there: the answer is empty
        if ack.error is not None or ack.seq <= 0:
            self._tell_refusal(ack.error or {})
            if self._markers.get(under_way.key) == under_way.expected:
                self._markers.pop(under_way.key)  # it may have expired
            self._refuse(under_way.key)
        elif under_way.is_put:
            self._counters.puts += 1
            self._heard.handle_put(under_way.key, ack.seq, self._clock())

    def _tell_refusal(self, error: dict[str, Any]) -> None:
        """Report a refusal once per link, unless it is only that another entry is there."""
        code = error.get("err_code")
        if code not in _OTHER_STANDS_THERE and not self._is_refusal_told:
            self._is_refusal_told = True
            log.warning(
                "cluster: the broker %s does not take an entry (%s): see whether its bucket is full"
                " (cluster.max_nodes), and its disk",
                self.broker,
                printable(str(error.get("description", "no JetStream")), 200),
                extra=tagged(
                    "cluster_entry_refused", broker=self.broker, code=error.get("err_code")
                ),
            )

    def _refuse(self, key: str) -> None:
        if self._broken.done():
            return
        self._counters.refused += 1
        self._heard.handle_refused(key, self._clock())

    def _tell_not_written(self, due: _Due) -> None:
        if due.order is not None:
            self._tell_dropped(due.order)

    def _tell_dropped(self, order: Publish) -> None:
        self._counters.dropped_out += 1
        is_too_large = len(order.data) > self._client.max_payload
        self._heard.handle_unsent(order, is_too_large, self._clock())

    def _take_entry(self, message: Msg) -> None:
        if not message.reply:
            was_read = self._watch.is_read
            self._watch.take_status(message)
            if self._watch.is_read and not was_read:
                self._complete()  # the rest has expired since
            return
        if (taken := self._watch.take_next(message)) is None:
            self._counters.dropped_in += 1
            return
        revision, pending = taken
        key = message.subject.removeprefix(self._names.keys)
        is_gone = message.headers is not None and _OPERATION in message.headers
        self._counters.arrived += 1
        self._markers.pop(key)
        if is_gone:
            self._markers.put(key, revision)
        now = self._clock()
        self._heard.receive_entry(key, None if is_gone else message.data, revision, now)
        if not self._watch.is_read and (pending == 0 or revision >= self._last_revision):
            self._complete()

    def _complete(self) -> None:
        self._watch.is_read = True
        self._heard.handle_complete(self._clock())

    async def _tend(self) -> None:
        """Check whether the broker is there, and what has waited too long."""
        while True:
            try:
                self.round_trip_s = await self._client.rtt(timeout=SILENT_S)
            except Exception as error:
                raise trouble(error, self.broker) from None
            await asyncio.sleep(PING_S)
            now = self._clock()
            self._watch.require_alive(now)
            # All have the same timeout, so the first ones are the oldest.
            while self._under_way:
                number, oldest = next(iter(self._under_way.items()))
                if oldest.until > now:
                    break
                del self._under_way[number]
                self._refuse(oldest.key)


async def open_link(
    url: str,
    options: ClusterOptions,
    names: Names,
    own_id: str,
    heard: Heard,
    clock: Callable[[], float],
    counters: Counters,
) -> Link:
    """Connect to one NATS server; see `Link`, whose `run` comes next.

    Raises:
        BrokerError: It failed; the text says why.
    """
    link: Link | None = None

    def note(error: BaseException) -> None:
        if link is not None:
            link.note(error)

    client = await connect(url, options, own_id, note, lambda: note(ConnectionError()))
    return (link := Link(client, reached_broker(url), names, own_id, heard, clock, counters))
