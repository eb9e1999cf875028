"""A payload that was checked, and is decoded when somebody reads it."""

from typing import Any

from p2ptui.wire.codec import decode_any


class Encoded:
    """The JSON of a payload: it can be a hundredth of the values that it stands for.

    It equals what it is decoded to.

    Args:
        data: A copy of what came: a part of a datagram would keep all of it.
    """

    __slots__ = ("data",)

    def __init__(self, data: bytes) -> None:
        self.data = data

    def decoded(self) -> Any:
        """Plain JSON values, made anew each time."""
        return decode_any(self.data)

    def may_have(self, key: str) -> bool:
        """Whether it may be an object with this key, as told without decoding it."""
        data = self.data
        return data[:1] == b"{" and (b'"%s"' % key.encode() in data or b"\\u" in data)

    def __eq__(self, other: object) -> bool:
        return bool(self.decoded() == (other.decoded() if isinstance(other, Encoded) else other))

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return repr(self.decoded())
