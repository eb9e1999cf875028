"""What a datagram socket is to those who use one, what it counts, and how it tells of failures."""

import errno
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from p2ptui.wire.address import Address

MAX_DATAGRAM_BYTES = 65535
"""More than any UDP payload (65507 over IPv4), so that nothing is read in part."""
SEND_FAILURES = 256
"""Failures that are kept to be asked for; an older one is forgotten."""


@dataclass(frozen=True, slots=True)
class SocketCounters:
    """What a socket did since it was opened."""

    datagrams_in: int
    datagrams_out: int
    bytes_in: int
    bytes_out: int
    receive_errors: int
    """Errors that were read from the socket, such as an ICMP refusal; they name no peer."""
    send_errors: Mapping[str, int]
    """Failed sends by the name of their error, such as `EMSGSIZE`."""
    dropped_in: int
    """Received, and dropped because nobody drained the inbox in time."""
    dropped_out: int
    """Never sent: the backlog was full, or the socket closed."""
    backlog: int
    """Datagrams that wait for room in the kernel, now."""

    def __add__(self, other: "SocketCounters") -> "SocketCounters":
        """What two sockets did together."""
        return SocketCounters(
            datagrams_in=self.datagrams_in + other.datagrams_in,
            datagrams_out=self.datagrams_out + other.datagrams_out,
            bytes_in=self.bytes_in + other.bytes_in,
            bytes_out=self.bytes_out + other.bytes_out,
            receive_errors=self.receive_errors + other.receive_errors,
            send_errors=Counter(self.send_errors) + Counter(other.send_errors),
            dropped_in=self.dropped_in + other.dropped_in,
            dropped_out=self.dropped_out + other.dropped_out,
            backlog=self.backlog + other.backlog,
        )


NOTHING: Final = SocketCounters(0, 0, 0, 0, 0, {}, 0, 0, 0)
"""What no socket at all did."""


@dataclass(slots=True)
class Traffic:
    """What a socket counts by itself; the rest it is asked for."""

    datagrams_in: int = 0
    datagrams_out: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    dropped_out: int = 0

    def note_received(self, datagrams: int, size_bytes: int) -> None:
        """So many datagrams were taken, with so many bytes."""
        self.datagrams_in += datagrams
        self.bytes_in += size_bytes

    def note_sent(self, data: bytes) -> None:
        """A datagram left."""
        self.datagrams_out += 1
        self.bytes_out += len(data)

    def note_all_sent(self, datagrams: Sequence[bytes]) -> None:
        """Several left."""
        self.datagrams_out += len(datagrams)
        self.bytes_out += sum(map(len, datagrams))

    def counters(
        self,
        failures: "SendFailures",
        *,
        receive_errors: int = 0,
        dropped_in: int = 0,
        backlog: int = 0,
    ) -> SocketCounters:
        """All of it; the arguments are as in `SocketCounters`."""
        return SocketCounters(
            datagrams_in=self.datagrams_in,
            datagrams_out=self.datagrams_out,
            bytes_in=self.bytes_in,
            bytes_out=self.bytes_out,
            receive_errors=receive_errors,
            send_errors=failures.counts(),
            dropped_in=dropped_in,
            dropped_out=self.dropped_out,
            backlog=backlog,
        )


class DatagramSocket(Protocol):
    """What the pump needs of a socket: `UdpSocket`, or `MemorySocket` in tests."""

    @property
    def local_address(self) -> Address:
        """Where the socket is bound."""

    @property
    def closed(self) -> bool:
        """True after `close`, or when the event loop lost the socket."""

    async def wait(self) -> None:
        """Return when a datagram may be readable, or the socket is `closed`.

        It may be cancelled at any time, and loses nothing.
        """

    def drain(self, budget: int) -> list[tuple[bytes, Address]]:
        """Take at most `budget` datagrams, oldest first, without blocking.

        A source is an `AskedAddress` where the machine has several addresses and the one that
        was asked is known. Nothing that a remote or the network did raises here; it is counted.
        """

    def send(
        self,
        data: bytes,
        address: Address,
        *,
        ttl: int | None = None,
        unfragmented: bool = False,
    ) -> None:
        """Send one datagram to a literal IP address, or remember why it failed; never raises.

        Args:
            data: The payload.
            address: Where to; an `AskedAddress` also says from which address of this machine,
                as long as that is one.
            ttl: Hops that it may travel; None: as many as the system gives.
            unfragmented: Whether it is lost rather than cut where it does not fit the way.
        """

    def send_all(self, datagrams: Sequence[tuple[bytes, Address]]) -> None:
        """Send each of several datagrams as `send` would, to each destination in order.

        One that is `Unfragmented` is lost rather than cut.
        """

    def next_send_failure(self) -> tuple[Address, OSError] | None:
        """Take the oldest failure that was not asked for: whom it was for, and why."""

    def counters(self) -> SocketCounters:
        """What happened so far."""

    def close(self) -> None:
        """Release the address and wake whoever waits; again is harmless."""


class DatagramTooLongError(OSError):
    """The system does not send a datagram for its length, to this destination or at all.

    Args:
        error: What the system said.
        size_bytes: Bytes of the payload.
    """

    def __init__(self, error: OSError, size_bytes: int) -> None:
        super().__init__(*error.args)
        self.size_bytes = size_bytes


class SendFailures:
    """Sends that failed: counted by errno, the latest kept until somebody asks."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._kept: deque[tuple[Address, OSError]] = deque(maxlen=SEND_FAILURES)

    def record(
        self,
        address: Address,
        error: OSError,
        size_bytes: int = 0,
        *,
        unfragmented: bool = False,
    ) -> None:
        """Blame `address`, and nobody else, for `error`: a datagram of this size failed.

        With `unfragmented` it was a question: that it is too long is the answer, and no error.
        """
        number = error.errno or 0
        if number == errno.EMSGSIZE:
            error = DatagramTooLongError(error, size_bytes)
        if not (unfragmented and isinstance(error, DatagramTooLongError)):
            # Windows has a second name for each of them, WSAEMSGSIZE and so on.
            self._counts[errno.errorcode.get(number, str(number)).removeprefix("WSA")] += 1
        # Its traceback would keep the datagram and the frames of the send alive.
        self._kept.append((address, error.with_traceback(None)))

    def next(self) -> tuple[Address, OSError] | None:
        """Take the oldest failure, or None."""
        return self._kept.popleft() if self._kept else None

    def counts(self) -> dict[str, int]:
        """Failures by the name of their errno."""
        return dict(self._counts)
