"""All entries of a bucket, each once, followed by changes.

The broker is asked for some at a time, so that it never sends more than is processed, and a watch
that it has forgotten is noticed: there is always a request that it has to answer.
"""

import asyncio
from collections.abc import Callable
from typing import Final, NoReturn

import msgspec
from nats.aio.msg import Msg
from nats.js import JetStreamContext, api

from p2ptui.io.nats_names import Names
from p2ptui.io.nats_trouble import BrokerError, StoodStillError
from p2ptui.text import whole_number

PULL: Final = 256
"""Entries asked for at a time."""

PULL_S: Final = 5.0
"""How long the broker waits for them."""

FIRST_S: Final = 0.5
"""The same the first time: the existing entries may all have expired meanwhile, and then none
comes."""

LATE_S: Final = 2.0
"""How late after that it may say that there are none."""

_MAX_REQUEST: Final = 10**18
"""Far more requests than there ever are."""

HOW_MUCH: Final = "much"
"""Where answers about the remaining number go; entries go to numbers."""

IDLE_S: Final = 15.0
"""The broker forgets a watch that has not been asked for this long."""


RESUMED_PAUSE_S: Final = 0.25
"""After an entry was missed, the watch continues after the last one that came, at most this
often.
"""

RESUMED_S: Final = 5.0
"""How long the broker may take for that."""


class MissedError(BrokerError):
    """An entry is missing."""


class _Delivered(msgspec.Struct):
    consumer_seq: int


class _HowMuch(msgspec.Struct):
    """What the broker says about a watch."""

    num_pending: int
    """Entries that it has not sent yet."""
    delivered: _Delivered
    """How many it has sent."""
    name: str = ""
    """The watch's name."""


_decode_how_much: Final = msgspec.json.Decoder(_HowMuch).decode


class Watch:
    """All entries of a bucket, each once, then what is new: a consumer that is asked for more.

    Args:
        inbox: Where entries are sent to.
        names: The network's names.
        write: Sends a message.
        clock: Seconds.
    """

    def __init__(
        self,
        inbox: str,
        names: Names,
        write: Callable[[str, bytes, str], bool],
        clock: Callable[[], float],
    ) -> None:
        self._inbox, self._names, self._write, self._clock = inbox, names, write, clock
        self._asked = self._left = self._last = 0
        self._until = 0.0
        self._consumer = ""
        self._revision = 0
        """The revision of the last entry that came."""
        self._misses = asyncio.Event()
        self.is_read = False
        """Whether all entries that existed at the start have been reported."""

    def shape(self) -> api.ConsumerConfig:
        """The consumer that the broker is asked for."""
        # There is one entry per key: whatever follows an entry that came is the newest of its key.
        goes_on = self._revision > 0
        by_revision = api.DeliverPolicy.BY_START_SEQUENCE
        return api.ConsumerConfig(
            deliver_policy=by_revision if goes_on else api.DeliverPolicy.LAST_PER_SUBJECT,
            opt_start_seq=self._revision + 1 if goes_on else None,
            ack_policy=api.AckPolicy.NONE,
            filter_subject=f"{self._names.keys}>",
            replay_policy=api.ReplayPolicy.INSTANT,
            inactive_threshold=IDLE_S,
            mem_storage=True,
            num_replicas=1,
        )

    def begin(self, consumer: str) -> None:
        """Ask for the first entries."""
        self._consumer, self._last = f"{self._names.stream}.{consumer}", 0
        self._ask()

    async def resume(self, js: JetStreamContext, complete: Callable[[], None]) -> NoReturn:
        """Continue whenever an entry was missed: someone else may have asked for it.

        Args:
            js: The broker.
            complete: Called when this shows that all initial entries have been reported.
        """
        while True:
            await self._misses.wait()
            consumer = await js.add_consumer(self._names.stream, self.shape())
            self._misses.clear()
            self.begin(consumer.name)
            if not self.is_read and consumer.num_pending == 0:
                complete()
            await asyncio.sleep(RESUMED_PAUSE_S)

    def _ask(self) -> None:
        wait_s = PULL_S if self._asked else FIRST_S
        self._asked += 1
        self._left = PULL
        self._until = self._clock() + wait_s + LATE_S
        request = {"batch": PULL, "expires": int(wait_s * 1e9)}
        self._request("MSG.NEXT", msgspec.json.encode(request), str(self._asked))

    def _request(self, what: str, data: bytes, answer: str) -> None:
        subject = f"$JS.API.CONSUMER.{what}.{self._consumer}"
        if not self._write(subject, data, f"{self._inbox}.pull.{answer}"):
            raise BrokerError("the broker reads too slowly")

    def is_of_it(self, reply: str) -> bool:
        """Whether an entry came through this watch, whose name only the broker and this server
        know: others may send something to the same subject.
        """
        words = reply.split(".")
        at = 3 if len(words) == 9 else 5
        return words[:2] == ["$JS", "ACK"] and ".".join(words[at - 1 : at + 1]) == self._consumer

    def take(self, message: Msg) -> tuple[int, int]:
        """The revision of an entry, and the number still to come.

        Raises:
            BrokerError: An earlier one is missing (`MissedError`), or it makes no sense.
        """
        try:
            # $JS.ACK.stream.consumer.deliveries.revision.number.time.pending. If the broker has
            # domains, the domain and the account precede the stream, and more follows at the end.
            words = message.reply.split(".")
            start = 4 if len(words) == 9 else 6
            revision, number, _, pending = map(int, words[start + 1 : start + 5])
        except ValueError:
            raise BrokerError("an entry of the broker makes no sense") from None
        if number != self._last + 1:
            raise MissedError("entries of the broker were missed")
        self._last, self._revision = number, revision
        self._left -= 1
        if self._left == 0:
            self._ask()
        return revision, pending

    def take_next(self, message: Msg) -> tuple[int, int] | None:
        """Like `take`, for messages to the subject of entries; None if it is not from this watch,
        or an earlier entry is missing, so that everything from there on comes again.
        """
        if not self.is_of_it(message.reply):
            return None
        try:
            return self.take(message)
        except MissedError:
            self._consumer, self._until = "", self._clock() + RESUMED_S
            self._misses.set()
            return None

    def take_status(self, message: Msg) -> None:
        """Handle a status: there was nothing more for a while, or the watch is gone.

        A busy broker may have much to send and not get to it in time. So until everything has been
        read, it is asked how much there is.

        Raises:
            BrokerError: The watch is gone.
        """
        if message.subject.endswith(f".{HOW_MUCH}"):
            self._take_how_much(message)
            return
        if answered(message.subject) != self._asked or not self._consumer:
            return
        headers = message.headers or {}
        if headers.get("Status") not in ("404", "408"):
            why = headers.get("Description", "without a reason")
            raise BrokerError(f"the broker ended the watch of the bucket ({why})")
        self._ask()
        if not self.is_read:
            self._request("INFO", b"", HOW_MUCH)

    def _take_how_much(self, message: Msg) -> None:
        try:
            answer = _decode_how_much(message.data)
        except msgspec.MsgspecError:
            raise BrokerError("what the broker says of the watch makes no sense") from None
        # What it has sent may still be on its way.
        if answer.name and not self._consumer.endswith(f".{answer.name}"):
            return  # about a former watch
        self.is_read |= answer.num_pending == 0 and answer.delivered.consumer_seq <= self._last

    def require_alive(self, now: float) -> None:
        """Check that the broker answers in time, if only that there is nothing.

        Raises:
            BrokerError: It has not.
        """
        if now > self._until:
            raise StoodStillError(
                "this server, or its broker, stood still for some seconds: all entries are"
                " read anew"
            )


def answered(subject: str) -> int:
    """The number of the request that an answer is for; 0: not one of ours."""
    return whole_number(subject.rpartition(".")[2], _MAX_REQUEST) or 0
