"""What was made last is kept, for those who ask for it of the same thing one after the other."""

from collections.abc import Callable
from typing import Generic, TypeVar

SourceT = TypeVar("SourceT")
MadeT = TypeVar("MadeT")


class LastMade(Generic[SourceT, MadeT]):
    """Makes one thing of another, and keeps the last one; nobody changes what it returns.

    Args:
        make: Makes it; what it raises is not kept.
    """

    __slots__ = ("_last", "_make")

    def __init__(self, make: Callable[[SourceT], MadeT]) -> None:
        self._make = make
        self._last: tuple[SourceT, MadeT] | None = None

    def of(self, source: SourceT) -> MadeT:
        """What is made of an object, told by its identity."""
        last = self._last
        if last is not None and last[0] is source:
            return last[1]
        made = self._make(source)
        self._last = source, made  # at once: another thread may ask of something else meanwhile
        return made
