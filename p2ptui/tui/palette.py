"""The command palette: the grammar, the keys' actions, and what may be done with each node."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from textual.command import DiscoveryHit, Hit, Hits, Provider
from textual.content import Content

from p2ptui.node import OtherNode
from p2ptui.tui.keymap import all_bindings
from p2ptui.verbs import VERBS

if TYPE_CHECKING:
    from p2ptui.tui.app import P2PApp

MAX_NODES: Final = 200
"""Nodes of the table, from its beginning, that the palette offers something for."""


@dataclass(frozen=True, slots=True)
class Offer:
    """One line of the palette."""

    title: str
    about: str
    action: Callable[[], None]


class GrammarProvider(Provider):
    """Offers what the command bar and the keys can do. Titles are text, never markup."""

    @property
    def _app(self) -> "P2PApp":
        from p2ptui.tui.app import P2PApp

        assert isinstance(self.app, P2PApp)
        return self.app

    async def discover(self) -> Hits:
        """Everything of the grammar, while nothing is typed."""
        for offer in self._verbs():
            yield DiscoveryHit(Content(offer.title), offer.action, offer.title, offer.about)

    async def search(self, query: str) -> Hits:
        """What fits."""
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

    def _act(self, name: str, action: str) -> Callable[[], None]:
        def act() -> None:
            self._app.act(name, action)

        return act
