"""Calls that wait for the Pong of a Ping, wherever the Ping went, each with its timeout."""

from functools import partial

from p2ptui.core.addresses import address_words
from p2ptui.core.calls import Calls
from p2ptui.core.pings import OutstandingPing, Pings
from p2ptui.errors import PeerTimeoutError
from p2ptui.text import seconds_words
from p2ptui.wire.address import Address


class Pongs:
    """The calls that wait for Pongs.

    Args:
        calls: Where they wait; bounded for each address by `core.pings`, and in total here.
    """

    def __init__(self, calls: Calls[None]) -> None:
        self._calls = calls

    def require_room(self, pings: Pings) -> None:
        """Check that one more call may wait for a Ping that has not been sent yet.

        Args:
            pings: The Pings to the same address.

        Raises:
            LocalError: Too many wait already, for this node or for all.
        """
        pings.require_room()
        self._calls.require_room(pings)

    def begin(
        self,
        ping: OutstandingPing,
        address: Address,
        now: float,
        timeout_s: float,
        token: int | None = None,
    ) -> int:
        """Let a call wait for the answer to a Ping.

        Args:
            ping: The Ping.
            address: Where it went.
            now: The time, seconds.
            timeout_s: How long to wait, seconds.
            token: The token of the call, if it already has one.

        Returns:
            The token of a PingResult or a PeerTimeoutError.

        Raises:
            LocalError: As `require_room`, which is asked before the Ping leaves.
        """
        words = f"no answer from {address_words(address)} within {seconds_words(timeout_s)}"
        error = PeerTimeoutError(words)
        call = self._calls.begin(ping, None, now, timeout_s, lambda _: ping.give_up(error), token)
        ping.on_end = partial(self._calls.end, call)
        return call.token
