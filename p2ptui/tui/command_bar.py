"""The command bar: one line to type in, with completion and history, and answers above it."""

from collections.abc import Callable
from typing import ClassVar, Final

from rich.text import Text
from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.geometry import Size
from textual.reactive import Reactive
from textual.widgets import Input, Static

from p2ptui.tui.completion import Words, completions
from p2ptui.tui.history import History
from p2ptui.tui.pasting import MAX_PASTE_CHARACTERS, one_line

MAX_OFFERS: Final = 50
"""Lines that Tab cycles through."""


class CommandInput(Input):
    """The line itself.

    It reports what was typed and entered with calls, not messages: a message would arrive after the
    keys that came with it.

    Args:
        history: The commands typed before.
        words_of: Returns the words for completion.
        entered: Carries a line out.
        typed: Called with the line whenever it has changed.
        refused: Called with the reason, for people, why a paste was refused; with an empty text
            once one is accepted.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "older", "Previous command", show=False, id="bar.older"),
        Binding("down", "newer", "Next command", show=False, id="bar.newer"),
        Binding("tab", "complete", "Complete, or next pane", show=False, id="bar.complete"),
        Binding(
            "shift+tab",
            "complete(-1)",
            "Completion before, or pane before",
            show=False,
            id="bar.complete-back",
        ),
        Binding("escape", "leave", "Cancel, empty, leave", show=False, id="bar.leave"),
    ]

    # Textual lays out the whole screen whenever this changes, here with every keystroke. The line
    # has one place and one height, however much it contains.
    virtual_size = Reactive(Size(0, 0))

    def __init__(
        self,
        history: History,
        words_of: Words,
        entered: Callable[[str], None],
        typed: Callable[[str], None],
        refused: Callable[[str], None],
    ) -> None:
        super().__init__(placeholder="type a command, or help", select_on_focus=False, compact=True)
        self._history = history
        self._words_of = words_of
        self._entered = entered
        self._typed = typed
        self._refused = refused
        self._choices: list[str] = []

    def watch_value(self, value: str) -> None:
        """Offer the rest of what is being typed, and report the line so far."""
        if value not in self._choices:
            self._choices = []
        self._suggest()
        self._typed(value)

    def on_focus(self) -> None:
        """Textual removes the offer after this."""
        self.call_next(self._suggest)

    def _suggest(self) -> None:
        # While Tab cycles, the next line is not a continuation to be shown.
        offers = self._offers() if self.value and not self._choices else []
        self._suggestion = next(iter(offers), "")

    def _offers(self) -> list[str]:
        """Whole lines that begin with this one: from the grammar, then from the history."""
        value = self.value
        past = (line for line in reversed(self._history.entries) if line.startswith(value))
        offers = dict.fromkeys([*completions(value, self._words_of), *past])
        offers.pop(value, None)
        return list(offers)[:MAX_OFFERS]

    def action_older(self) -> None:
        """Go to the line typed before."""
        self._show(self._history.previous(self.value))

    def action_newer(self) -> None:
        """Go to the line typed after."""
        self._show(self._history.next())

    def _show(self, line: str | None) -> None:
        if line is not None:
            self.value = line
            self.cursor_position = len(line)

    def action_complete(self, step: int = 1) -> None:
        """Accept the offer; pressed again, the next one; in an empty line, go to the next pane.

        Args:
            step: -1 for the one before.
        """
        if not self.value:
            if step > 0:
                self.screen.focus_next()
            else:
                self.screen.focus_previous()
            return
        if not self._choices:
            offers = self._offers()
            if self._suggestion:
                # Other offers may have come since it was shown.
                offers = list(dict.fromkeys([self._suggestion, *offers]))
            if len(offers) > 1:
                self._choices = [self.value, *offers]
            elif offers:
                self._show(offers[0])
        if self._choices:
            place = self._choices.index(self.value)
            self._show(self._choices[(place + step) % len(self._choices)])

    def on_paste(self, event: events.Paste) -> None:
        """Paste all lines; a line end carries out nothing."""
        event.stop()
        event.prevent_default()
        self.paste(event.text)

    def action_paste(self) -> None:
        """Paste what this program copied."""
        self.paste(self.app.clipboard)

    def paste(self, text: str) -> None:
        """Replace the selection with a text, its lines joined into one."""
        line = one_line(text)
        if len(text) > MAX_PASTE_CHARACTERS:
            self._refused(
                f"not pasted: more than {MAX_PASTE_CHARACTERS:,} characters are not a command;"
                " p2ptui send --file sends a file"
            )
        else:
            self._refused("")
            self.replace(line, *self.selection)

    async def action_submit(self) -> None:
        """Carry the line out; what is typed from now on belongs to the next one."""
        line, self.value = self.value.strip(), ""
        if line:
            self._history.add(line)
            self._entered(line)

    async def action_leave(self) -> None:
        """Cancel what runs; otherwise empty the line; if it is empty, go back to the panes."""
        if self.value:
            self.value = ""
        else:
            await self.run_action("app.escape")


class CommandBar(Vertical):
    """The command line, and above it the answer to the last command.

    Args:
        history: The commands typed before.
        words_of: Returns the words for completion.
        whole_key: Shows an answer that is too long for the bar.
        entered: Carries a line out.
        typed: Called with the line whenever it has changed.
    """

    def __init__(
        self,
        history: History,
        words_of: Words,
        whole_key: str,
        entered: Callable[[str], None],
        typed: Callable[[str], None],
    ) -> None:
        super().__init__(id="bar")
        self._whole_key = whole_key
        self.input = CommandInput(history, words_of, entered, typed, self._refuse)
        self._answer = Static(" ", id="answer", markup=False)
        self._lines = 0
        self._answered = 0
        self._failed = False
        self._refusal = ""
        self.said = ""
        """The last answer, in full."""
        self.beside = ""
        """The hint beside it, if there is room."""

    def compose(self) -> ComposeResult:
        """The answer above the line, since the user looks where they type."""
        yield self._answer
        yield self.input

    def _refuse(self, reason: str) -> None:
        if reason or (self._refusal and self.said == self._refusal):
            self.answer(reason, failed=bool(reason))
        self._refusal = reason

    def begin_line(self) -> int:
        """Begin carrying out a line; return its number, for its answers."""
        self._lines += 1
        return self._lines

    def answer(
        self, text: str, *, failed: bool = False, beside: str = "", line: int | None = None
    ) -> bool:
        """Show a result, in one line.

        Args:
            text: Harmless text.
            failed: Whether it is an error.
            beside: A hint, shown dimmed if there is room.
            line: The number of the line that it answers; None: it concerns no line.

        Returns:
            Whether it is shown: not if a newer line has already answered, whose answer stays.
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
        """There is more or less room for the answer."""
        self._draw()

    async def on_click(self, event: events.Click) -> None:
        """A click on the answer shows it whole."""
        if event.widget is self._answer:
            await self.run_action("app.answer")

    def go(self) -> None:
        """Focus the line at once: the very next key belongs to it."""
        self.screen.set_focus(self.input)

    def paste(self, text: str) -> None:
        """Put text pasted into a pane into the line, and focus it."""
        self.go()
        self.input.paste(text)

    def type(self, line: str) -> None:
        """Put a beginning into the line, and focus it."""
        self.input.value = line
        self.input.cursor_position = len(line)
        self.go()
