"""A one-entry cache, for callers that ask for the same result several times in a row."""

from collections.abc import Callable
from typing import Generic, TypeVar

SourceT = TypeVar("SourceT")
MadeT = TypeVar("MadeT")


class LastMade(Generic[SourceT, MadeT]):
    """Derives a value from another one and keeps the last result, which callers must not change.

    Args:
        make: Makes the value. If it raises, nothing is kept.
    """

    __slots__ = ("_last", "_make")

    def __init__(self, make: Callable[[SourceT], MadeT]) -> None:
        self._make = make
        self._last: tuple[SourceT, MadeT] | None = None

    def of(self, source: SourceT) -> MadeT:
        """The result for an object, which is recognised by identity."""
        last = self._last
        if last is not None and last[0] is source:
            return last[1]
        made = self._make(source)
        self._last = (
            source,
            made,
        )  # atomic: other threads may ask too
        return made
