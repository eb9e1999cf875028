"""An app of panes and a command bar, as its parts see it: they never know the whole."""

from typing import Any

from rich.text import Text

from p2ptui.node import Known
from p2ptui.tui.command_bar import CommandBar
from p2ptui.tui.executor import Executor
from p2ptui.tui.feed import FeedApp
from p2ptui.tui.network_facts import servers_text
from p2ptui.wire.address import format_address


class PaneApp(FeedApp):
    """What the parts of a screen may ask of it. `P2PApp` is the only implementation."""

    keys: dict[str, str]
    """The user's own keys, by the id of the action."""
    chosen: str
    """The last active pane."""
    bar: CommandBar
    executor: Executor

    def leave_overlays(self) -> None:
        """Return to the panes."""
        while len(self.screen_stack) > 1:
            self.pop_screen()

    def servers_page(self, width: int) -> Text:
        """The servers of the network.

        Args:
            width: Cells of a line.
        """
        return servers_text(self.node, width)

    def word_for(self, node: Known) -> str:
        """A node's name in a command."""
        return node.node_id or (format_address(node.address) if node.address else "")

    def action_pane(self, name: str) -> None:
        """Go to a pane."""
        raise NotImplementedError

    def show_pane(self, name: str) -> None:
        """Show a pane; if the user is typing, the focus stays in the command line."""
        raise NotImplementedError

    def run_line(self, line: str) -> None:
        """Carry out a command line."""
        raise NotImplementedError

    def act(self, name: str, action: str) -> Any:
        """Carry out an action of the key map where it belongs; return its worker.

        Args:
            name: The action's id.
            action: The action.
        """
        raise NotImplementedError
