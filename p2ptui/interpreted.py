"""What stays Python's own where the modules around it are compiled; see docs/compiling.md."""

from typing import TypeVar

ClassT = TypeVar("ClassT")


def interpreted(cls: type[ClassT]) -> type[ClassT]:
    """Mark a class that extends a built-in type, as no compiled class can.

    The compiler takes a class with a decorator that it does not know for one of Python's own.
    """
    return cls
