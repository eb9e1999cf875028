"""Tells a refusal because of another network from every other failure of a handshake."""

from collections.abc import Sequence

from p2ptui.core.identity import NETWORK_MISMATCH
from p2ptui.core.sessions.asking import refusal
from p2ptui.errors import HandshakeError, NetworkMismatchError
from p2ptui.wire.address import Address


def says_mismatch(error: HandshakeError, asked: Sequence[Address]) -> bool:
    """Whether one of the asked addresses refused for that reason.

    A refusal has no code on the wire: its reason begins as the reference's does. The refusing side
    chooses the reason, so that decides the advice, and nothing else.
    """
    said = str(error)
    return any(refusal(address, NETWORK_MISMATCH) in said for address in asked)


def in_other_words(error: HandshakeError, before: str = "", after: str = "") -> HandshakeError:
    """The same failure with more words, before the advice."""
    if isinstance(error, NetworkMismatchError):
        return NetworkMismatchError(before + error.said + after)
    return HandshakeError(f"{before}{error}{after}")
