"""The command palette: the grammar, the keys' actions, and what can be done with each node."""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, Final

from textual import on
from textual.binding import Binding, BindingType
from textual.command import (
    Command,
    CommandList,
    CommandPalette,
    DiscoveryHit,
    Hit,
    Hits,
    Provider,
)
from textual.content import Content
from textual.style import Style
from textual.widgets import Input, OptionList
from textual.widgets.option_list import Option
from textual.worker import Worker, WorkerError

from p2ptui.node import OtherNode, PeerView
from p2ptui.tui.keymap import all_bindings
from p2ptui.tui.pane_app import PaneApp
from p2ptui.verbs import VERBS

MAX_NODES: Final = 200
"""Nodes, from the top of the table, for which the palette offers commands."""


@dataclass(frozen=True, slots=True)
class Offer:
    """One line of the palette."""

    title: str
    about: str
    action: Callable[[], Any]
    """If it returns a worker, that has to end before the next key acts."""


class GrammarProvider(Provider):
    """Offers what the command bar and the keys can do. Titles are text, never markup."""

    @property
    def _app(self) -> PaneApp:
        assert isinstance(self.app, PaneApp)
        return self.app

    async def discover(self) -> Hits:
        """The whole grammar, while nothing is typed."""
        for hit in self.hits(""):
            yield hit

    async def search(self, query: str) -> Hits:
        """What fits."""
        for hit in self.hits(query):
            yield hit

    def hits(self, query: str) -> Iterator[DiscoveryHit | Hit]:
        """What matches a text; for an empty text, the whole grammar.

        Args:
            query: The text.
        """
        if not query:
            for offer in self._verbs():
                yield DiscoveryHit(Content(offer.title), offer.action, offer.title, offer.about)
            return
        matcher = self.matcher(query)
        for offer in (*self._verbs(), *self._actions(), *self._nodes(), *self._themes()):
            score, places = matcher.fuzzy_search.match(query, offer.title)
            if score > 0:
                title = Content(offer.title)
                for place in places:
                    title = title.stylize("bold underline", place, place + 1)
                yield Hit(score, title, offer.action, offer.title, offer.about)

    def _verbs(self) -> Iterator[Offer]:
        for verb in VERBS.values():
            needs = any(not parameter.optional for parameter in verb.parameters)
            action = self._type(f"{verb.name} ") if needs else self._run(verb.name)
            yield Offer(verb.usage, verb.summary, action)

    def _actions(self) -> Iterator[Offer]:
        for binding in all_bindings():
            name = binding.id or ""
            keys = self._app.keys.get(name, binding.key).replace(",", " ")
            yield Offer(binding.description, f"{name}: {keys}", self._act(name, binding.action))

    def _nodes(self) -> Iterator[Offer]:
        peers = self._app.peers.list
        for index in range(min(peers.row_count, MAX_NODES)):
            row = peers.row_at(index)
            if row is None:
                continue
            word = self._app.word_for(row.node)
            yield Offer(f"ping {row.name}", row.address, self._run(f"ping {word}"))
            yield Offer(f"send {row.name}", row.address, self._type(f"send {word} "))
            if isinstance(row.node, PeerView) and row.node.secured:
                yield Offer(f"trust {row.name}", row.address, self._type(f"trust {word}"))
                yield Offer(f"forget {row.name}", row.address, self._type(f"forget {word}"))
            if isinstance(row.node, OtherNode):
                yield Offer(f"connect {row.name}", row.address, self._run(f"connect {word}"))
            else:
                yield Offer(f"disconnect {row.name}", row.address, self._type(f"disconnect {word}"))

    def _themes(self) -> Iterator[Offer]:
        for name in sorted(self._app.available_themes):
            yield Offer(f"theme {name}", "change the colours", self._run(f"theme {name}"))

    def _type(self, line: str) -> Callable[[], None]:
        return lambda: self._app.bar.type(line)

    def _run(self, line: str) -> Callable[[], None]:
        return lambda: self._app.run_line(line)

    def _act(self, name: str, action: str) -> Callable[[], Worker[None]]:
        return lambda: self._app.act(name, action)


class Palette(CommandPalette):
    """A palette whose keys act on the matches of the current text.

    In Textual, the list is filled a while after the text has changed, and a choice is carried out
    later still: a user who types on without waiting would choose from the list of an earlier text,
    perhaps another node, and what is typed after Enter would be lost. Here each key that chooses
    first updates the list, and Enter is done when it returns.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "choose", "Carry out", show=False, priority=True)
    ]

    def __init__(self) -> None:
        super().__init__(id="--command-palette")
        self._listed: str | None = None
        """The text that the list is for."""

    def _gather_commands(self, search_value: str) -> None:  # type: ignore[override]
        """Called by Textual when it opens and when the text has changed."""
        self._settle()
        if not self.query_one(CommandList).option_count:
            self._start_no_matches_countdown(search_value)

    def _settle(self) -> None:
        """Bring the list up to date with the text."""
        query = self.query_one(Input).value.strip()
        if query == self._listed or not self._providers:
            return
        self._listed = query
        self._stop_no_matches_countdown()
        about = Style.from_styles(self.get_component_styles("command-palette--help-text"))
        hits = (
            hit
            for provider in self._providers
            if isinstance(provider, GrammarProvider)
            for hit in provider.hits(query)
        )
        commands = [Command(_prompt(hit, about), hit, str(n)) for n, hit in enumerate(hits)]
        self._refresh_command_list(self.query_one(CommandList), commands, True)
        self.add_class("-ready")

    def _action_cursor_down(self) -> None:
        self._settle()
        super()._action_cursor_down()

    def _action_command_list(self, action: str) -> None:
        self._settle()
        super()._action_command_list(action)

    async def action_choose(self) -> None:
        """Carry out the highlighted match of the current text."""
        self._settle()
        option = self.query_one(CommandList).highlighted_option
        if option is not None:
            await self._carry_out(option)

    @on(OptionList.OptionSelected)
    async def _choose_clicked(self, event: OptionList.OptionSelected) -> None:
        event.stop()
        event.prevent_default()
        await self._carry_out(event.option)

    async def _carry_out(self, option: Option) -> None:
        if not isinstance(option, Command) or not self.is_current:
            return
        self.app.post_message(CommandPalette.Closed(option_selected=True))
        self.app.pop_screen()
        worker = option.hit.command()
        if isinstance(worker, Worker):
            with contextlib.suppress(WorkerError):
                await worker.wait()


def _prompt(hit: DiscoveryHit | Hit, about: Style) -> Content:
    """A line of the list: its title, and below what it does. Both are text, not markup."""
    lines = [hit.prompt if isinstance(hit.prompt, Content) else Content(str(hit.prompt))]
    if hit.help:
        lines.append(Content(hit.help).stylize_before(about))
    return Content("\n").join(lines)
