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
"""A message that is no longer fits whatever limits and paths there are, also under seal."""


def check_size(peer: Peer, size: int, limit: int) -> None:
    """Check that a message of `size` bytes can reach a peer at all.

    Args:
        peer: The peer.
        size: Of the message, bytes.
        limit: Of all messages; `max_message_size`.

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
    """What is known of the path to a peer that explains why so many bytes did not arrive, as the
    end of a sentence; empty if nothing is."""
    return peer.channel.sender.path.why(size, address_words(peer.sends_to))
