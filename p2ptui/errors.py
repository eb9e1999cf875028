"""What can go wrong, in two kinds: the caller's mistakes, and failures of a peer or the network.

The tree is shallow on purpose (as in h11): a caller catches `P2PError` for everything, `LocalError`
for its own mistakes and `RemoteError` for what the other side or the network did.
"""


class P2PError(Exception):
    """Base of every error that this package raises on purpose.

    Its text is one line that a person can act on: what happened, to what,
    and what to do.
    """


class LocalError(P2PError):
    """The mistake is on this side: wrong arguments, wrong state, or a limit of this node."""


class ConfigError(LocalError):
    """The configuration cannot be used; names the key, the value and the bounds."""


class BindError(LocalError):
    """The listening address is taken, or does not exist on this machine."""


class UnknownPeerError(LocalError):
    """The peer is not known here, or the name fits several."""


class NotMetError(UnknownPeerError):
    """No node that was met before has this name."""


class NotKnownThereError(UnknownPeerError):
    """The server that was asked does not know this node; another one may."""


class MessageTooLargeError(LocalError):
    """The message is too large; names the limit and the size, both in bytes."""


class QueueFullError(LocalError):
    """Too much is already waiting to be sent to this peer."""


class NotAnnouncedError(LocalError):
    """This needs an extension that the peer has not announced."""


class RemoteError(P2PError):
    """The other side, or the network between, failed."""


class HandshakeError(RemoteError):
    """The other side refused the handshake or never answered."""


class NetworkMismatchError(HandshakeError):
    """The other side refused: it takes part in another network."""

    def __init__(self, said: str) -> None:
        super().__init__(f"{said}; both nodes need the same network_id")
        self.said = said
        """The same without what to do about it."""


class ImpostorError(RemoteError):
    """Another node answered than the intended one, or the node has changed."""


class PeerTimeoutError(RemoteError):
    """No answer came within the given time."""


class NotIntroducedError(PeerTimeoutError):
    """A server did not introduce the node, and did not say why."""


class PeerGoneError(RemoteError):
    """The peer left, or was lost, before the call could finish."""
