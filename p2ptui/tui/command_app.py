"""An app with a command bar: connects the user's input to the code that carries it out."""

import time
from collections.abc import Callable, Iterable

from rich.text import Text

from p2ptui.config import UiOptions
from p2ptui.errors import P2PError
from p2ptui.node import Known, Node
from p2ptui.tui.command_bar import CommandBar
from p2ptui.tui.command_lines import CommandLines
from p2ptui.tui.detail import TextScreen
from p2ptui.tui.executor import Executor
from p2ptui.tui.history import History
from p2ptui.tui.keymap import check_keys
from p2ptui.tui.nat_run import NatRun
from p2ptui.tui.pane_app import PaneApp
from p2ptui.tui.screen_verbs import ScreenVerbs
from p2ptui.tui.settings import Settings
from p2ptui.tui.words import words_of
from p2ptui.verbs import Kind, parse_command


class CommandApp(PaneApp):
    """Handles what is typed, and the actions that type or carry out a line.

    Args:
        node: A running node; the caller closes it.
        history: The commands typed before.
        wall: Unix time, seconds.
        options: The section [ui] of the configuration.
        settings: What the user chose on the screen before.

    Raises:
        ConfigError: `options` name an unknown action or key.
    """

    def __init__(
        self,
        node: Node,
        history: History | None = None,
        wall: Callable[[], float] = time.time,
        options: UiOptions | None = None,
        settings: Settings | None = None,
    ) -> None:
        super().__init__(node, wall, options, settings)
        self.keys = check_keys(self.options.keys)
        self.nat.name_keys(self.keys)
        self.chosen = "peers"
        whole_key = self.keys.get("app.answer", "f6").partition(",")[0].capitalize()
        self.bar = CommandBar(
            history or History(), self._words_of, whole_key, self.run_line, self._show_while_typed
        )
        self.executor = Executor(node, self.roster, self._selected_node)
        self.screen_verbs = ScreenVerbs(self)
        self.nat_run = NatRun(self)
        self._lines = CommandLines(self, self.screen_verbs, self.nat_run)

    # Which node the user means.

    def _selected_node(self) -> Known | None:
        row = self.peers.list.selected
        return row.node if row is not None else None

    def _short_word_for(self, node: Known) -> str:
        """Its name, if a command would read it as such and it means no other node."""
        name = node.name
        if name.isprintable() and name[:1] not in ("{", "["):
            try:
                read = parse_command(f"send {name} text", list(self.roster.names()))
                if read.peer == name and self.roster.find(name).node_id == node.node_id:
                    return name
            except P2PError:
                pass
        return self.word_for(node)

    def _words_of(self, kind: Kind, beginning: str) -> Iterable[str]:
        known = self.node.known_nodes
        return words_of(kind, beginning, self.roster, self.available_themes, known)

    # From the user to the node.

    def _show_while_typed(self, line: str) -> None:
        """A line is being typed: filters show at once what they would do."""
        wrong = self.screen_verbs.preview(line)
        if wrong or line.startswith(("filter", "peers")):
            self.bar.answer(wrong or "", failed=bool(wrong))

    def run_line(self, line: str) -> None:
        """Carry out a command line."""
        self._lines.run(line)

    def cancel_lines(self) -> bool:
        """Cancel requests that take long; return whether there were any."""
        return self._lines.cancel()

    # Actions.

    def action_command(self) -> None:
        """Go to the command bar."""
        self.leave_overlays()
        self.bar.go()

    def action_help(self) -> None:
        """Show commands and keys."""
        self.leave_overlays()
        self.run_line("help")

    def action_answer(self) -> None:
        """Show in full an answer that is too long for the bar."""
        if self.bar.said:
            self.leave_overlays()
            text = Text(self.bar.said)
            text.append(f"\n\n{self.bar.beside}" if self.bar.beside else "", "dim")
            self.push_screen(TextScreen("Answer", text, self.bar.said))

    def action_line(self, line: str) -> None:
        """Carry out a command line."""
        self.run_line(line)

    def action_type(self, beginning: str) -> None:
        """Put the beginning of a command line into the bar."""
        self.bar.type(beginning)

    def action_type_filter(self) -> None:
        """Begin a filter, or edit the current one."""
        self.bar.type(f"filter {self.screen_verbs.expression}")

    def action_type_to_peer(self) -> None:
        """Begin a message to the selected node, by name: the selection may change meanwhile."""
        node = self._selected_node()
        word = self._short_word_for(node) if node is not None else ""
        self.bar.type(f"send {word} " if word else "send ")
        if not word:
            said = "nobody is selected: write whom it is for before the text"
            self.bar.answer(said, failed=True)

    def action_filter_peer(self) -> None:
        """Show only the messages of the selected node."""
        node = self._selected_node()
        if node is not None:
            self.run_line(f"filter peer:{node.node_id[:8] or self.word_for(node)}")

    def action_copy(self) -> None:
        """Copy what is selected: a record, an address, or a pane's text."""
        self.run_line("copy")
