"""Control questions: asked over flows that are old, while the tests try what may not pass.

They tell loss on the way, which takes from all flows alike, from what a NAT does to new flows or
to servers that sent unasked.
"""

import asyncio
from collections.abc import Callable, Collection
from typing import Final

from p2ptui.io.stun_client import Schedule, StunClient, Transaction
from p2ptui.nat.flow_losses import FlowLosses
from p2ptui.wire.address import Address

PAUSE_S: Final = 0.1
"""Between two rounds: as between two transmissions of what is tested."""

ANSWER_S: Final = 0.2
"""An answer is awaited for so long at least, and for two round trips."""

AT_FIRST: Final = 10
AT_ONCE: Final = 5
"""Questions of a round beside the first transmissions of new flows, and beside later ones: about
as many as there are flows that wait, so that the two can be compared."""


class Track:
    """Questions over one flow in the order in which they were asked, and which were answered."""

    def __init__(self, client: StunClient, server: Address, rtt_s: float) -> None:
        self._client = client
        self._server = server
        self._schedule = Schedule((0.0,), max(ANSWER_S, 2 * rtt_s))
        self._asked: list[Transaction] = []

    def ask(self) -> Transaction:
        """Send one question, once."""
        transaction = self._client.start(self._server, self._schedule)
        self._asked.append(transaction)
        return transaction

    async def settle(self) -> None:
        """Wait for the answers that may still come."""
        for transaction in self._asked:
            await transaction.wait()

    @property
    def answered(self) -> int:
        """Questions that were answered."""
        return sum(one.answer is not None for one in self._asked)

    @property
    def silent_at_last(self) -> int:
        """Questions in a row without an answer, up to the last one."""
        return len(self._asked) - self._answered_until

    @property
    def compared(self) -> tuple[int, int]:
        """Questions up to the last one that was answered, and how many of them were lost."""
        until = self._answered_until
        return until, until - self.answered

    @property
    def _answered_until(self) -> int:
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
        self._rtt_s = rtt_s
        self._tracks: dict[Address, Track] = {}
        self._beside_tests: list[Track] = []
        self._fresh: list[Transaction] = []
        self._while_fresh: tuple[int, int] = (0, 0)

    def track(self, server: Address) -> Track:
        """The questions to a server from the old socket."""
        if server not in self._tracks:
            self._tracks[server] = Track(self._client, server, self._rtt_s)
        return self._tracks[server]

    def beside(self, client: StunClient, server: Address, rtt_s: float) -> Track:
        """Questions over the flow of a test itself."""
        track = Track(client, server, rtt_s)
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

    async def ask_on(self, servers: Collection[Address], is_over: Callable[[], bool]) -> None:
        """Ask each of these once in each round, until that is over."""
        while not is_over():
            for server in servers:
                self.track(server).ask()
            await asyncio.sleep(PAUSE_S)

    async def silent(self, servers: Collection[Address], questions: int) -> list[Address]:
        """Those of these that are silent now, after so many questions in a row.

        One that answers the next question costs a round trip; only silence takes longer.
        """
        tracks = {server: self.track(server) for server in servers}
        for track in tracks.values():
            track.ask()
        for _ in range(questions):
            await asyncio.sleep(min(PAUSE_S, self._rtt_s * 1.5 + 0.005))
            open_tracks = [t for t in tracks.values() if 0 < t.silent_at_last < questions]
            if not open_tracks:
                break
            for track in open_tracks:
                track.ask()
        silent = []
        for server, track in tracks.items():
            if track.silent_at_last:
                await track.settle()
            if track.silent_at_last >= questions:
                silent.append(server)
        return silent

    @property
    def new_flows(self) -> FlowLosses:
        """What was lost of new flows to the server, and of the old one at the same time.

        Of a flow that never came up one datagram counts as lost: a NAT may have no port for it.
        """
        sent = lost = 0
        for transaction in self._fresh:
            if transaction.answer is not None:
                sent += transaction.lost + 1
                lost += transaction.lost
            elif transaction.done.is_set() or len(transaction.sent_at_s) > 1:
                sent += 1
                lost += 1
        return FlowLosses(sent, lost, *self._while_fresh)

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
