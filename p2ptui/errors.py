"""What can go wrong, in two kinds: you misused it, or a peer did.

The tree is shallow on purpose (as in h11): a caller catches `P2PError` for
everything, `LocalError` for its own mistakes and `RemoteError` for what the
other side or the network did.
"""


class P2PError(Exception):
    """Base of every error that this package raises on purpose.

    Its text is one line that a person can act on: what happened, to what,
    and what to do.
    """


class LocalError(P2PError):
    """A mistake on this side: wrong arguments, wrong state, a limit of this node."""


class ConfigError(LocalError):
    """A configuration that cannot be used; names the key, the value and the bounds."""


class BindError(LocalError):
    """The listening address could not be taken."""


class UnknownPeerError(LocalError):
    """The peer that was named is not known here, or the name fits several."""


class NotMetError(UnknownPeerError):
    """No node that was met before is called so."""


class NotKnownThereError(UnknownPeerError):
    """The server that was asked knows no such node; another one may."""


class MessageTooLargeError(LocalError):
    """The message does not fit the limit; names the limit and the size, both in bytes."""


class QueueFullError(LocalError):
    """Too much is already waiting to be sent to this peer."""


class NotAnnouncedError(LocalError):
    """It is an extension, and this peer did not say that it understands that."""


class RemoteError(P2PError):
    """The other side, or the way to it, failed."""


class HandshakeError(RemoteError):
    """The other side refused the handshake, or never answered it."""


class ImpostorError(RemoteError):
    """Another node answers than the one that is meant, or one that is not as it was before."""


class PeerTimeoutError(RemoteError):
    """No answer within the time given."""


class NotIntroducedError(PeerTimeoutError):
    """A server brought no node, and did not say why."""


class PeerGoneError(RemoteError):
    """The peer left, or was lost, before the call could finish."""
