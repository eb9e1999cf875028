"""Marks classes that stay interpreted in compiled modules; see docs/compiling.md."""

from typing import TypeVar

ClassT = TypeVar("ClassT")


def interpreted(cls: type[ClassT]) -> type[ClassT]:
    """Mark a class that extends a built-in type, as no compiled class can.

    The compiler leaves a class with an unknown decorator interpreted.
    """
    return cls
