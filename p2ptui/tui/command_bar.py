"""The command bar: one line to type in, with completion, history and errors beside it."""

from collections.abc import Callable, Iterable
from typing import ClassVar, TypeAlias

from rich.text import Text
from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.message import Message
from textual.suggester import Suggester
from textual.widgets import Input, Static

from p2ptui.tui.history import History
from p2ptui.verbs import VERBS, Kind

Words: TypeAlias = Callable[[Kind, str], Iterable[str]]
"""The words of a kind that begin with a text."""


def completions(line: str, words_of: Words) -> list[str]:
    """What the word under the cursor may become: whole lines, the likeliest first.

    Args:
        line: What has been typed.
        words_of: Knows the words of each kind.
    """
    words = line.split(" ")
    if len(words) == 1:
        names = [name for name in VERBS if name.startswith(line)]
        return [f"{name} " if VERBS[name].parameters else name for name in names]
    verb = VERBS.get(words[0])
    if verb is None or not verb.parameters:
        return []
    place = len(words) - 2
    last_parameter = verb.parameters[-1]
    goes_on = last_parameter.many or last_parameter.kind is Kind.FILTER
    if place >= len(verb.parameters) and not goes_on:
        return []
    kind = verb.parameters[min(place, len(verb.parameters) - 1)].kind
    head, last = " ".join(words[:-1]), words[-1]
    found = [word for word in words_of(kind, last) if word.startswith(last) and word != last]
    return [f"{head} {word}" for word in found]


class _Completer(Suggester):
    def __init__(self, words_of: Words, history: History) -> None:
        super().__init__(use_cache=False, case_sensitive=True)
        self._words_of = words_of
        self._history = history

    async def get_suggestion(self, value: str) -> str | None:
        """The rest of what is being typed, from the past or from the grammar."""
        for line in reversed(self._history.entries):
            if line.startswith(value) and line != value:
                return line
        return next(iter(completions(value, self._words_of)), None)


class CommandInput(Input):
    """The line itself."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "older", "Command before", show=False, id="bar.older"),
        Binding("down", "newer", "Command after", show=False, id="bar.newer"),
        Binding("tab", "complete", "Complete, or next pane", show=False, id="bar.complete"),
        Binding("escape", "leave", "Cancel, empty, leave", show=False, id="bar.leave"),
    ]

    def __init__(self, history: History, words_of: Words) -> None:
        super().__init__(
            placeholder="type a command, or help",
            suggester=_Completer(words_of, history),
            select_on_focus=False,
            compact=True,
        )
        self._history = history
        self._words_of = words_of
        self._choices: list[str] = []

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
        """Complete the word; again: the next choice; with nothing to complete, the next pane."""
        if self.value in self._choices and len(self._choices) > 1:
            place = self._choices.index(self.value)
            self._show(self._choices[(place + 1) % len(self._choices)])
            return
        found = completions(self.value, self._words_of) if self.value else []
        self._choices = []
        if not found:
            self.screen.focus_next()
            return
        common = _common_prefix(found)
        if len(common) > len(self.value):
            self._show(common)
        else:
            self._choices = found
            self._show(found[0])

    async def on_key(self, event: events.Key) -> None:
        """Enter acts at once: as a binding it would wait until the app has time, and keys that
        came meanwhile, from a fast typist or a slow line, would still go into the old line.
        """
        if event.key == "enter":
            event.stop()
            event.prevent_default()
            await self.action_submit()

    def on_paste(self, event: events.Paste) -> None:
        """All lines count, and nothing is carried out by a line's end."""
        event.stop()
        event.prevent_default()
        self.paste(event.text)

    def paste(self, text: str) -> None:
        """Put a text in the place of what is selected, its lines as one."""
        lines = text.expandtabs(1).splitlines()
        words = ("".join(filter(str.isprintable, line)).strip() for line in lines)
        line = " ".join(filter(None, words))
        self.replace(line, *self.selection)

    async def action_submit(self) -> None:
        """Carry the line out; what is typed from here on belongs to the next one."""
        line, self.value = self.value, ""
        self.post_message(self.Submitted(self, line))

    async def action_leave(self) -> None:
        """Cancel what runs; else empty the line; when it is empty, go back to the panes."""
        if self.value:
            self.value = ""
        else:
            await self.run_action("app.escape")


def _common_prefix(lines: list[str]) -> str:
    first, last = min(lines), max(lines)
    length = next(
        (i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b),
        min(len(first), len(last)),
    )
    return first[:length]


class CommandBar(Vertical):
    """The line, and above it what came of the last command.

    Args:
        history: What was typed before.
        words_of: Knows what may be completed.
        whole_key: Shows an answer that is too long for the bar.
    """

    class Entered(Message):
        """A line is to be carried out."""

        def __init__(self, line: str) -> None:
            super().__init__()
            self.line = line

    class Typed(Message):
        """The line has changed."""

        def __init__(self, line: str) -> None:
            super().__init__()
            self.line = line

    def __init__(self, history: History, words_of: Words, whole_key: str) -> None:
        super().__init__(id="bar")
        self._history = history
        self._whole_key = whole_key
        self.input = CommandInput(history, words_of)
        self._answer = Static(" ", id="answer", markup=False)
        self._lines = 0
        self._answered = 0
        self._failed = False
        self.said = ""
        """The last answer, whole."""
        self.beside = ""
        """What stands beside it where there is room."""

    def compose(self) -> ComposeResult:
        """The answer above the line: the eye is where one types."""
        yield self._answer
        yield self.input

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Enter was pressed."""
        event.stop()
        line = event.value.strip()
        if line:
            self._history.add(line)
            self.post_message(self.Entered(line))

    def on_input_changed(self, event: Input.Changed) -> None:
        """Some commands show what they would do while they are typed."""
        event.stop()
        self.post_message(self.Typed(event.value))

    def begin_line(self) -> int:
        """A line is going to be carried out: its number, for what it answers."""
        self._lines += 1
        return self._lines

    def answer(
        self, text: str, *, failed: bool = False, beside: str = "", line: int | None = None
    ) -> bool:
        """Say what came of it, in one line.

        Args:
            text: Harmless text.
            failed: Whether it is an error.
            beside: Dimmed, where there is room: a hint.
            line: The number of the line that it answers; None: it concerns none.

        Returns:
            Whether it is shown: not when a newer line has answered, whose words stay.
        """
        if line is not None:
            if line < self._answered:
                return False
            if text:
                self._answered = line
        self.said, self.beside, self._failed = text, beside, failed
        self._draw()
        return True

    def _draw(self) -> None:
        room = self._answer.content_size.width
        style = "bold red" if self._failed else ""
        line = Text(self.said or " ", style, no_wrap=True, overflow="ellipsis")
        if 0 < room < line.cell_len:
            hint = f"  {self._whole_key} shows all"
            if len(hint) > room // 3:
                hint = ""  # the answer itself needs the little room there is
            line.truncate(room - len(hint), overflow="ellipsis")
            line.append(hint, "not bold dim")
        elif self.beside and line.cell_len + len(self.beside) + 4 <= room:
            line.append(f"    {self.beside}", "dim")
        self._answer.update(line, layout=False)

    def on_resize(self) -> None:
        """There is more room for the answer, or less."""
        self._draw()

    async def on_click(self, event: events.Click) -> None:
        """A click on the answer shows it whole."""
        if event.widget is self._answer:
            await self.run_action("app.answer")

    def go(self) -> None:
        """Go to the line at once: the very next key belongs to it."""
        self.screen.set_focus(self.input)

    def paste(self, text: str) -> None:
        """Put what was pasted into a pane into the line, and go there."""
        self.go()
        self.input.paste(text)

    def type(self, line: str) -> None:
        """Put a beginning into the line, and go there."""
        self.input.value = line
        self.input.cursor_position = len(line)
        self.go()
