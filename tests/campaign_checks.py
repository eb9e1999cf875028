"""What must hold in every story of the fault campaign, and what is counted."""

from collections import Counter
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Final

from p2ptui.core.delivery import MAX_DEFERRED
from p2ptui.core.events import ConnectResult, DataReceived, PingResult, SendResult, SendStatus
from p2ptui.core.mesh.discovery import MAX_UNTOLD
from p2ptui.core.peers import MAX_ACKS_OWED, Peer
from p2ptui.core.pings import MAX_OUTSTANDING_PINGS, MAX_WAITING_PINGS
from p2ptui.core.reliability.channel import Channel
from p2ptui.core.reliability.duplicates import SEQUENCE_WINDOW
from p2ptui.errors import P2PError
from tests.simulation import Host, World

if TYPE_CHECKING:
    from tests.campaign_story import Story

MAX_STEPS_IN_A_ROW: Final = 500
"""Steps without any progress of time."""

MAX_TIMER_STEPS_PER_S: Final = 4 * 1200
"""Each of four nodes paces its sending at a grain of 1 ms, and has a few timers beside it."""

QUIET_STEPS_PER_S: Final = 13.0
"""Heartbeats, and of each direct path two consent checks in five seconds, each with its answer."""

MAX_TIMERS_OF_A_PEER: Final = 3
"""At rest: its heartbeat, its channel, and when its keys are to be replaced."""

MOST_READER_BYTES: Final = (1 << 20) + 100_000
"""The largest message alone, and what may wait beside others."""

EMPTY_AT_REST: Final = (
    "queries",
    "lists",
    "routed_waiting",
    "id_disputes",
    "reassembly_bytes",
    "reader_bytes",
    "senders_waiting",
    "early_messages",
    "membership_questions",
)
EMPTY_AT_THE_END: Final = ("peers", "timers", "routes", "relays", *EMPTY_AT_REST)


class BrokenError(AssertionError):
    """Something that must hold does not."""


def require(holds: object, what: str) -> None:
    """Raise BrokenError unless it holds."""
    if not holds:
        raise BrokenError(what)


@dataclass(frozen=True, slots=True)
class Sent:
    """One message, and where its end is told."""

    number: int
    sender: Host
    receiver_id: str
    size: int
    token: int
    reliable: bool
    must_arrive: bool


@dataclass(slots=True)
class Connect:
    """One handshake."""

    asker: Host
    answerer: Host
    token: int
    began: float
    was_cut: bool
    """Whether the two could not reach each other meanwhile."""


class WatchedWorld(World):
    """A world that notices when time stands still or timers run hot."""

    def __init__(self, seed: int, **link: Any) -> None:
        super().__init__(seed, **link)
        self.steps = 0
        self._standing = 0
        self._second = 0
        self._timer_steps = 0

    def _step(self, end: float) -> bool:
        before = self.now
        delivery = self.network.next_delivery()
        moved = super()._step(end)
        self.steps += 1
        self._standing = self._standing + 1 if self.now == before else 0
        require(self._standing < MAX_STEPS_IN_A_ROW, f"time stands still at {self.now:.3f} s")
        if int(self.now) != self._second:
            self._second, self._timer_steps = int(self.now), 0
        if delivery is None or delivery > self.now:
            self._timer_steps += 1
        require(self._timer_steps < MAX_TIMER_STEPS_PER_S, f"timers run hot at {self.now:.3f} s")
        return moved


@dataclass(slots=True)
class Summary:
    """What happened in one story, or in many."""

    seeds: int = 0
    handshakes: int = 0
    delivered: int = 0
    reported: int = 0
    """Reported as failed or timed out."""
    arrived_all_the_same: int = 0
    """Of these: the Ack was what got lost."""
    pings: int = 0
    pings_answered: int = 0
    introductions: int = 0
    introductions_failed: int = 0
    retransmissions: int = 0
    moves: int = 0
    """Clients that went on at another address."""
    restarts: int = 0
    """Servers and clients that died, and began anew."""
    no_room: int = 0
    """Messages that a slow reader had no room for when they came."""
    datagrams: int = 0
    virtual_s: float = 0.0
    slowest_message: tuple[float, int] = (0.0, 0)
    """Seconds from its sending to its Ack, and the seed."""
    slowest_megabyte: tuple[float, int] = (0.0, 0)
    slowest_seed: tuple[float, int] = (0.0, 0)
    """Seconds of real time."""
    failures: dict[int, str] = field(default_factory=dict)

    def add(self, other: "Summary") -> None:
        """Take in another one."""
        for name in (each.name for each in fields(self)):
            mine, its = getattr(self, name), getattr(other, name)
            if isinstance(mine, dict):
                mine.update(its)
            else:
                setattr(self, name, max(mine, its) if isinstance(mine, tuple) else mine + its)


def missing_numbers(channel: Channel) -> int:
    """How many numbers of a session have not come."""
    return 0 if channel.numbers is None else len(channel.numbers.missing)


def check_limits(story: "Story") -> None:
    """Nothing grows beyond its limit while much happens."""
    for host in story.living:
        sizes = host.endpoint.sizes()
        # A call has up to three timers, a peer two and those of doubts, and the rest is fixed.
        reading = sizes["reader_bytes"]
        require(reading <= MOST_READER_BYTES, f"{reading} bytes wait for a reader")
        unpaid = host.endpoint.counters.drops["unpaid"]
        require(unpaid == 0, f"{unpaid} datagrams that nothing paid for")
        limit = 40 + 10 * sizes["peers"] + 3 * story.calls_of(host)
        require(sizes["timers"] <= limit, f"{sizes['timers']} timers, the limit is {limit}")
        require(sizes["peers"] <= len(story.addresses), f"{sizes['peers']} peers")
        check_peers(host)


def check_peers(host: Host) -> None:
    """What is held for each peer of a node is within its limits."""
    reliability = host.endpoint.config.reliability
    for peer in host.endpoint.peers:
        channel = peer.channel
        held = (
            ("queued bytes", channel.sender.queued_bytes, reliability.max_queued_bytes),
            (
                "bytes in assembly",
                channel.reassembly.partial_bytes,
                reliability.reassembly_bytes_per_peer,
            ),
            ("missing numbers", missing_numbers(channel), SEQUENCE_WINDOW),
            ("deferred messages", len(peer.deferred), MAX_DEFERRED),
            ("Acks owed", len(peer.acks_owed), MAX_ACKS_OWED),
            ("nodes to be told of", len(peer.untold), MAX_UNTOLD),
            ("outstanding Pings", len(peer.pings), MAX_OUTSTANDING_PINGS + MAX_WAITING_PINGS),
        )
        for what, amount, most in held:
            require(amount <= most, f"{amount} {what}, the limit is {most}")


def check_rest(story: "Story") -> None:
    """Nothing is left of all that happened but the sessions themselves."""
    for host in story.living:
        sizes, name = host.endpoint.sizes(), story.name(host)
        for what in EMPTY_AT_REST:
            require(sizes[what] == 0, f"{name} still holds {sizes[what]} {what}")
        limit = MAX_TIMERS_OF_A_PEER * sizes["peers"] + sizes["keepalives"] + 1
        require(
            sizes["timers"] <= limit,
            f"{name} still has {sizes['timers']} timers for {sizes['peers']} peers",
        )
        for peer in host.endpoint.peers:
            _check_peer_at_rest(name, peer)


def _check_peer_at_rest(name: str, peer: Peer) -> None:
    sender = peer.channel.sender
    held = (
        ("unacknowledged messages", len(sender)),
        ("queued bytes", sender.queued_bytes),
        ("bytes under way", sender.window.in_flight),
        ("deferred messages", len(peer.deferred)),
        ("Acks owed", len(peer.acks_owed)),
        ("nodes to be told of", len(peer.untold)),
    )
    for what, amount in held:
        require(amount == 0, f"{name} still has {amount} {what} for {peer.name}")


def check_end(story: "Story") -> None:
    """After the goodbyes nothing at all is left, and nothing is under way."""
    for host in story.living:
        sizes = host.endpoint.sizes()
        for what in EMPTY_AT_THE_END:
            require(sizes[what] == 0, f"{story.name(host)} ends with {sizes[what]} {what}")
    require(story.world.network.next_delivery() is None, "datagrams are under way after the end")


def account(story: "Story") -> Summary:
    """Compare what was told with what arrived."""
    summary = Summary(seeds=1, virtual_s=story.elapsed_s)
    summary.moves, summary.restarts = story.moves, len(story.gone)
    arrived, echoes, times = _arrived(story)
    for sent in story.sent:
        number = sent.number
        # Each process under an id that was told it answers it.
        most_echoes = max(times[number], 1)
        _check_message(story, sent, arrived[number], summary)
        name = f"the echo of #{number}"
        require(echoes[number] <= most_echoes, f"{name} was delivered {echoes[number]} times")
    for connect in story.connects:
        outcome = connect.asker.outcomes.get(connect.token)
        if connect.asker in story.gone or connect.answerer in story.gone or connect.was_cut:
            summary.handshakes += isinstance(outcome, ConnectResult)
            continue
        names = f"{story.name(connect.asker)} and {story.name(connect.answerer)}"
        require(
            isinstance(outcome, ConnectResult),
            f"{names} did not shake hands at {connect.began:.3f} s: {outcome}",
        )
        summary.handshakes += 1
    for host, token in story.introductions:
        if host not in story.gone:
            summary.introductions += 1
            summary.introductions_failed += isinstance(host.outcomes[token], P2PError)
    for host, token in story.pings:
        if host not in story.gone:
            summary.pings += 1
            summary.pings_answered += isinstance(host.outcomes[token], PingResult)
    for host in story.all:
        under_way = sum(peer.channel.sender.retransmissions for peer in host.endpoint.peers)
        summary.retransmissions += host.endpoint.counters.retransmissions + under_way
        summary.no_room += host.endpoint.counters.drops["reader_full"]
        summary.datagrams += host.endpoint.counters.datagrams_out
        require(
            not host.endpoint.counters.drops["call_forgotten"],
            f"{host} has forgotten a call, which ended by its last resort",
        )
    return summary


def _arrived(story: "Story") -> tuple[Counter[int], Counter[int], Counter[int]]:
    """How often each message, and each echo, came to one reader, and each message to all.

    A process that begins anew remembers nothing, and may be told again what an earlier one
    under its id was told: that counts once.
    """
    arrived: Counter[int] = Counter()
    echoes: Counter[int] = Counter()
    times: Counter[int] = Counter()
    for host in story.all:
        came: tuple[Counter[int], Counter[int]] = (Counter(), Counter())
        for event in host.told(DataReceived):
            payload = event.payload["echo"] if event.is_echo else event.payload
            sent = story.sent[payload["n"]]
            reader = sent.sender.id if event.is_echo else sent.receiver_id
            require(host.id == reader, f"#{sent.number} reached {story.name(host)}")
            require(payload["text"] == text(sent.number, sent.size), f"#{sent.number} is mutilated")
            came[event.is_echo][sent.number] += 1
        arrived |= came[False]
        echoes |= came[True]
        times += came[False]
    return arrived, echoes, times


def _check_message(story: "Story", sent: Sent, arrived: int, summary: Summary) -> None:
    name = f"#{sent.number} ({sent.size} bytes from {story.name(sent.sender)})"
    require(arrived <= 1, f"{name} was delivered {arrived} times")
    outcome = sent.sender.outcomes.get(sent.token)
    if outcome is None or not sent.reliable:
        return  # its sender died, or wanted no answer
    require(isinstance(outcome, SendResult), f"{name} ended as {outcome!r}")
    assert isinstance(outcome, SendResult)
    if outcome.delivered:
        require(arrived == 1, f"{name} was reported as delivered, and was not")
        summary.delivered += 1
        took = (outcome.rtt_s or 0.0, story.seed)
        summary.slowest_message = max(summary.slowest_message, took)
        if sent.must_arrive:
            summary.slowest_megabyte = max(summary.slowest_megabyte, took)
        return
    require(not sent.must_arrive, f"{name} was not delivered: {outcome.reason}")
    reported = outcome.status in (SendStatus.FAILED, SendStatus.TIMED_OUT)
    require(reported, f"{name} ended as {outcome.status.value}")
    summary.reported += 1
    summary.arrived_all_the_same += arrived


def text(number: int, size: int) -> str:
    """A text that tells where it belongs, of exactly `size` characters."""
    piece = f"{number}/{size} "
    return (piece * (size // len(piece) + 1))[:size]
