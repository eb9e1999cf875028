"""The meaning of a Data payload."""

import enum
from typing import Any

from msgspec import UNSET, Struct

from p2ptui.wire.message import Envelope


class DataKind(enum.Enum):
    """The kinds of Data payload."""

    # By identity, as members compare. The hash of Enum is written in Python, and each message is
    # looked up by its kind.
    __hash__ = object.__hash__

    PLAIN = "plain"
    ECHO = "echo"
    ROUTED = "routed"
    ROUTES_REQUEST = "routes request"
    ROUTES = "routes"


class DataContent(Struct):
    """A Data payload, decoded."""

    kind: DataKind
    value: Any
    """The ReceivedRoutedPayload; for other kinds the bytes, which their reader decodes."""
    message: Envelope
    """The message that carried it."""

    @property
    def handshake(self) -> Any:
        """The id of the handshake message that it names, if it is an object that names one."""
        return self.value.get("handshake", UNSET) if isinstance(self.value, dict) else UNSET
