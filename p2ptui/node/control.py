"""Control questions: asked over flows that are old, while the tests try what may not pass.

They tell loss on the way, which takes from all flows alike, from what a NAT does to new flows or
to servers that sent unasked.
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
"""Between two rounds: as between two transmissions of what is tested."""

ANSWER_S: Final = 0.2
"""An answer is waited for so long at least."""

SLACK_S: Final = 0.15
"""And for so much longer than the slowest round trip so far."""

LATE_S: Final = 2.0
"""So long one that nobody waits for still counts: the way, or this machine, may have been busy."""

SILENT_S: Final = 1.0
"""Who is said to be silent has been so for so long at least, and for thrice the slowest round trip:
a queue on the way holds answers up for longer than some questions take."""

AT_FIRST: Final = 10
AT_ONCE: Final = 5
"""Questions of a round beside the first transmissions of new flows, and beside later ones: about
as many as there are flows that wait, so that the two can be compared."""


class Pace:
    """How long answers take on the way of one diagnosis."""

    def __init__(self, rtt_s: float) -> None:
        self._loop = asyncio.get_running_loop()
        self.slowest_s = rtt_s
        """The slowest round trip so far, seconds."""
        self.unasked_s = math.inf
        """When somebody was last asked for what is unasked, on the loop's clock."""

    def note(self, transaction: Transaction) -> None:
        """One was answered, or given up."""
        if transaction.answer is not None:
            self.slowest_s = max(self.slowest_s, transaction.answer.rtt_s)

    def until(self, asked: Transaction) -> float:
        """Until when an answer is worth waiting for, on the loop's clock."""
        return asked.sent_at_s[0] + max(ANSWER_S, self.slowest_s + SLACK_S)


class Track:
    """Questions over one flow in the order in which they were asked, and which were answered."""

    def __init__(self, client: StunClient, server: Address, pace: Pace) -> None:
        self._client = client
        self._server = server
        self._pace = pace
        self._asked: list[Transaction] = []

    def ask(self, change: ChangeRequest | None = None) -> Transaction:
        """Send one question, once.

        Args:
            change: From where else the reply shall come; it is no control question then.
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
        """Wait for the answer to the last question: none to an earlier one comes after it."""
        if self._asked:
            with suppress(TimeoutError):
                async with asyncio.timeout_at(self._pace.until(self._asked[-1])):
                    await self._asked[-1].wait()

    @property
    def heard_s(self) -> float:
        """When the last question was asked that was answered, on the loop's clock."""
        return self._asked[self.answered_until - 1].sent_at_s[0] if self.answered else -math.inf

    @property
    def silent_s(self) -> float:
        """Seconds since the first question after the last one that was answered; 0 without one."""
        silent = self._asked[self.answered_until :]
        now = asyncio.get_running_loop().time()
        return now - silent[0].sent_at_s[0] if silent else 0.0

    @property
    def answered(self) -> int:
        """Questions that were answered."""
        return sum(one.answer is not None for one in self._asked)

    @property
    def asked(self) -> int:
        """Questions."""
        return len(self._asked)

    @property
    def silent_at_last(self) -> int:
        """Questions in a row without an answer, up to the last one."""
        return len(self._asked) - self.answered_until

    @property
    def compared(self) -> tuple[int, int]:
        """Questions up to the last one that was answered, and how many of them were lost."""
        until = self.answered_until
        return until, until - self.answered

    @property
    def answered_until(self) -> int:
        """Questions up to the last one that was answered."""
        answered = [at for at, one in enumerate(self._asked, 1) if one.answer is not None]
        return answered[-1] if answered else 0


class Control:
    """The control questions of one diagnosis.

    Args:
        client: A socket that has asked before: the flows to whom it asked are old.
        server: The one that the new flows go to.
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
        """The questions to a server from the old socket."""
        if server not in self._tracks:
            self._tracks[server] = Track(self._client, server, self.pace)
        return self._tracks[server]

    def beside(self, client: StunClient, server: Address) -> Track:
        """Questions over the flow of a test itself."""
        track = Track(client, server, self.pace)
        self._beside_tests.append(track)
        return track

    def note_fresh(self, transaction: Transaction) -> None:
        """A request begins a flow."""
        if transaction.server == self._server:
            self._fresh.append(transaction)

    async def ask_beside_new_flows(self, is_over: Callable[[], bool]) -> None:
        """Ask the server while new flows to it begin, until that is over."""
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
        """Ask each of these once in each round, until cancelled."""
        while True:
            for server in servers:
                self.track(server).ask()
            await asyncio.sleep(PAUSE_S)

    async def silent(self, servers: Collection[Address], questions: int) -> list[Address]:
        """Those of these that are silent now, after so many questions in a row.

        One that answers the next question costs a round trip, and one that has answered since
        something unasked was last asked for costs nothing; only silence takes longer.
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
        """What was lost of new flows to the server, and of the old one at the same time.

        Of a flow that never came up one datagram counts as lost: a NAT may have no port for it.
        None does where its answer may only have been late.
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
