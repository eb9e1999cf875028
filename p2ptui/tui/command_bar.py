"""The command bar: one line to type in, with completion, history and errors under it."""

from collections.abc import Callable, Iterable
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.message import Message
from textual.suggester import Suggester
from textual.widgets import Input, Static

from p2ptui.tui.history import History
from p2ptui.verbs import VERBS, Kind


def completions(line: str, peers: Iterable[str]) -> list[str]:
    """What the word under the cursor may become: whole lines, the likeliest first."""
    words = line.split(" ")
    if len(words) == 1:
        return [
            f"{name} " if VERBS[name].parameters else name
            for name in VERBS
            if name.startswith(line)
        ]
    verb = VERBS.get(words[0])
    if verb is None or len(words) - 2 >= len(verb.parameters):
        return []
    kind = verb.parameters[len(words) - 2].kind
    head, last = " ".join(words[:-1]), words[-1]
    choices: Iterable[str] = ()
    if kind is Kind.PEER:
        choices = sorted(peers)
    elif kind is Kind.VERB:
        choices = VERBS
    return [f"{head} {choice}" for choice in choices if choice.startswith(last) and choice != last]


class _Completer(Suggester):
    def __init__(self, peers: Callable[[], Iterable[str]], history: History) -> None:
        super().__init__(use_cache=False, case_sensitive=True)
        self._peers = peers
        self._history = history

    async def get_suggestion(self, value: str) -> str | None:
        """The rest of what is being typed, from the past or from the grammar."""
        for line in reversed(self._history.entries):
            if line.startswith(value) and line != value:
                return line
        return next(iter(completions(value, self._peers())), None)


class CommandInput(Input):
    """The line itself."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "older", "Older", show=False, id="bar.older"),
        Binding("down", "newer", "Newer", show=False, id="bar.newer"),
        Binding("tab", "complete", "Complete", show=False, id="bar.complete"),
        Binding("escape", "leave", "Leave", show=False, id="bar.leave"),
    ]

    def __init__(self, history: History, peers: Callable[[], Iterable[str]]) -> None:
        super().__init__(
            placeholder="a command, or help",
            suggester=_Completer(peers, history),
            select_on_focus=False,
        )
        self._history = history
        self._peers = peers

    def action_older(self) -> None:
        """The line typed before."""
        self._show(self._history.previous(self.value))

    def action_newer(self) -> None:
        """The line typed after."""
        self._show(self._history.next())

    def _show(self, line: str | None) -> None:
        if line is not None:
            self.value = line
            self.cursor_position = len(line)

    def action_complete(self) -> None:
        """Complete the word; with nothing to complete, go to the next pane."""
        found = completions(self.value, self._peers()) if self.value else []
        if not found:
            self.screen.focus_next()
            return
        common = _common_prefix(found)
        self._show(common if len(common) > len(self.value) else found[0])

    def action_leave(self) -> None:
        """Empty the line; when it is empty, go back to the panes."""
        if self.value:
            self.value = ""
        else:
            self.screen.focus_next()


def _common_prefix(lines: list[str]) -> str:
    first, last = min(lines), max(lines)
    length = next(
        (i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b),
        min(len(first), len(last)),
    )
    return first[:length]


class CommandBar(Vertical):
    """The line, and under it what came of the last command."""

    class Entered(Message):
        """A line is to be carried out."""

        def __init__(self, line: str) -> None:
            super().__init__()
            self.line = line

    def __init__(self, history: History, peers: Callable[[], Iterable[str]]) -> None:
        super().__init__(id="bar")
        self._history = history
        self.input = CommandInput(history, peers)
        self._answer = Static(" ", id="answer", markup=False)

    def compose(self) -> ComposeResult:
        """The answer above the line: the eye is where one types."""
        yield self._answer
        yield self.input

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Enter was pressed."""
        event.stop()
        line = event.value.strip()
        self.input.value = ""
        if line:
            self._history.add(line)
            self.post_message(self.Entered(line))

    def answer(self, text: str, *, failed: bool = False) -> None:
        """Say what came of it, in one line."""
        self._answer.update(Text(text or " ", "bold red" if failed else ""))

    def type(self, line: str) -> None:
        """Put a beginning into the line, and go there."""
        self.input.value = line
        self.input.cursor_position = len(line)
        self.input.focus()
