"""How large a message to a peer may be at all, and how to report one that was too large."""

from typing import Final

from p2ptui.core.addresses import address_words
from p2ptui.core.peers import Peer
from p2ptui.core.reliability.path_mtu import FLOOR_BYTES
from p2ptui.core.sealing import SEAL_BYTES
from p2ptui.errors import MessageTooLargeError
from p2ptui.wire.message import Capability

MAX_DATAGRAM_BYTES: Final = 65_507
"""What UDP over IPv4 can carry."""

ALWAYS_FITS_BYTES: Final = FLOOR_BYTES - SEAL_BYTES
"""A message no longer than this fits all limits and paths, also under seal."""


def check_size(peer: Peer, size: int, limit: int) -> None:
    """Check that a message of `size` bytes can reach a peer at all.

    Args:
        peer: The peer.
        size: The size of the message, bytes.
        limit: The limit for all messages; `max_message_size`.

    Raises:
        MessageTooLargeError: It cannot.
    """
    if size > limit:
        raise MessageTooLargeError(
            f"the message is {size} bytes, the limit is {limit} (max_message_size);"
            " send it in parts"
        )
    if size > MAX_DATAGRAM_BYTES and Capability.FRAGMENTS not in peer.facts.capabilities:
        raise MessageTooLargeError(
            f"the message is {size} bytes, and this peer takes single datagrams of at most"
            f" {MAX_DATAGRAM_BYTES}; send it in parts"
        )


def why_lost(peer: Peer, size: int) -> str:
    """An explanation from the path's known size of why this many bytes did not arrive, as the end
    of a sentence; empty if there is none."""
    return peer.channel.sender.path.why(size, address_words(peer.sends_to))
