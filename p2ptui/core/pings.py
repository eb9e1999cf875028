"""Pings under way: which of them a Pong answers, and which call waits for it."""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from msgspec import Raw

from p2ptui.core.addresses import path_at, visible_address
from p2ptui.core.events import PingResult
from p2ptui.errors import P2PError
from p2ptui.wire.address import Address
from p2ptui.wire.codec import MalformedError, decode_payload
from p2ptui.wire.message import NULL, PingPayload

OUTSTANDING_S: Final = 10.0
"""A Ping that nobody waits for counts as outstanding this long."""


@dataclass(slots=True)
class OutstandingPing:
    """A Ping whose Pong has not come."""

    sent_at: float
    on_end: Callable[[PingResult | P2PError], None] | None = None
    """Called once with what became of it, if a call waits for it."""

    def end(self, outcome: PingResult | P2PError) -> None:
        """Tell the call that waits for it, if one does, what became of it."""
        on_end, self.on_end = self.on_end, None
        if on_end is not None:
            on_end(outcome)


class Pings:
    """The Pings sent to one address, bounded; the newest are kept."""

    __slots__ = ("_pings",)

    def __init__(self) -> None:
        self._pings: OrderedDict[str, OutstandingPing] = OrderedDict()

    def __len__(self) -> int:
        return len(self._pings)

    def add(self, nonce: str, limit: int, now: float) -> OutstandingPing:
        """Remember a Ping that leaves now.

        Args:
            nonce: What its Pong will name.
            limit: Most Pings remembered; the oldest make room.
            now: The time, seconds.
        """
        ping = self._pings[nonce] = OutstandingPing(now)
        if len(self._pings) > limit:
            self._pings.popitem(last=False)
        return ping

    def receive_pong(self, payload: Raw, address: Address, now: float) -> tuple[float, bool] | None:
        """Find the Ping that a Pong answers, end it and forget it.

        Deployed programs answer every Ping with `null`: that means the last one, since an
        earlier Pong may be lost.

        Args:
            payload: The Pong's.
            address: Where it came from.
            now: The time, seconds.

        Returns:
            The round trip in seconds, and whether no other Ping can be meant; None if there
            is no such Ping.
        """
        self._expire(now)
        if payload == NULL:
            if not self._pings:
                return None
            ping = self._pings.popitem()[1]
            is_certain = not self._pings
        else:
            named = self._pings.pop(_nonce_of(payload), None)
            if named is None:
                return None
            ping, is_certain = named, True
        rtt_s = now - ping.sent_at
        ping.end(PingResult(rtt_s, path_at(address), visible_address(address)))
        return rtt_s, is_certain

    def _expire(self, now: float) -> None:
        old = [
            nonce
            for nonce, ping in self._pings.items()
            if ping.on_end is None and now - ping.sent_at > OUTSTANDING_S
        ]
        for nonce in old:
            del self._pings[nonce]

    def end_all(self, error: P2PError) -> None:
        """Forget all; calls that wait for one end with `error`."""
        pings = list(self._pings.values())
        self._pings.clear()
        for ping in pings:
            ping.end(error)


def _nonce_of(payload: Raw) -> str:
    try:
        return decode_payload(payload, PingPayload).nonce
    except MalformedError:
        return ""
