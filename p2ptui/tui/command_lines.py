"""Command lines from the bar, the palette or a key, carried out alongside everything else."""

import asyncio
from typing import Final

from textual.worker import get_current_worker

from p2ptui.errors import P2PError, UnknownPeerError
from p2ptui.node.lookup import SeveralFitError
from p2ptui.text import printable
from p2ptui.tui.nat_run import NAT_GROUP, NatRun
from p2ptui.tui.pane_app import PaneApp
from p2ptui.tui.screen_verbs import ScreenVerbs
from p2ptui.verbs import Command, UnknownWordError, parse_command

GROUP: Final = "commands"

_SENDING: Final = frozenset(("send", "broadcast", "relay"))


class CommandLines:
    """Carries out command lines, and reports the results in the bar and in the log.

    Args:
        app: The screen.
        screen_verbs: Carries out what concerns the screen itself.
        nat_run: Runs diagnoses.
    """

    def __init__(self, app: PaneApp, screen_verbs: ScreenVerbs, nat_run: NatRun) -> None:
        self._app = app
        self._screen_verbs = screen_verbs
        self._nat_run = nat_run

    def run(self, line: str) -> None:
        """Carry out a command line."""
        # Extra colons mean the same.
        line = line.lstrip(": ")
        number = self._app.bar.begin_line()
        try:
            command = self._read(line)
        except UnknownWordError as error:
            work = self._carry_out_once_known(error.word, line, number)
            self._app.run_worker(work, group=GROUP)
            return
        except P2PError as error:
            self._tell_failure(error, line, number)
            return
        if self._screen_verbs.acts_at_once(command):
            # Text typed after it is meant for the place that it leads to.
            self._act(command, line, number)
            return
        is_nat = command.verb.name == "nat"
        self._app.run_worker(
            self._carry_out(command, line, number),
            group=NAT_GROUP if is_nat else GROUP,
            # Two diagnoses at once would disturb each other.
            exclusive=is_nat,
        )

    def _read(self, line: str, *more_names: str) -> Command:
        return parse_command(line, [*self._app.roster.names(), *more_names])

    async def _carry_out_once_known(self, word: str, line: str, number: int) -> None:
        """Carry out a line that names a node which perhaps only a server knows."""
        try:
            command = self._read(line, *await self._known_now(word, number))
        except P2PError as error:
            self._tell_failure(error, line, number)
            return
        if self._screen_verbs.acts_at_once(command):
            self._act(command, line, number)
        else:
            await self._carry_out(command, line, number)

    def cancel(self) -> bool:
        """Cancel what takes long; return whether there was anything."""
        workers = self._app.workers.cancel_group(self._app, GROUP)
        return self._nat_run.cancel(asked_for=True) or bool(workers)

    async def _known_now(self, word: str, number: int) -> list[str]:
        try:
            await self._app.executor.find(word, lambda text: self._tell_progress(text, number))
        except SeveralFitError:
            raise
        except UnknownPeerError:
            return []
        return [word]

    def _act(self, command: Command, line: str, number: int) -> None:
        try:
            said = self._screen_verbs.act(command)
        except P2PError as error:
            self._tell_failure(error, line, number)
            return
        self._app.bar.answer(said, line=number)

    async def _carry_out(self, command: Command, line: str, number: int) -> None:
        app, name = self._app, command.verb.name
        worker = get_current_worker()
        on_node = app.executor.handles(name) or name == "nat"

        def tell_progress(text: str) -> None:
            self._tell_progress(text, number)

        shell = ""
        try:
            if name == "nat":
                app.show_pane("nat")
                said = await self._nat_run.answer(
                    command.servers, tell_progress, command.filter_with
                )
                shell = app.nat.command
            elif on_node:
                done = await app.executor.run(command, tell_progress)
                said, shell = done.said, done.shell
            else:
                said = await self._screen_verbs.save(command)
        except asyncio.CancelledError:
            self._tell_cancelled(name, line, number)
            raise
        except P2PError as error:
            self._tell_failure(error, line, number)
            return
        if worker.is_cancelled:
            return
        shown = app.bar.answer(said, beside=shell, line=number)
        if on_node or (said and not shown):
            # If another line was entered meanwhile, the user looks for the answer here.
            late = "" if shown else f"{printable(line, 80)}: "
            app.note(late + said + (f"   ({shell})" if shell else ""))

    def _tell_progress(self, text: str, number: int) -> None:
        words = f"{printable(text)} ..."
        self._app.bar.answer(words, beside="Escape cancels", line=number)

    def _tell_cancelled(self, verb: str, line: str, number: int) -> None:
        """Say what was cancelled: what has already been sent cannot be recalled."""
        if verb in _SENDING and self._app.is_running:
            text = "cancelled; what was sent before may arrive all the same"
            self._app.bar.answer(text, failed=True, line=number)
            self._app.note(f"{printable(line, 80)}: {text}", "warn")

    def _tell_failure(self, error: P2PError, line: str, number: int) -> None:
        text = printable(str(error), 400)
        shown = self._app.bar.answer(text, failed=True, line=number)
        self._app.note(text if shown else f"{printable(line, 80)}: {text}", "warn")
