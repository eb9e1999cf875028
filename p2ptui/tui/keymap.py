"""What keys can do: every action with its id, and the user's own keys for them."""

import unicodedata
from collections.abc import Mapping
from typing import Final

from textual.binding import Binding, BindingType
from textual.keys import Keys
from textual.theme import BUILTIN_THEMES

from p2ptui.config import UiOptions
from p2ptui.errors import ConfigError
from p2ptui.nearest import suggestion
from p2ptui.tui.command_bar import CommandInput
from p2ptui.tui.detail import TextScreen
from p2ptui.tui.message_log import MessageLog
from p2ptui.tui.nat_pane import NatPane
from p2ptui.tui.panes import FactPane
from p2ptui.tui.peer_table import PeerList
from p2ptui.tui.rows import RowView

# Those with priority also act in overlays, and before the keys behind them are looked at; a line
# that is being typed still gets its characters.
APP_BINDINGS: Final[list[BindingType]] = [
    Binding("ctrl+q", "quit", "Quit", id="app.quit", priority=True),
    Binding("colon", "command", "Command", id="app.command", priority=True),
    Binding("f1", "help", "Help", id="app.help", priority=True),
    Binding("f2", "pane('peers')", "Peers", id="app.peers", priority=True),
    Binding("f3", "pane('messages')", "Messages", id="app.messages", priority=True),
    Binding("f4", "pane('nat')", "NAT", id="app.nat", priority=True),
    Binding("f5", "pane('statistics')", "Statistics", id="app.statistics", priority=True),
    Binding("f6", "answer", "Whole answer", show=False, id="app.answer", priority=True),
    Binding("z", "zoom", "Zoom, or all panes", show=False, id="app.zoom"),
    Binding("ctrl+p", "command_palette", "Palette", show=False, id="app.palette"),
    Binding("escape", "escape", "Cancel", show=False, id="app.cancel"),
]

_MODIFIERS: Final = {"ctrl", "alt", "shift", "super", "hyper", "meta"}
_KEY_NAMES: Final = {key.value for key in Keys}


def all_bindings() -> list[Binding]:
    """Everything that has a key, in the order of the help."""
    groups = (
        APP_BINDINGS,
        CommandInput.BINDINGS,
        RowView.BINDINGS,
        PeerList.BINDINGS,
        MessageLog.BINDINGS,
        FactPane.BINDINGS,
        NatPane.BINDINGS,
        TextScreen.BINDINGS,
    )
    return [entry for group in groups for entry in group if isinstance(entry, Binding)]


def check_keys(keys: Mapping[str, str]) -> dict[str, str]:
    """Check the user's own keys; return the key map for Textual.

    Args:
        keys: For the id of each action, one key, or several separated by commas.

    Raises:
        ConfigError: There is no such id, or no such key.
    """
    known = [binding.id for binding in all_bindings() if binding.id is not None]
    unknown = sorted(set(keys) - set(known))
    if unknown:
        hint = suggestion(unknown[0], known) or "; help lists the ids"
        names = ", ".join(map(repr, unknown))
        raise ConfigError(f"ui.keys: nothing has the id {names}{hint}")
    for name, text in keys.items():
        for key in text.split(","):
            if not _is_key(key.strip()):
                raise ConfigError(f"ui.keys: {name} = {text!r}: there is no key {key.strip()!r}")
    return {name: ",".join(map(str.strip, text.split(","))) for name, text in keys.items()}


def _is_key(name: str) -> bool:
    *modifiers, key = name.split("+") if name != "+" else [name]
    if not set(modifiers) <= _MODIFIERS:
        return False
    if len(key) == 1 or key in _KEY_NAMES:
        return True
    try:
        return bool(unicodedata.lookup(key.replace("_", " ")))
    except KeyError:
        return False


def check_ui_options(options: UiOptions) -> None:
    """Check the options that only the screen can check.

    Raises:
        ConfigError: An unknown id, key or theme.
    """
    check_keys(options.keys)
    if options.theme and options.theme not in BUILTIN_THEMES:
        hint = suggestion(options.theme, BUILTIN_THEMES)
        raise ConfigError(f"ui.theme = {options.theme!r}: there is no such theme{hint}")
