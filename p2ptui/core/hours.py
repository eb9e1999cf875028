"""What each host may still be sent within an hour, for reasons with an hourly bound."""

from typing import Final

from p2ptui.bounded import BoundedTable, Shares
from p2ptui.core.accounts import HOUR_S, Hour
from p2ptui.wire.address import Address

MAX_HOSTS_IN_HOUR: Final = 16_384
"""Hosts with an hour of their own; those without room, in the table or in the share of their
network, share one: counted datagrams are never forgotten in favour of others."""


class Hours:
    """The hours of all hosts, each beginning when the host is first sent something.

    Args:
        shares: What the hosts of one network may hold of the table.
    """

    def __init__(self, shares: Shares) -> None:
        self._hours: BoundedTable[str, Hour] = BoundedTable(
            MAX_HOSTS_IN_HOUR, refuses=True, shares=shares, lifetime_s=HOUR_S
        )
        self._shared: Hour | None = None
        self._shared_until = 0.0

    def of(self, to: Address, datagrams: int, now: float) -> Hour:
        """The hour of a host.

        Args:
            to: The destination; any port of that host.
            datagrams: What it may be sent in a whole hour.
            now: The time, seconds.
        """
        hours, host = self._hours, to[0]
        hours.expire(now)
        hour = hours.get(host)
        if hour is not None:
            return hour
        hour = Hour(datagrams)
        if hours.put(host, hour, now, address=to):
            return hour
        if self._shared is None or now >= self._shared_until:
            self._shared, self._shared_until = hour, now + HOUR_S
        return self._shared

    def clear(self) -> None:
        """Forget the hours of all hosts that have their own."""
        self._hours.clear()
