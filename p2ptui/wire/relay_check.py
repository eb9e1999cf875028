"""The question whether a server brings the two ends of a relayed session together."""

from msgspec import Struct

from p2ptui.wire.message import MessageId


class RelayCheckPayload(Struct, omit_defaults=True):
    """Asks, by way of one server, whether the other end of a relayed session is behind it too.

    The server could write both question and answer itself. So each names the handshake message of
    the session that came from the other end: only the two ends know both.
    """

    nonce: MessageId
    """Comes back in the answer."""
    handshake: MessageId
    """Id of the handshake message that came from the receiver."""
    answer: bool = False
    use: bool = False
    """Whether the session goes by way of this server from now on, at both ends."""
