"""The bytes of a fuzz case, read as a row of choices: any bytes are some case."""

from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


class Choices:
    """Reads from the front; once all is read, every choice is the first one.

    Args:
        data: The case.
    """

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def __bool__(self) -> bool:
        """Whether anything is left."""
        return self._at < len(self._data)

    def byte(self) -> int:
        at = self._at
        self._at += 1
        return self._data[at] if at < len(self._data) else 0

    def below(self, limit: int) -> int:
        """A number from 0 up to a limit that is not reached; one byte, or two if that is needed."""
        number = self.byte()
        if limit > 256:
            number = number << 8 | self.byte()
        return number % limit

    def one(self, values: Sequence[T]) -> T:
        return values[self.below(len(values))]

    def bits(self, count: int) -> int:
        """A number of so many bits, a multiple of eight."""
        return int.from_bytes(self.take(count // 8), "big")

    def take(self, size: int) -> bytes:
        """So many bytes, or fewer if there are no more."""
        taken = self._data[self._at : self._at + size]
        self._at += size
        return taken

    def rest(self) -> bytes:
        return self.take(len(self._data))
