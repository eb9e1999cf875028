"""The interface of datagram sockets, what they count, and how they report failures."""

import errno
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from p2ptui.wire.address import Address

MAX_DATAGRAM_BYTES = 65535
"""More than any UDP payload (65507 over IPv4), so that nothing is read only in part."""
SEND_FAILURES = 256
"""Failures that are kept until asked for; older ones are forgotten."""


@dataclass(frozen=True, slots=True)
class SocketCounters:
    """What a socket has done since it was opened."""

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
    """Never sent: the backlog was full, or the socket was closed."""
    backlog: int
    """Datagrams that are waiting for room in the kernel now."""

    def __add__(self, other: "SocketCounters") -> "SocketCounters":
        """The sum over two sockets."""
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
"""The counters of no socket at all."""


@dataclass(slots=True)
class Traffic:
    """What a socket counts itself; the rest it is asked for."""

    datagrams_in: int = 0
    datagrams_out: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    dropped_out: int = 0

    def note_received(self, datagrams: int, size_bytes: int) -> None:
        """Record received datagrams, with their total bytes."""
        self.datagrams_in += datagrams
        self.bytes_in += size_bytes

    def note_sent(self, data: bytes) -> None:
        """Record a datagram that left."""
        self.datagrams_out += 1
        self.bytes_out += len(data)

    def note_all_sent(self, datagrams: Sequence[bytes]) -> None:
        """Record several that left."""
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
        """All counters; the arguments are as in `SocketCounters`."""
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

        A source is an `AskedAddress` if the machine has several addresses and the one that was
        asked is known. Errors caused by a peer or the network never raise here; they are counted.
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
            address: The destination; an `AskedAddress` also names the address of this machine to
                send from, as long as it still is one.
            ttl: Its TTL in hops; None: the system's default.
            unfragmented: Whether it is dropped rather than fragmented if it does not fit the path.
        """

    def send_all(self, datagrams: Sequence[tuple[bytes, Address]]) -> None:
        """Send several datagrams as `send` would, in order for each destination.

        An `Unfragmented` one is dropped rather than fragmented.
        """

    def next_send_failure(self) -> tuple[Address, OSError] | None:
        """Take the oldest failure not yet taken: its destination, and the error."""

    def counters(self) -> SocketCounters:
        """The counters so far."""

    def close(self) -> None:
        """Release the address and wake all waiting tasks; calling it again is harmless."""


class DatagramTooLongError(OSError):
    """The system refuses a datagram because of its length, to this destination or at all.

    Args:
        error: The system's error.
        size_bytes: Bytes of the payload.
    """

    def __init__(self, error: OSError, size_bytes: int) -> None:
        super().__init__(*error.args)
        self.size_bytes = size_bytes


class SendFailures:
    """Failed sends: counted by errno, the latest kept until someone asks."""

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
        """Record that a datagram of this size to `address` failed with `error`.

        With `unfragmented` it was a probe: being too long is the answer, not an error.
        """
        number = error.errno or 0
        if number == errno.EMSGSIZE:
            error = DatagramTooLongError(error, size_bytes)
        if not (unfragmented and isinstance(error, DatagramTooLongError)):
            # Windows has a second name for each, WSAEMSGSIZE and so on.
            self._counts[errno.errorcode.get(number, str(number)).removeprefix("WSA")] += 1
        # Its traceback would keep the datagram and the frames of the send alive.
        self._kept.append((address, error.with_traceback(None)))

    def next(self) -> tuple[Address, OSError] | None:
        """Take the oldest failure, or None."""
        return self._kept.popleft() if self._kept else None

    def counts(self) -> dict[str, int]:
        """Failures by the name of their errno."""
        return dict(self._counts)
