"""The only way out: every datagram that leaves is paid for here, or does not leave."""

import math
from collections import deque
from collections.abc import Callable
from typing import Any, Final

from p2ptui.bounded import BoundedTable, Shares
from p2ptui.core.accounts import (
    AMPLIFICATION_LIMIT,
    BOUNDS,
    DATAGRAMS_EACH,
    SEARCH_PACE,
    Account,
    Grant,
    Payee,
    Purse,
    Reason,
    bound_of_search,
)
from p2ptui.core.addresses import Route, relayed_node
from p2ptui.core.counters import Counters
from p2ptui.core.debts import Debts
from p2ptui.core.events import DatagramDue, Event, StunReplyDue
from p2ptui.core.hours import Hours
from p2ptui.nat.stun_server import Place
from p2ptui.wire.address import Address

MAX_OUTGOING: Final = 50_000
"""Datagrams that may wait for `datagrams_to_send`."""

MAX_GRANTS: Final = 16_384
"""Addresses with a grant for one reason at a time; further ones are refused. What others can make
this node send fills only the table of that reason."""

_OWN: Final = Place.OWN
_STUN_ANSWER: Final = Reason.STUN_ANSWER
_STUN_BYTES: Final = BOUNDS[Reason.STUN_ANSWER].size


class Gate:
    """Lets out datagrams that an account pays for, and keeps all accounts.

    Every sender holds an account: the purse of an address, or a grant for a reason. Both are made
    here, and pay for one destination only: a peer's purse for the path to that peer, the credit of
    one datagram for its source, a grant for the address that it names. Datagrams that their account
    cannot pay for are dropped and counted as `unpaid`.

    Args:
        counters: Counts what leaves and what is dropped.
        emit: Takes what leaves by other sockets; without it, nothing does.
        search: The current options of a search: checks of one round, and seconds between two
            rounds.
        shares: The shares of grants, for each address and prefix.
    """

    def __init__(
        self,
        counters: Counters,
        emit: Callable[[Event], None] = lambda _: None,
        search: Callable[[], tuple[int, float]] = lambda: SEARCH_PACE,
        shares: Shares | None = None,
    ) -> None:
        self._counters = counters
        self._emit = emit
        self._search = search
        self.outgoing: deque[tuple[bytes, Address]] = deque()
        """Datagrams that were let out and wait for the node's own socket."""
        self.detours: dict[Address, Callable[[bytes], object]] = {}
        """Addresses that the socket does not reach itself, and functions that take datagrams there;
        they return False if they drop one."""
        self.source: Address | None = None
        """The source of the datagram being handled. Datagrams sent there meanwhile are answers, and
        leave from the address of this machine that it was sent to."""
        self.sealer: Callable[[bytes, Address, Any], bytes] | None = None
        """Seals what leaves for a secured peer or its address; empty result: it must not leave."""
        self._nobodys = Purse()
        self._arrival: Purse | None = self._nobodys
        self._arrived_from: Address = ("", 0)
        self.arrived_bytes = 0
        """The size of the datagram being handled, as it arrived: including the seal, if any."""
        self._free = math.inf
        """Bytes that may still be sent back to the proved peer whose datagram is being handled."""
        self.now = 0.0
        """The time of the current action, seconds."""
        self.admits_answer: Callable[[int, int, float], bool] = lambda _, __, ___: False
        """Whether all strangers may be sent this many bytes more, to answer this many of one."""
        self.admits_unvouched: Callable[[Purse, int, float], bool] = lambda *_: True
        """Whether a proved peer may be sent this many bytes for a request that may be forged."""
        self._grants = {
            reason: self._new_grants(bound.lifetime_s, counters, shares or Shares())
            for reason, bound in BOUNDS.items()
        }
        self._hours = Hours(shares or Shares())
        self.debts = Debts(shares or Shares())

    @staticmethod
    def _new_grants(
        lifetime_s: float, counters: Counters, shares: Shares
    ) -> BoundedTable[Address | str, Grant]:
        # A full table refuses: an evicted grant may be spent, and would come back whole.
        return BoundedTable(
            MAX_GRANTS,
            refuses=True,
            full="grants_full",
            shares=shares,
            lifetime_s=lifetime_s,
            count=counters.drop,
        )

    def __len__(self) -> int:
        return sum(map(len, self._grants.values()))

    # Incoming.

    def note_arrival(self, purse: Purse | None, source: Address, size: int) -> None:
        """A datagram of `size` bytes has arrived; it pays for its answers.

        Args:
            purse: The purse of the peer that sent it; None for a stranger.
            source: Where it came from.
            size: Its bytes.
        """
        self._arrival = purse
        self.arrived_bytes = size
        if purse is None:
            self._arrived_from = source
        else:
            purse.earn_bytes(size)
            self._free = float(AMPLIFICATION_LIMIT * size)

    def vouch(self) -> None:
        """The datagram being handled names something that only its sender can know, so its answers
        are not limited: they go to the node that asked for them."""
        self._free = math.inf

    def count_apart(self) -> None:
        """The code that answers the datagram being handled calls `draw` for each part of the
        answer: what leaves is not counted a second time."""
        self._free = math.inf

    def set_apart(self, free: float = math.inf) -> float:
        """Answer no datagram from here on; or, given what this returned, that one again."""
        before, self._free = self._free, free
        return before

    @property
    def is_vouched(self) -> bool:
        """Whether answers to the datagram being handled are not limited; see `vouch`."""
        return self._free == math.inf

    def draw(self, purse: Purse, size: int) -> bool:
        """Whether `size` bytes may go to a proved peer for a request that nothing vouches for; if
        so they are charged to its budget. See `count_apart` for an answer in parts."""
        if self.admits_unvouched(purse, size, self.now):
            return True
        self._counters.drop("unvouched")
        return False

    @staticmethod
    def commit(purse: Purse, size: int, datagrams: int) -> bool:
        """Whether a purse pays for what others will send to its address on this node's word.

        Args:
            purse: The purse of a peer.
            size: Bytes in total.
            datagrams: How many.
        """
        if purse.proved:
            return True
        if not purse.has_room(size) or purse.datagrams < datagrams:
            return False
        purse.note_committed(size, datagrams)
        return True

    @property
    def answer_purse(self) -> Purse:
        """What pays for answers to the datagram being handled: the purse of the peer that sent it
        or, for a stranger, what this one datagram has earned. Empty between datagrams."""
        purse = self._arrival
        if purse is None:
            # Made on demand: most datagrams from strangers are not answered.
            purse = self._arrival = self.earned_by(self.arrived_bytes, self._arrived_from)
        return purse

    def is_own_doing(self, purse: Purse, at: Address) -> bool:
        """Whether what is sent to a peer now was begun by this node itself: no datagram is being
        handled that seems to come from there, or that came through it.

        Args:
            purse: The peer's purse.
            at: The peer's address.
        """
        return purse is not self._arrival and self.source != (at[0], at[1])

    def settle(self) -> None:
        """The datagram has been handled: what follows is no answer to it."""
        self.source = None
        self._arrival = self._nobodys
        self._free = math.inf

    def earned_by(self, size: int, source: Address) -> Purse:
        """What one datagram of `size` bytes earns for its answer, whoever sent it: the one being
        handled, which the purse of a peer may have counted already."""
        purse = Purse(source)
        purse.earn_bytes(size)
        if self._arrival is not self._nobodys:
            purse.counted_in = self._arrival
        return purse

    @staticmethod
    def by_other_server(earned: Purse, address: Address) -> Purse:
        """What a relayed node's datagram has earned for the path to it through another server."""
        node = relayed_node(address)
        if earned.at is None or node is None or relayed_node(earned.at) != node:
            return earned
        purse = Purse(address)
        purse.earn_bytes(earned.bytes_in)
        purse.counted_in = earned.counted_in
        return purse

    # Accounts.

    def grant(self, reason: Reason, to: Address, now: float, purse: Purse | None = None) -> Grant:
        """What may be sent to an address for a reason, within the reason's bound.

        Args:
            reason: The reason.
            to: The destination.
            now: The time, seconds.
            purse: The purse of the address, if it has one: what is sent there is counted in it.
        """
        self.now = now
        at = to[0] if BOUNDS[reason].of_host else (to[0], to[1])
        grants = self._grants[reason]
        grant = grants.get(at)
        if grant is None or grant.expires < now:
            grant = self._new_grant(reason, at, to, now)
            if not grants.put(at, grant, now, address=to):
                return Grant(self._counters.use_of(reason), at, 0, 0, grant.expires, purse)
        if grant.hour is not None and grant.hour.left < 1:
            self._counters.drop("hour_spent")
        grant.purse = purse
        return grant

    def _new_grant(self, reason: Reason, at: Address | str, to: Address, now: float) -> Grant:
        bound = BOUNDS[reason]
        if reason is Reason.OWN_SEARCH:
            bound = bound_of_search(*self._search())
        hour = self._hours.of(to, bound.hourly, now) if bound.hourly else None
        use, expires = self._counters.use_of(reason), now + bound.lifetime_s
        return Grant(use, at, bound.size, bound.datagrams, expires, None, hour=hour)

    def order(self, reason: Reason, to: Address) -> Grant:
        """What the datagram being handled pays for at a third address, if nothing shows that it
        comes from the node that it names: three datagrams, and three times its bytes; once.

        Args:
            reason: Why something is sent there.
            to: The destination; any port of that host.
        """
        size, datagrams = AMPLIFICATION_LIMIT * self.arrived_bytes, DATAGRAMS_EACH
        if self._arrival is self._nobodys or not size:
            size = datagrams = 0
        self.arrived_bytes = 0
        expires = self.now + BOUNDS[reason].lifetime_s
        return Grant(self._counters.use_of(reason), to[0], size, datagrams, expires, None)

    def close(self) -> None:
        """Forget all grants."""
        for grants in self._grants.values():
            grants.clear()
        self._hours.clear()

    def grant_answer(self, purse: Purse, to: Address, earned: Purse | None = None) -> Grant:
        """One answer to the peer with this purse, paid from everything in it, including what is
        kept for Pings; or from what the answered datagram has `earned`, if that is more."""
        return self._one(Reason.ANSWER, purse, to, earned)

    def grant_ping(self, purse: Purse, to: Address) -> Grant:
        """One Ping to a peer, likewise."""
        return self._one(Reason.PING, purse, to, None)

    def _one(self, reason: Reason, purse: Purse, to: Address, earned: Purse | None) -> Grant:
        bound, use = BOUNDS[reason], self._counters.use_of(reason)
        size, datagrams = bound.size, bound.datagrams
        if not purse.proved:
            credit, paid = purse.credit, purse.datagrams
            if earned is not None:
                credit, paid = max(credit, earned.credit), max(paid, earned.datagrams)
            size, datagrams = min(size, credit), min(datagrams, paid)
        return Grant(use, to, size, datagrams, self.now, purse, is_own=True)

    # Outgoing.

    def send_to(self, peer: Payee, data: bytes, grant: Grant | None = None) -> bool:
        """Let out a datagram to a peer, if that peer's purse pays for it; returns whether it
        leaves.

        Args:
            peer: The peer.
            data: Its bytes.
            grant: What pays before the peer has proved its address; None for its purse alone.
        """
        purse, to = peer.purse, peer.sends_to
        if purse.proved:
            return self.send_proved(purse, data, to, peer)
        if grant is not None:
            return self.send(data, to, grant)
        if peer.has_room(len(data)):
            purse.charge(len(data))
            return self._leave(data, to, peer)
        self._counters.drop("unpaid")
        return False

    def send_proved(self, purse: Purse, data: bytes, to: Address, peer: Payee) -> bool:
        """Like `send_to`, for a peer that has proved its address."""
        size = len(data)
        if purse is self._arrival:
            # It goes back to the apparent source of the datagram being handled.
            free = self._free - size
            if free < 0 and not self.draw(purse, int(min(size, -free))):
                return False  # a smaller one may still be free
            self._free = free if free > 0 else 0  # of each answer: no call
        purse.bytes_out += size
        return self._leave(data, to, peer)

    def send(
        self,
        data: bytes,
        to: Address,
        account: Account,
        *,
        socket: int = 0,
        ttl: int | None = None,
    ) -> bool:
        """Let out a datagram to an address, if an account for this address pays.

        Args:
            data: Its bytes.
            to: The destination.
            account: What pays.
            socket: The number of the socket that it leaves by; 0 is the node's own.
            ttl: Hops that it may travel; None: no limit.

        Returns:
            Whether it was paid for, and leaves.
        """
        if not self.lets_out(len(data), to, account):
            return False
        if socket or ttl is not None:
            return self._leave_by(data, DatagramDue(socket, data, to, ttl))
        return self._leave(data, to)

    def lets_out(self, size: int, to: Address, account: Account) -> bool:
        """Whether an account pays for a datagram of `size` bytes; if so it is charged.

        On its own it is for sockets that are not the endpoint's; see `io.exits`.
        """
        if account.covers(to) and account.pay(size, self.now):
            return True
        self._counters.drop("unpaid")
        return False

    def refuse(
        self,
        data: bytes,
        to: Address,
        earned: Purse,
        now: float,
        purse: Purse | None = None,
        *,
        is_known: bool = False,
    ) -> bool:
        """Answer a node that is no peer yet, if its request pays for the answer and the total for
        all such answers leaves room.

        Args:
            data: The answer.
            to: The destination.
            earned: What the answered datagram has earned.
            now: The time, seconds.
            purse: The purse of the peer at this address, if there is one: it must pay too.
            is_known: Whether it comes from the address of a peer, or carries the id of one: then it
                pays for its own answer alone, so that a flood of strangers does not delay it.
        """
        if not (earned if purse is None else purse).may_receive(len(data)):
            return False
        if not (is_known or self.admits_answer(len(data), earned.bytes_in, now)):
            return False
        return self.send(data, to, earned if purse is None else self.grant_answer(purse, to))

    def reply(self, place: Place, data: bytes, to: Address, account: Account) -> bool:
        """Let out an answer of the STUN server through one of its sockets; see `send`."""
        return self.lets_out(len(data), to, account) and self._leave_from(place, data, to)

    def answer_stun(self, place: Place, data: bytes, to: Address, asked_bytes: int) -> bool:
        """Let out the answer to a STUN request of `asked_bytes` through one of the server's
        sockets, if what the request earned pays for it, or its standard requires it. There is
        one answer, so no account is kept for it."""
        use, size = self._counters.use_of(_STUN_ANSWER), len(data)
        use.granted += 1
        if size > _STUN_BYTES and size > AMPLIFICATION_LIMIT * asked_bytes:
            use.refused += 1
            self._counters.drop("unpaid")
            return False
        use.note_paid(size)
        return self._leave_from(place, data, to)

    def _leave_from(self, place: Place, data: bytes, to: Address) -> bool:
        if place is _OWN:
            return self._leave(data, to)
        return self._leave_by(data, StunReplyDue(place, data, to))

    def detour_by(self, route: Route) -> Callable[[bytes], object]:
        """A function that sends an already paid datagram through a further socket."""
        return lambda data: self._leave_by(
            data, DatagramDue(route.socket, data, route.remote, None)
        )

    def _leave(self, data: bytes, to: Address, peer: Payee | None = None) -> bool:
        if self.sealer is not None and not (data := self.sealer(data, to, peer)):
            return False
        source, counters = self.source, self._counters
        if source == to:
            to = source
        if self.detours and (detour := self.detours.get(to)) is not None:
            return detour(data) is not False
        if "@" in to[0]:  # relayed, and the server is gone
            counters.drop("no_relay")
            return False
        if len(self.outgoing) >= MAX_OUTGOING:
            counters.drop("outgoing_full")
            return False
        counters.datagrams_out += 1
        counters.bytes_out += len(data)
        self.outgoing.append((data, to))
        return True

    def _leave_by(self, data: bytes, event: Event) -> bool:
        self._counters.datagrams_out += 1
        self._counters.bytes_out += len(data)
        self._emit(event)
        return True

    def take(self) -> list[tuple[bytes, Address]]:
        """Take all datagrams that wait for the node's own socket, oldest first."""
        taken = list(self.outgoing)
        self.outgoing.clear()
        return taken
