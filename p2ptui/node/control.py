"""Control requests: sent over old flows, while the tests try what may not pass.

They tell loss on the way, which affects all flows alike, from what a NAT does to new flows or to
servers that sent unsolicited datagrams.
"""

import asyncio
import math
from collections.abc import Callable, Collection
from contextlib import suppress
from typing import Final

from p2ptui.io.stun_client import Schedule, StunClient, Transaction
from p2ptui.nat.flow_losses import FlowLosses
from p2ptui.wire.address import Address
from p2ptui.wire.stun import Change as ChangeRequest

PAUSE_S: Final = 0.1
"""The pause between two rounds: the same as between two transmissions of a test."""

ANSWER_S: Final = 0.2
"""The least time to wait for an answer."""

SLACK_S: Final = 0.15
"""Time to wait beyond the slowest round trip so far."""

LATE_S: Final = 2.0
"""How late an answer still counts that nobody waits for: the path, or this machine, may have been
busy.
"""

SILENT_S: Final = 1.0
"""A server counts as silent after at least this long, and three times the slowest round trip: a
queue on the way can delay answers by more than the time that some requests take.
"""

AT_FIRST: Final = 10
AT_ONCE: Final = 5
"""Requests of a round beside the first transmissions of new flows, and beside later ones: about as
many as there are flows that wait, so that the two can be compared.
"""


class Pace:
    """How long answers take in one diagnosis."""

    def __init__(self, rtt_s: float) -> None:
        self._loop = asyncio.get_running_loop()
        self.slowest_s = rtt_s
        """The slowest round trip so far, seconds."""
        self.unasked_s = math.inf
        """When an unsolicited reply was last asked for, on the loop's clock."""

    def note(self, transaction: Transaction) -> None:
        """Record a transaction that was answered or given up."""
        if transaction.answer is not None:
            self.slowest_s = max(self.slowest_s, transaction.answer.rtt_s)

    def until(self, asked: Transaction) -> float:
        """Until when to wait for an answer, on the loop's clock."""
        return asked.sent_at_s[0] + max(ANSWER_S, self.slowest_s + SLACK_S)


class Track:
    """The requests over one flow in order, and which of them were answered."""

    def __init__(self, client: StunClient, server: Address, pace: Pace) -> None:
        self._client = client
        self._server = server
        self._pace = pace
        self._asked: list[Transaction] = []

    def ask(self, change: ChangeRequest | None = None) -> Transaction:
        """Send one request, once.

        Args:
            change: From where else the reply is to come; then it is not a control request.
        """
        schedule = Schedule((0.0,), LATE_S)
        transaction = self._client.start(self._server, schedule, change=change)
        transaction.on_done = lambda: self._pace.note(transaction)
        if change is None:
            self._asked.append(transaction)
        else:
            self._pace.unasked_s = transaction.sent_at_s[0]
        return transaction

    async def settle(self) -> None:
        """Wait for the answer to the last request: no answer to an earlier one comes after it."""
        if self._asked:
            with suppress(TimeoutError):
                async with asyncio.timeout_at(self._pace.until(self._asked[-1])):
                    await self._asked[-1].wait()

    @property
    def heard_s(self) -> float:
        """When the last request that was answered was sent, on the loop's clock."""
        return self._asked[self.answered_until - 1].sent_at_s[0] if self.answered else -math.inf

    @property
    def silent_s(self) -> float:
        """Seconds since the first request after the last answered one; 0 if there is none."""
        silent = self._asked[self.answered_until :]
        now = asyncio.get_running_loop().time()
        return now - silent[0].sent_at_s[0] if silent else 0.0

    @property
    def answered(self) -> int:
        """The number of requests that were answered."""
        return sum(one.answer is not None for one in self._asked)

    @property
    def asked(self) -> int:
        """The number of requests."""
        return len(self._asked)

    @property
    def silent_at_last(self) -> int:
        """The number of unanswered requests at the end."""
        return len(self._asked) - self.answered_until

    @property
    def compared(self) -> tuple[int, int]:
        """The requests up to the last answered one, and how many of them were lost."""
        until = self.answered_until
        return until, until - self.answered

    @property
    def answered_until(self) -> int:
        """The number of requests up to the last answered one."""
        answered = [at for at, one in enumerate(self._asked, 1) if one.answer is not None]
        return answered[-1] if answered else 0


class Control:
    """The control requests of one diagnosis.

    Args:
        client: A socket that has asked before: its flows to those servers are old.
        server: The server that the new flows go to.
        rtt_s: The round trip to it, seconds.
    """

    def __init__(self, client: StunClient, server: Address, rtt_s: float) -> None:
        self._client = client
        self._server = server
        self.pace = Pace(rtt_s)
        """How long answers take."""
        self._tracks: dict[Address, Track] = {}
        self._beside_tests: list[Track] = []
        self._fresh: list[Transaction] = []
        self._while_fresh: tuple[int, int] = (0, 0)

    def track(self, server: Address) -> Track:
        """The requests to a server from the old socket."""
        if server not in self._tracks:
            self._tracks[server] = Track(self._client, server, self.pace)
        return self._tracks[server]

    def beside(self, client: StunClient, server: Address) -> Track:
        """Requests over the flow of a test itself."""
        track = Track(client, server, self.pace)
        self._beside_tests.append(track)
        return track

    def note_fresh(self, transaction: Transaction) -> None:
        """Record a request that begins a flow."""
        if transaction.server == self._server:
            self._fresh.append(transaction)

    async def ask_beside_new_flows(self, is_over: Callable[[], bool]) -> None:
        """Send requests to the server beside the new flows to it, until those are over."""
        track = self.track(self._server)
        count = AT_FIRST
        while not is_over():
            for _ in range(count):
                track.ask()
            count = AT_ONCE
            await asyncio.sleep(PAUSE_S)
            self._while_fresh = track.compared
        await track.settle()
        self._while_fresh = track.compared

    async def ask_on(self, servers: Collection[Address]) -> None:
        """Send each of these one request a round, until cancelled."""
        while True:
            for server in servers:
                self.track(server).ask()
            await asyncio.sleep(PAUSE_S)

    async def silent(self, servers: Collection[Address], questions: int) -> list[Address]:
        """Of these, the servers that are silent now, after this many requests in a row.

        A server that answers the next request costs a round trip, and one that has answered since
        the last request for an unsolicited reply costs nothing; only silence takes longer.
        """
        tracks = {server: self.track(server) for server in servers}
        since = {server: track.asked for server, track in tracks.items()}
        waiting = [
            server for server, track in tracks.items() if track.heard_s <= self.pace.unasked_s
        ]
        silent: list[Address] = []
        while waiting:
            asked = [tracks[server].ask() for server in waiting]
            with suppress(TimeoutError):
                async with asyncio.timeout(PAUSE_S):
                    for transaction in asked:
                        await transaction.wait()
            waiting = [at for at in waiting if tracks[at].answered_until <= since[at]]
            silent += [at for at in waiting if self._is_silent(tracks[at], questions)]
            waiting = [at for at in waiting if at not in silent]
        return silent

    def _is_silent(self, track: Track, questions: int) -> bool:
        is_long = track.silent_s >= max(SILENT_S, 3 * self.pace.slowest_s)
        return is_long and track.silent_at_last >= questions

    @property
    def new_flows(self) -> FlowLosses:
        """The losses of new flows to the server, and of the old one at the same time.

        For a flow that never came up, one datagram counts as lost: a NAT may have no port for it.
        None counts if its answer may only have been late.
        """
        sent = lost = 0
        for transaction in self._fresh:
            if transaction.answer is not None:
                sent += transaction.lost + 1
                lost += transaction.lost
            elif transaction.done.is_set() and not self._may_be_late(transaction):
                sent += 1
                lost += 1
        return FlowLosses(sent, lost, *self._while_fresh)

    def _may_be_late(self, transaction: Transaction) -> bool:
        return transaction.schedule.give_up_s < 3 * self.pace.slowest_s

    @property
    def loss(self) -> float | None:
        """The share of round trips lost on the way over old flows; a trace is assumed in any case.

        None if nothing was asked.
        """
        compared = [t.compared for t in (*self._tracks.values(), *self._beside_tests)]
        asked, lost = (
            (sum(column) for column in zip(*compared, strict=True)) if compared else (0, 0)
        )
        return (lost + 0.5) / (asked + 1) if asked else None
