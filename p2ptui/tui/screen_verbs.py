"""The commands that concern the screen itself: where to go, what to show, save and copy."""

from typing import Final

from rich.cells import cell_len
from rich.text import Text

from p2ptui.errors import LocalError
from p2ptui.nearest import suggestion
from p2ptui.node import PeerView, own_address, way_words
from p2ptui.text import counted, printable, shown
from p2ptui.tui.detail import LiveScreen, PageScreen
from p2ptui.tui.filters import ALL, Filter, compile_filter
from p2ptui.tui.help import help_text, topic_text, verb_text
from p2ptui.tui.keymap import all_bindings
from p2ptui.tui.pane_app import PaneApp
from p2ptui.tui.peer_detail import node_text, own_text
from p2ptui.tui.saving import save_records
from p2ptui.tui.two_columns import beside
from p2ptui.verbs import LEVELS, SELECTED, VERBS, Command, parse_command
from p2ptui.wire.address import format_address
from p2ptui.wire.message import RouteEntry

_NAME_CELLS: Final = 16

_AT_ONCE: Final = frozenset(
    ("peers", "servers", "stats", "routes", "filter", "log", "copy", "theme", "key", "help", "quit")
)


class ScreenVerbs:
    """Carries these commands out.

    Args:
        app: The screen.
    """

    def __init__(self, app: PaneApp) -> None:
        self._app = app
        self._level = ""
        self._kept = ALL
        """The filter that was entered, while another one is being typed."""
        self._sought = ""
        """The same for the search among the peers."""

    def acts_at_once(self, command: Command) -> bool:
        """Whether a command is one for `act`."""
        return command.verb.name in _AT_ONCE

    async def save(self, command: Command) -> str:
        """Save the messages shown; returns the result, in one line.

        Raises:
            P2PError: It did not work; the text says why.
        """
        return await save_records(self._app.messages.shown(), command.text)

    def act(self, command: Command) -> str:
        """Carry out a command before anything else is done; returns the result, in one line.

        Raises:
            P2PError: It did not work; the text says why.
        """
        match command.verb.name:
            case "peers":
                self._sought = command.text
                self._app.peers.list.find(self._sought)
                self._app.action_pane("peers")
            case "servers":
                self._app.push_screen(LiveScreen("Servers", self._app.servers_page))
            case "stats":
                self._app.action_pane("statistics")
            case "routes":
                self._show_routes()
            case "filter":
                return self._choose_filter(command.text)
            case "log":
                return self._choose_level(command.text)
            case "copy":
                return self._copy()
            case "theme":
                return self._choose_theme(command.text)
            case "key":
                self._show_key()
            case "help":
                self._show_help(command.text)
            case "quit":
                self._app.exit(0)
        return ""

    # Filters, live.

    def preview(self, line: str) -> str | None:
        """Show what a line being typed would filter; returns None, or what is wrong with it.

        An invalid line has no effect: the filter that was entered stays.
        """
        line = line.lstrip(": ")
        verb, _, rest = line.partition(" ")
        sought, chosen, wrong = self._sought, self._kept, None
        try:
            if rest and verb.lower() == "peers":
                sought = parse_command(line).text
            elif rest and verb.lower() == "filter":
                chosen = compile_filter(rest)
        except LocalError as error:
            wrong = str(error)
        self._app.peers.list.find(sought)
        self._apply(chosen)
        return wrong

    def _choose_filter(self, expression: str) -> str:
        self._kept = compile_filter(expression)
        if not expression:
            self._level = ""
        self._apply(self._kept)
        if not expression:
            return "all messages are shown"
        also = f"; log {LEVELS[0]} ends the level" if self._level else ""
        return f"showing {self._in_words()}; type filter by itself to show all{also}"

    def _choose_level(self, level: str) -> str:
        # The lowest level shows everything.
        self._level = level if level != LEVELS[0] else ""
        self._apply(self._kept)
        words = self._in_words()
        if not words:
            return "all messages are shown"
        ends = f"log {LEVELS[0]} shows every level again" if self._level else "filter alone ends it"
        return f"showing {words}; {ends}"

    def _in_words(self) -> str:
        level = f" of level {self._level} and above" if self._level else ""
        chosen = f" that match {printable(self.expression, 60)}" if self.expression else ""
        return f"messages{level}{chosen}" if level or chosen else ""

    def forget_filter(self) -> None:
        """The filter was given up; the level was not."""
        self._kept = ALL
        self._apply(ALL)

    @property
    def expression(self) -> str:
        """The filter that was entered."""
        return self._kept.expression

    def _apply(self, chosen: Filter) -> None:
        self._app.messages.set_filter(chosen, self._level)

    # Pages above the panes.

    def _show_routes(self) -> None:
        self._app.push_screen(LiveScreen("Routes", self._routes_text))

    def _routes_text(self, width: int) -> Text:
        # The first route to each destination is the one used.
        ways: dict[str, RouteEntry] = {}
        for route in self._app.node.routes:
            ways.setdefault(route.destination, route)
        routes = list(ways.values())
        text = Text(f"{len(routes)} known\n\n" if routes else "")
        for route in routes[:1000]:
            text.append_text(self._route_line(route, width))
        if len(routes) > 1000:
            text.append(f"... and {len(routes) - 1000} more\n")
        if not routes:
            text.append("No routes: nobody is connected. Begin with connect HOST:PORT.\n")
        return text

    def _route_line(self, route: RouteEntry, width: int) -> Text:
        node = self._app.roster.look(route.destination)
        name = printable(node.name, 32) if node is not None else ""
        if route.distance > 1:
            hop = self._app.roster.look(route.next_hop)
            hop_name = printable(hop.name, 32) if hop is not None else ""
            by = f"by way of {hop_name or route.next_hop[:8]}, {counted(route.distance, 'hop')}"
        else:
            is_direct = node is None or own_address(node) is not None
            by = "direct" if is_direct or node is None else way_words(node)
        padding = " " * max(_NAME_CELLS - cell_len(name), 0)
        line = f"{route.destination}  {name}{padding}  {by}"
        if cell_len(line) <= width:
            return Text(f"{line}\n")
        return beside(route.destination, f"{name} {by}", 0, width, "")

    def _show_help(self, about: str) -> None:
        def page(width: int) -> Text:
            if about in VERBS:
                return verb_text(VERBS[about], width)
            if about:
                return topic_text(about, width)
            return help_text(all_bindings(), self._app.keys, width)

        self._app.push_screen(PageScreen(f"Help {about}".strip(), page))

    def _show_key(self) -> None:
        node = self._app.node
        self._app.push_screen(PageScreen("Key", lambda width: own_text(node, width)))

    def show_node(self) -> None:
        """Show the selected node in full."""
        row = self._app.peers.list.selected
        if row is None:
            return
        last = row.node
        lines = [f"ping {SELECTED} 4", f"send {SELECTED} hello", "peers"]

        def page(width: int) -> Text:
            nonlocal last
            app = self._app
            known = app.roster.look(row.key)
            last = known or last
            shell = [app.executor.in_shell(parse_command(line), last) for line in lines]
            return node_text(
                last,
                app.peers.list.rtts_ms(row.key),
                filter(None, shell),
                minutes_ms=app.trends.of(row.key),
                width=width,
                has_gone=known is None,
                known=app.node.known_node(last.node_id),
                is_home=last.node_id == app.node.home,
            )

        self._app.push_screen(LiveScreen(row.name, page))

    # Copying.

    def _copy(self) -> str:
        what, text = self.selection()
        self._app.copy_to_clipboard(text)
        return f"copied {what}"

    def selection(self) -> tuple[str, str]:
        """What would be copied: a description, and the text itself.

        Raises:
            LocalError: Nothing is selected.
        """
        app = self._app
        record = app.messages.selected
        if app.chosen == "messages" and record is not None:
            text = record.pretty()
            return f"the record, {len(text)} characters", text
        if app.chosen in ("nat", "statistics"):
            text = app.fact_panes[app.chosen].copied_text()
            return f"the pane, {len(text)} characters", text
        row = app.peers.list.selected
        if row is None:
            raise LocalError("there is nothing to copy: select a node or a message")
        # An address that is not its own would lead to another node; the id leads to it from
        # anywhere.
        address = own_address(row.node) if isinstance(row.node, PeerView) else None
        text = row.node.node_id if address is None else format_address(address)
        return text, text

    # Colours.

    def _choose_theme(self, name: str) -> str:
        themes = self._app.available_themes
        if name not in themes:
            near = suggestion(name, themes, is_quoted=False)
            hint = near or f"; one of {', '.join(sorted(themes))}"
            raise LocalError(f"there is no theme {shown(name, 40)}{hint}")
        self._app.theme = name
        return f"the theme is {name}"
