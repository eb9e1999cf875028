"""A payload that has been checked, and is decoded when somebody reads it."""

from typing import Any

from p2ptui.wire.codec import decode_any


def quoted(key: str) -> bytes:
    """A key as it appears in JSON if nothing in it is escaped."""
    return b'"%s"' % key.encode(errors="surrogatepass")


def may_have_key(data: bytes, keys: tuple[bytes, ...]) -> bool:
    """Whether JSON may be an object with one of several keys, without decoding it.

    Args:
        data: The JSON.
        keys: The keys, `quoted`. An escaped key in the JSON may be any of them.
    """
    if not keys or data[:1] != b"{":
        return False
    return data.find(b"\\") >= 0 or any(data.find(key) >= 0 for key in keys)


class Encoded:
    """The JSON of a payload, which may be a hundredth of the size of the values it stands for.

    It compares equal to its decoded value.

    Args:
        data: A copy of the payload: a slice of the datagram would keep the whole datagram in
            memory.
    """

    __slots__ = ("data",)

    def __init__(self, data: bytes) -> None:
        self.data = data

    def decoded(self) -> Any:
        """Plain JSON values, decoded anew each time."""
        return decode_any(self.data)

    def may_have(self, key: str) -> bool:
        """Whether it may be an object with this key, without decoding it."""
        return may_have_key(self.data, (quoted(key),))

    def __eq__(self, other: object) -> bool:
        return bool(self.decoded() == (other.decoded() if isinstance(other, Encoded) else other))

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return repr(self.decoded())
