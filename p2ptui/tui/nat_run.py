"""Runs one NAT diagnosis at a time, and reports it to its pane."""

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

from p2ptui.errors import P2PError
from p2ptui.nat.report import NatReport
from p2ptui.nat.report_text import verdict_words
from p2ptui.node import diagnose_first
from p2ptui.tui.feed import FeedApp

NAT_GROUP: Final = "nat"
"""The workers of a diagnosis; a new one ends the previous one."""


class NatRun:
    """Runs diagnoses.

    Args:
        app: The screen.
    """

    def __init__(self, app: FeedApp) -> None:
        self._app = app
        self._number = 0
        self._asked_for = False

    def begin_quietly(self) -> None:
        """Run a diagnosis that the user did not ask for: its result is shown only in the pane."""
        self._app.run_worker(self._quietly(), group=NAT_GROUP, exclusive=True)

    def cancel(self, *, asked_for: bool = False) -> bool:
        """End the running diagnosis; return whether there was one.

        Args:
            asked_for: Only end one that the user asked for.
        """
        if not self._app.nat.running or (asked_for and not self._asked_for):
            return False
        return bool(self._app.workers.cancel_group(self._app, NAT_GROUP))

    async def answer(
        self,
        servers: Sequence[str],
        progress: Callable[[str], None],
        filter_with: Sequence[str] = (),
    ) -> str:
        """Run a diagnosis; return the result in one line.

        Args:
            servers: STUN servers; none: those that the node knows.
            progress: Called with its progress.
            filter_with: Servers that the NAT may ban for a test of what it lets in.

        Raises:
            P2PError: It failed; the text says why.
        """
        report = await self._run(servers, progress, filter_with, asked_for=True)
        return f"{verdict_words(report)}: {report.meaning}"

    async def _quietly(self) -> None:
        async def diagnose() -> bool:
            with contextlib.suppress(P2PError):
                report = await self._run((), lambda _: None, (), asked_for=False)
                return report.udp is not None
            return False

        await diagnose_first(self._app.node, diagnose)

    async def _run(
        self,
        servers: Sequence[str],
        progress: Callable[[str], None],
        filter_with: Sequence[str],
        *,
        asked_for: bool,
    ) -> NatReport:
        pane = self._app.nat
        self._number += 1
        number = self._number
        self._asked_for = asked_for

        def is_last() -> bool:
            # A diagnosis that was ended for another cleans up while that one is already running.
            return number == self._number

        def tell(text: str) -> None:
            if is_last():
                pane.tell_step(text)
            progress(text)

        pane.begin(servers)
        try:
            diagnose = self._app.node.diagnose_nat
            if filter_with:
                diagnose = partial(diagnose, filter_with=filter_with)
            report = await diagnose(servers or None, on_progress=tell)
        except P2PError as error:
            if is_last():
                pane.fail(str(error))
            raise
        except asyncio.CancelledError:
            if is_last():
                pane.fail("it was cancelled")
            raise
        pane.take_report(report)
        return report
