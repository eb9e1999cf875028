"""The names of sealed frames in message traces."""

from collections.abc import Mapping
from typing import Final

from p2ptui.core.sealing import SealFrame
from p2ptui.core.secure.inner import (
    MOVED,
    PATH_CHALLENGE,
    PATH_RESPONSE,
    REKEY_1,
    REKEY_2,
    REKEY_3,
    SEEN,
)

_KINDS: Final[Mapping[int, SealFrame]] = {
    PATH_CHALLENGE: SealFrame.PATH_CHALLENGE,
    PATH_RESPONSE: SealFrame.PATH_RESPONSE,
    REKEY_1: SealFrame.REKEY_REQUEST,
    REKEY_2: SealFrame.REKEY_RESPONSE,
    REKEY_3: SealFrame.REKEY_FINISH,
    MOVED: SealFrame.MOVED,
    SEEN: SealFrame.SEEN,
}


def kind_of(inner: bytes) -> SealFrame:
    """What a frame of those in `inner` is called."""
    return _KINDS.get(inner[0], SealFrame.OTHER)
