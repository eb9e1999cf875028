"""What Textual does over and over in a process with hundreds of apps, done once or not at all.

Nothing that a test can see differs: the same rules are applied, the same widgets draw the same
lines at the same moments. `tests/tui/conftest.py` installs it for the tests of this folder; the
pictures and the tests in a terminal run Textual as it is.
"""

import gc
from typing import Any

from textual._compositor import Compositor, visible_screen_stack
from textual._context import active_app
from textual.cache import FIFOCache
from textual.css.model import RuleSet
from textual.css.stylesheet import Stylesheet
from textual.geometry import Region
from textual.strip import Strip

_parsed: dict[frozenset[tuple[str, str]], dict[Any, list[RuleSet]]] = {}
"""By the variables of a theme, the rules of each piece of CSS. Nobody changes a parsed rule."""

_STRIP_CACHES = {
    "_divide_cache": 4,
    "_crop_cache": 16,
    "_style_cache": 16,
    "_filter_cache": 4,
    "_line_length_cache": 4,
    "_crop_extend_cache": 4,
    "_offsets_cache": 4,
}
"""What each line that is drawn may remember, and how many of it."""


def install() -> None:
    """Be thrifty from here on, in the whole process. Once is enough."""
    if hasattr(Strip, "is_thrifty"):
        return
    _parse_css_once()
    _make_caches_of_strips_when_used()
    _cut_nothing_for_nobody()
    # Identity, without a call of Python for each of 500 rules whenever a widget is dressed.
    RuleSet.__hash__ = object.__hash__  # type: ignore[method-assign]
    # A hundred apps ago is as much garbage as two apps ago.
    gc.set_threshold(20_000, 20, 20)


def _parse_css_once() -> None:
    init, set_variables = Stylesheet.__init__, Stylesheet.set_variables

    def share(sheet: Stylesheet) -> None:
        variables = frozenset(sheet._variables.items())
        sheet._parse_cache = _parsed.setdefault(variables, {})  # type: ignore[assignment]

    def init_shared(self: Stylesheet, **options: Any) -> None:
        init(self, **options)
        share(self)

    def set_variables_shared(self: Stylesheet, variables: dict[str, str]) -> None:
        self._parse_cache = {}  # type: ignore[assignment] # it is going to be cleared
        set_variables(self, variables)
        share(self)

    Stylesheet.__init__ = init_shared  # type: ignore[method-assign]
    Stylesheet.set_variables = set_variables_shared  # type: ignore[method-assign]


def _make_caches_of_strips_when_used() -> None:
    def init(self: Strip, segments: Any, cell_length: int | None = None) -> None:
        self._segments = list(segments)
        self._cell_length = cell_length
        self._render_cache = None
        self._link_ids = None
        self._cell_count = None

    def make(self: Strip, name: str) -> FIFOCache[Any, Any]:
        if name not in _STRIP_CACHES:
            raise AttributeError(name, name=name, obj=self)
        cache: FIFOCache[Any, Any] = FIFOCache(_STRIP_CACHES[name])
        setattr(self, name, cache)
        return cache

    Strip.__init__ = init  # type: ignore[method-assign]
    Strip.__getattr__ = make  # type: ignore[attr-defined]
    Strip.is_thrifty = True  # type: ignore[attr-defined]


def _cut_nothing_for_nobody() -> None:
    """An app without a terminal has its widgets draw themselves, and throws the drawing away:
    it need not be cut into what is above and what is below before. Who looks calls `render_strips`.
    """
    render_update = Compositor.render_update

    def draw_only(
        self: Compositor, full: bool = False, screen_stack: Any = None, simplify: bool = False
    ) -> Any:
        if full or simplify or not active_app.get().is_headless:
            return render_update(self, full, screen_stack, simplify)
        visible_screen_stack.set([] if screen_stack is None else screen_stack)
        if self._dirty_regions:
            screen = self.size.region
            crop = Region.from_union(list(self._dirty_regions)).intersection(screen)
            self._dirty_regions.clear()
            for _ in self._get_renders(crop):
                pass
        return None

    Compositor.render_update = draw_only  # type: ignore[method-assign]
