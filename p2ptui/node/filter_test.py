"""The test of what a NAT lets in: requests for replies from elsewhere, and what silence proves.

The flow is opened first, and a control request goes over it beside each test request, so that a
lost new flow, or a server that falls silent, is not mistaken for a filter.
"""

import asyncio
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Final

from p2ptui.io.stun_client import StunAnswer, StunClient, Transaction
from p2ptui.nat.behavior import Change, FilterTest, Reply, is_silence_believed
from p2ptui.node.control import PAUSE_S, Pace, Track
from p2ptui.node.nat_tests import MORE_SENDS, SENDS, Ground
from p2ptui.node.stun_servers import KnownServer
from p2ptui.wire.address import Address, format_address
from p2ptui.wire.stun import Change as ChangeRequest
from p2ptui.wire.stun import MessageClass

FEWEST_OPEN: Final = 5
"""Control requests that must be answered alongside; of seven at 10 % loss each way, usually six
are.
"""


async def probe_filter(ground: Ground, change: Change, may_ask: asyncio.Event) -> FilterTest:
    """Ask the server for a reply from elsewhere (RFC 5780, section 4.4).

    That the other address sends at all must be known otherwise: silence looks the same.

    Args:
        ground: The ground of all tests.
        change: Where the reply is to come from.
        may_ask: Set once the request may be sent; the flow is opened before.
    """
    other_host = change is Change.ADDRESS_AND_PORT
    asked = f"asked {format_address(ground.server)}"
    async with ground.fresh() as client:
        if await ground.open_flow(client, ground.start_flow(client)) is None:
            return FilterTest(change, Reply.UNTESTABLE, f"{asked}, but no new flow to it came up")
        await may_ask.wait()
        questions = _Questions(ground, client, other_host=other_host)
        answer = await questions.ask()
    if answer is None:
        sends = questions.track.answered
        return FilterTest(change, Reply.SILENCE, asked, sends, is_cut_off=not questions.are_enough)
    if answer.message.message_class is MessageClass.ERROR:
        code = answer.message.error[0] if answer.message.error else "an error"
        return FilterTest(change, Reply.UNTESTABLE, f"{asked}, which refused: {code}")
    if _is_elsewhere(answer.source, ground.server, other_host=other_host):
        detail = f"{asked}, came from {format_address(answer.source)}"
        return FilterTest(change, Reply.CAME, detail, questions.sent)
    return FilterTest(change, Reply.UNTESTABLE, f"{asked}, which ignored the question")


def _is_elsewhere(source: Address, server: Address, *, other_host: bool) -> bool:
    return source[1] != server[1] and (source[0] != server[0]) is other_host


class _Questions:
    """Rounds of two requests from one socket: a control request, and one for a reply from
    elsewhere. Only rounds whose control request was answered count.
    """

    def __init__(self, ground: Ground, client: StunClient, *, other_host: bool) -> None:
        self._ground = ground
        self._change = ChangeRequest.BOTH if other_host else ChangeRequest.PORT
        self._arrived = asyncio.Event()
        self._asked: list[Transaction] = []
        control = ground.control
        self._pace = control.pace if control is not None else Pace(ground.rtt_s)
        if control is not None:
            self.track = control.beside(client, ground.server)
        else:
            self.track = Track(client, ground.server, self._pace)

    @property
    def sent(self) -> int:
        """The number of requests for a reply from elsewhere."""
        return len(self._asked)

    @property
    def are_enough(self) -> bool:
        """Whether the path was seen to be open often enough for silence to mean something."""
        return self.track.answered >= min(self._ground.sends, FEWEST_OPEN)

    async def ask(self) -> StunAnswer | None:
        """The first answer; None after enough requests for silence to mean something."""
        await self._ask_rounds(self._ground.sends)
        if self._answer is None and not self._is_decided:
            await self._ask_rounds(MORE_SENDS)
        return self._answer

    async def _ask_rounds(self, rounds: int) -> None:
        """Send this many rounds, and wait for the last answers; a reply from elsewhere ends it."""
        for _ in range(rounds):
            self.track.ask()
            question = self.track.ask(self._change)
            question.on_done = self._note
            self._asked.append(question)
            with suppress(TimeoutError):
                async with asyncio.timeout(PAUSE_S):
                    await self._arrived.wait()
            if self._arrived.is_set():
                return
        with suppress(TimeoutError):
            async with asyncio.timeout_at(self._pace.until(self._asked[-1])):
                await self._arrived.wait()

    @property
    def _is_decided(self) -> bool:
        # The first one is sent before anything can be done about it.
        if self.track.silent_at_last >= max(self._ground.sends, SENDS) - 1:
            return True
        return self.are_enough and is_silence_believed(self._ground.loss, self.track.answered)

    @property
    def _answer(self) -> StunAnswer | None:
        return next((one.answer for one in self._asked if one.answer is not None), None)

    def _note(self) -> None:
        if self._answer is not None:
            self._arrived.set()


def source_of(server: KnownServer, change: Change) -> Address | None:
    """The address that sends an unsolicited reply for this server, as far as a NAT can tell by the
    host.
    """
    return server.address if change is Change.PORT else server.other


def controlled(
    tests: Sequence[tuple[KnownServer, FilterTest]],
    heard: Collection[Address],
    fell_silent: Collection[Address],
) -> list[FilterTest]:
    """Count silence only from servers that can reply from elsewhere, and whose other address was
    heard when asked directly.

    Args:
        tests: Each with the server that was asked.
        heard: The addresses that answered when asked directly.
        fell_silent: Of those, the ones that no longer answer.
    """
    for server, test in tests:
        server.has_changed |= test.reply is Reply.CAME
    return [_controlled_one(server, test, heard, fell_silent) for server, test in tests]


def _controlled_one(
    server: KnownServer,
    test: FilterTest,
    heard: Collection[Address],
    fell_silent: Collection[Address],
) -> FilterTest:
    if test.reply is not Reply.SILENCE or server.address is None:
        return test
    source = source_of(server, test.change)
    if source in fell_silent:
        detail = f"{test.detail}; {format_address(source)} is silent since" if source else ""
        return replace(test, detail=detail, is_refused=True)
    if test.is_cut_off:
        detail = f"{test.detail}, which answered only {test.sends} control questions beside"
        return replace(test, reply=Reply.UNTESTABLE, detail=detail)
    if not server.can_change:
        detail = f"{server.text} was not seen to answer from elsewhere"
        return replace(test, reply=Reply.UNTESTABLE, detail=detail)
    if test.change is Change.PORT:
        places = server.other_ports
    else:
        places = {server.other} if server.other is not None else set()
    if any(place in heard for place in places):
        return test
    detail = f"{server.text} names no other address"
    if places:
        names = " and ".join(format_address(place) for place in sorted(places))
        detail = f"{names} did not answer when asked directly"
    return replace(test, reply=Reply.UNTESTABLE, detail=detail)


def banned(
    tests: Sequence[tuple[KnownServer, FilterTest]], fell_silent: Collection[Address]
) -> list[Address]:
    """The addresses that fell silent after a reply that was not let in; a reply that came in was
    not refused.
    """
    return [
        source
        for server, test in tests
        if test.reply is not Reply.CAME
        and (source := source_of(server, test.change)) is not None
        and source in fell_silent
    ]
