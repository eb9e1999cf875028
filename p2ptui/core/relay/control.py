"""What a server relays, for whom and how much: one account for both forms of relaying.

A relay is a pair of nodes. Its first datagram opens it; it closes after `relay_timeout` without a
datagram, or when either session ends. A client that briefly exceeds its rate is delayed within
`buffer_size`; beyond that, and beyond every other limit, its datagrams are refused with a reason.
"""

from collections import Counter
from dataclasses import dataclass, field
from itertools import chain, islice
from typing import Final

from p2ptui.bounded import INDEXED, BoundedQueue, BoundedTable, TokenBucket
from p2ptui.config import TrafficForwardingOptions
from p2ptui.core.delivery import Delivery
from p2ptui.core.peers import Listed, NotHanded, Peer
from p2ptui.core.relay.values import (
    TRANSIENT,
    Pair,
    Parcel,
    Refusal,
    Refused,
    RelayClient,
    RelayReport,
    refusal_of,
)
from p2ptui.core.sessions.lifecycle import Lifecycle
from p2ptui.core.state import NodeState
from p2ptui.core.timers import Timer

MAX_DEPARTED_CLIENTS: Final = 4096
"""Departed clients whose account is kept, so that a new session does not mean a new allowance; or
as many as there may be peers."""

MIN_WAITING_BYTES: Final = 64
"""A waiting datagram counts as at least this many bytes of the buffer: it costs memory too."""

PUMP_INTERVAL_S: Final = 0.005
"""Waiting datagrams leave in batches this far apart, rather than with a timer each."""

REFUSALS_PER_SECOND: Final = 2
"""How often a client that keeps sending refused datagrams is told so."""

LASTING_REFUSALS_PER_SECOND: Final = 50
"""The same for refusals that will not change in a moment: each may be about another node, and a
client keeps asking until it is told."""


@dataclass(slots=True, eq=False)
class _Account:
    """What one client, by its node id, has used."""

    node_id: str
    meter: TokenBucket
    refusals: TokenBucket
    lasting_refusals: TokenBucket
    waiting: BoundedQueue[Parcel]
    datagrams: int = 0
    size_bytes: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    timer: Timer | None = None


class RelayControl:
    """Decides what is relayed, and when.

    Args:
        state: The shared state.
        delivery: Asks for proof of addresses.
        lifecycle: Reports peers that come and go.
    """

    def __init__(self, state: NodeState, delivery: Delivery, lifecycle: Lifecycle) -> None:
        self._state = state
        self._delivery = delivery
        self._options_read: TrafficForwardingOptions | None = None
        self._allowed = self._denied = frozenset[str]()
        self._chooses = False
        """Whether either of them names any node."""
        self._accounts: BoundedTable[str, _Account] = state.tables.add(
            "relay_clients", BoundedTable(state.most_peers)
        )
        self._departed: BoundedTable[str, _Account] = state.tables.add(
            "relay_clients",
            BoundedTable(
                lambda: max(MAX_DEPARTED_CLIENTS, state.config.server.max_connections),
            ),
        )
        self._relays: BoundedTable[Pair, bool] = state.tables.add(
            "relays",
            BoundedTable(
                lambda: state.config.traffic_forwarding.max_concurrent_relays,
                refuses=True,
                shares=state.tables.shares,
                peer_share=INDEXED,
                lifetime_s=lambda: state.config.traffic_forwarding.relay_timeout,
            ),
        )
        self._expiry: Timer | None = None
        state.tables.gauge("relay_waiting_bytes", self._waiting_bytes)
        lifecycle.on_left.append(self._release)

    def _read_options(self) -> TrafficForwardingOptions:
        """The current options; what follows from them changes with them."""
        options = self._state.config.traffic_forwarding
        if options is not self._options_read:
            self._options_read = options
            self._allowed = frozenset(map(str.lower, options.allow))
            self._denied = frozenset(map(str.lower, options.deny))
            self._chooses = bool(self._allowed or self._denied)
            for account in (*self._accounts.values(), *self._departed.values()):
                account.meter.set_rate(options.max_relay_rate_per_client)
        return options

    def _waiting_bytes(self) -> int:
        return sum(account.waiting.used_bytes for account in self._accounts.values())

    def _new_queue(self) -> BoundedQueue[Parcel]:
        return BoundedQueue(
            lambda: self._read_options().buffer_size // MIN_WAITING_BYTES,
            limit_bytes=lambda: self._read_options().buffer_size,
            size_of=lambda parcel: max(parcel.size_bytes, MIN_WAITING_BYTES),
        )

    def report(self, limit: int) -> RelayReport:
        """What is relayed: at most `limit` relays and `limit` clients."""
        tables = self._accounts, self._departed
        known = chain.from_iterable([table.newest_first() for table in tables])
        return RelayReport(
            self._read_options().allow_symmetric_nat_relay,
            len(self._relays),
            self._read_options().max_concurrent_relays,
            tuple(islice(reversed(self._relays), limit)),
            tuple(self._describe(account) for account in islice(known, limit)),
        )

    def _describe(self, account: _Account) -> RelayClient:
        return RelayClient(
            account.node_id,
            account.node_id in self._accounts,
            self._relays.held_by(account.node_id),
            account.datagrams,
            account.size_bytes,
            account.waiting.used_bytes,
            dict(account.refused),
        )

    # One parcel.

    def submit(self, client: Peer, parcel: Parcel, now: float) -> None:
        """Relay a parcel now or shortly, or refuse it; its form is told the result."""
        account = self._account(client, now)
        target = self._judge(client, parcel, now)
        if isinstance(target, Refused):
            self._conclude(account, client, parcel, target, now)
        elif account.waiting.used_bytes or account.meter.wait_s(now, parcel.size_bytes):
            self._keep_waiting(account, client, parcel, now)
        else:
            self._carry(account, client, target, parcel, now)

    def may_tell(self, client: Peer, now: float, *, lasting: bool = False) -> bool:
        """Whether a client that asked for no answer is told about a refusal.

        Args:
            client: The client.
            now: The time, seconds.
            lasting: Whether the refusal will still apply in a moment.
        """
        account = self._account(client, now)
        return (account.lasting_refusals if lasting else account.refusals).take(now)

    def _account(self, client: Peer, now: float) -> _Account:
        node_id = client.node_id
        account = self._accounts.get(node_id)
        if account is not None:
            self._accounts.touch(node_id)
            return account
        account = self._departed.pop(node_id, None)
        if account is None:
            meter = TokenBucket(self._read_options().max_relay_rate_per_client, now)
            account = _Account(
                node_id,
                meter,
                TokenBucket(REFUSALS_PER_SECOND, now),
                TokenBucket(LASTING_REFUSALS_PER_SECOND, now),
                self._new_queue(),
            )
        self._accounts.put(node_id, account)
        return account

    def _judge(self, client: Peer, parcel: Parcel, now: float) -> Listed | Refused:
        """The target of a parcel, regardless of the rate, with its relay open; or why it is
        refused."""
        if not self._read_options().allow_symmetric_nat_relay:
            text = "relaying is disabled on this server (allow_symmetric_nat_relay); use another"
            return Refused(Refusal.DISABLED, text)
        target_id = parcel.target_id
        here = self._state.peers.authenticated(target_id)
        target: Listed | None = here
        is_proved = True
        if here is None or not here.purse.proved:
            target = self._state.find(target_id)
            is_proved = target is not None and target.proved
        if target is None or target is client:
            return Refused(Refusal.UNKNOWN, f"node not found: {target_id[:64]}")
        denied = self._chooses and self._denial(client.node_id, target_id)
        if denied:
            return Refused(Refusal.DENIED, denied)
        capability = parcel.capability
        if capability is not None:
            if capability not in client.facts.capabilities:
                return Refused(Refusal.INCAPABLE, f"this node did not announce {capability}")
            if capability not in target.capabilities:
                text = "the node understands no relayed datagrams; use routed messages"
                return Refused(Refusal.INCAPABLE, text)
        if not client.is_plain or not target.is_plain:
            text = "one of the two nodes reaches this server through another; join it by address"
            return Refused(Refusal.CHAINED, text)
        if client.purse.proved and is_proved:
            return self._open(client, target_id, now) or target
        return self._judge_unproved(client, target, parcel, now)

    def _judge_unproved(
        self, client: Peer, target: Listed, parcel: Parcel, now: float
    ) -> Listed | Refused:
        """The same without opening a relay, if one of the two has not proved its address."""
        for node in (client, target):
            if isinstance(node, Peer):
                self._delivery.challenge(node, now)
        if parcel.capability is not None:
            text = "one of the two nodes has not proved its address yet; try again in a second"
            return Refused(Refusal.UNPROVED, text)
        # Deployed clients prove nothing unless they are asked. What reaches them is charged to
        # their allowance, and opens no relay: forged addresses must not use relays up.
        return target

    def _denial(self, *node_ids: str) -> str:
        """What the client is told if one of two nodes is not relayed for; empty if both are."""
        for node_id in node_ids:
            if node_id in self._denied or (self._allowed and node_id not in self._allowed):
                return f"this server does not relay for node {node_id}; ask its operator"
        return ""

    def _keep_waiting(self, account: _Account, client: Peer, parcel: Parcel, now: float) -> None:
        if not account.waiting.append(parcel):
            options = self._read_options()
            text = (
                f"over the limit of {options.max_relay_rate_per_client} bytes a second"
                f" (max_relay_rate_per_client), and {account.waiting.used_bytes} of"
                f" {options.buffer_size} bytes wait already (buffer_size); send more slowly"
            )
            self._conclude(account, client, parcel, Refused(Refusal.RATE, text), now)
            return
        if account.timer is None:
            self._plan(account, client, now)

    def _plan(self, account: _Account, client: Peer, now: float) -> None:
        pause_s = max(account.meter.wait_s(now, account.waiting[0].size_bytes), PUMP_INTERVAL_S)
        account.timer = self._state.timers.schedule(
            now + pause_s, lambda at: self._pump(account, client, at)
        )

    def _pump(self, account: _Account, client: Peer, now: float) -> None:
        account.timer = None
        while account.waiting and not account.meter.wait_s(now, account.waiting[0].size_bytes):
            parcel = account.waiting.popleft()
            target = self._judge(client, parcel, now)  # much may have changed
            if isinstance(target, Refused):
                self._conclude(account, client, parcel, target, now)
            else:
                self._carry(account, client, target, parcel, now)
        if account.waiting:
            self._plan(account, client, now)

    def _carry(
        self, account: _Account, client: Peer, target: Listed, parcel: Parcel, now: float
    ) -> None:
        if isinstance(target, Peer):
            has_left = parcel.form.carry(target, parcel, now)
        else:
            has_left = parcel.form.hand(target, client, parcel, now)
        if not has_left:
            refused = Refused(
                Refusal.UNSENDABLE, "the target cannot be sent to at present; send less at once"
            )
            if not target.proved:
                refused = Refused(Refusal.UNPROVED, "the target has not answered yet")
            self._conclude(account, client, parcel, refused, now)
            return
        account.meter.use(parcel.size_bytes)
        account.datagrams += 1
        account.size_bytes += parcel.size_bytes
        self._state.counters.relayed += 1
        parcel.form.conclude(client, parcel, None, now)

    def _conclude(
        self, account: _Account, client: Peer, parcel: Parcel, refused: Refused, now: float
    ) -> None:
        self._count(account, refused)
        parcel.form.conclude(client, parcel, refused, now)

    def _count(self, account: _Account, refused: Refused) -> None:
        account.refused[refused.kind.value] += 1
        self._state.counters.drop("relay_refused")

    def note_not_handed(
        self, client: Peer, target_id: str, why: NotHanded, now: float
    ) -> Refused | None:
        """A parcel handed to another server has not arrived: count it as refused.

        Args:
            client: The client that sent it.
            target_id: The id of its target.
            why: The outcome that the other server reported.
            now: The time, seconds.

        Returns:
            What the client is to be told, if that may be told now.
        """
        refused = refusal_of(why, target_id)
        self._count(self._account(client, now), refused)
        is_lasting = refused.kind not in TRANSIENT
        return refused if self.may_tell(client, now, lasting=is_lasting) else None

    # Relays.

    def _open(self, client: Peer, other: str, now: float) -> Refused | None:
        one = client.node_id
        pair = (one, other) if one < other else (other, one)
        if self._relays.get(pair):
            self._relays.renew(pair, now)
        elif not self._relays.put(pair, True, now, peers=pair, address=client.address):
            # It counts for the node that opens it: relays that others open to a host take nothing
            # from the nodes on that host.
            limit = self._read_options().max_concurrent_relays
            text = f"all {limit} relays of this server are in use (max_concurrent_relays)"
            if self._relays.has_room:
                text = (
                    "all relays that your address or network may have are in use"
                    " (max_share_per_address, max_share_per_prefix)"
                )
            text += "; try again later, or another server"
            return Refused(Refusal.RELAYS, text)
        if self._expiry is None:
            self._plan_expiry()
        return None

    def _plan_expiry(self) -> None:
        when = self._relays.next_expiry()
        if when is not None:
            self._expiry = self._state.timers.schedule(when, self._handle_expiry)

    def _handle_expiry(self, now: float) -> None:
        self._expiry = None
        self._relays.expire(now)
        self._plan_expiry()

    def _close(self, pair: Pair) -> None:
        del self._relays[pair]
        if not self._relays and self._expiry is not None:
            self._expiry.cancel()
            self._expiry = None

    # Who comes and goes.

    def note_left_elsewhere(self, node_id: str, _now: float) -> None:
        """No other server holds a node any more."""
        if self._state.find(node_id) is None:
            self._close_of(node_id)

    def _close_of(self, node_id: str) -> None:
        for pair in self._relays.of_peer(node_id):
            self._close(pair)

    def _release(self, peer: Peer, _now: float) -> None:
        self._close_of(peer.node_id)
        account = self._accounts.pop(peer.node_id, None)
        if account is None:
            return
        if account.timer is not None:
            account.timer.cancel()
            account.timer = None
        if account.waiting:
            account.refused[Refusal.GONE.value] += len(account.waiting)
            self._state.counters.drops["relay_refused"] += len(account.waiting)
            account.waiting.clear()
        self._departed.put(peer.node_id, account)
