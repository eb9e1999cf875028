"""What Textual does over and over in a process with hundreds of apps, done once or not at all.

Nothing that a test can see differs: the same rules are applied, the same widgets draw the same
lines at the same moments. `tests/tui/conftest.py` installs it for the tests of this folder; the
pictures and the tests in a terminal run Textual as it is.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from weakref import WeakKeyDictionary

from textual._compositor import Compositor, visible_screen_stack
from textual._context import active_app
from textual.cache import FIFOCache
from textual.css.model import RuleSet
from textual.css.stylesheet import Stylesheet
from textual.screen import Screen
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
    _draw_for_nobody_only_what_changed()
    # Identity, without a call of Python for each of 500 rules whenever a widget is dressed.
    RuleSet.__hash__ = object.__hash__  # type: ignore[method-assign]


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


def _draw_for_nobody_only_what_changed() -> None:
    """An app without a terminal draws, and throws the drawing away.

    So each widget that has something new draws itself, and no more: neither the others in the
    rectangle around all that is new, nor are the lines cut into what is above and what is below.
    Who looks calls `render_strips`, which draws all.
    """
    render_update = Compositor.render_update

    def draw_only(
        self: Compositor, full: bool = False, screen_stack: Any = None, simplify: bool = False
    ) -> Any:
        if full or simplify or not active_app.get().is_headless:
            return render_update(self, full, screen_stack, simplify)
        visible_screen_stack.set([] if screen_stack is None else screen_stack)
        if self._dirty_regions and _is_due(self):
            _draw(self)
        return None

    Compositor.render_update = draw_only  # type: ignore[method-assign]


def _draw(compositor: Compositor) -> None:
    changed = compositor._dirty_regions.copy()
    compositor._dirty_regions.clear()
    for widget, (region, clip) in compositor.visible_widgets.items():
        shown = region.intersection(clip)
        if any(shown.overlaps(part) for part in changed):
            widget.render_lines(shown.translate(-region.offset))


FRAME_S = 1 / 60
"""What changes again within a frame is drawn with the next, as no terminal shows it sooner."""

SELDOM_S = 5.0
"""How far apart frames are while nobody looks."""

_apart_s = FRAME_S
_drawn_at: WeakKeyDictionary[Compositor, float] = WeakKeyDictionary()


@contextmanager
def seldom_drawn() -> Iterator[None]:
    """For a time at which nobody looks: what is new is drawn every five seconds."""
    global _apart_s
    _apart_s = SELDOM_S
    try:
        yield
    finally:
        _apart_s = FRAME_S


def draw_rest(screen: Screen[Any]) -> None:
    """Have all drawn that still waits for its frame: somebody looks.

    Args:
        screen: The one on top.
    """
    if screen._compositor._dirty_regions:
        visible_screen_stack.set(screen.app._background_screens)
        _draw(screen._compositor)


def _is_due(compositor: Compositor) -> bool:
    now = asyncio.get_running_loop().time()
    if now < _drawn_at.get(compositor, 0.0) + _apart_s:
        return False
    _drawn_at[compositor] = now
    return True
