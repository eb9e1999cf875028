"""One message to a node whose public key is known, before there is a session with it.

It is the only message of the Noise pattern X (section 7.5), or of Xpsk1 with a network key, as
base64url after the pattern's name. Only the owner of the key can read it, and it learns the
sender's key. The message can be replayed: the reader must decide what that means.
"""

from collections.abc import Collection
from typing import Final

from p2ptui.secure.errors import Reason, SecureError
from p2ptui.secure.exchange import StaticKeys, decode_text, encode_text
from p2ptui.secure.noise import X, Xpsk1
from p2ptui.secure.noise.handshake import HandshakeState

ONE_WAY: Final = {pattern.name: pattern for pattern in (X, Xpsk1)}


def seal_once(
    keys: StaticKeys, to: bytes, payload: bytes, *, prologue: bytes, psk: bytes | None = None
) -> str:
    """Write a message that only one node can read.

    Args:
        keys: The X25519 key pair of this node.
        to: The static public key of the other node, 32 bytes.
        payload: The contents.
        prologue: Other data that both sides must agree on.
        psk: The network key, 32 bytes, if it is to be used.

    Returns:
        The text. SecureError if a key is bad, or the payload too long.
    """
    pattern = X if psk is None else Xpsk1
    psks = () if psk is None else (psk,)
    state = HandshakeState(pattern, initiator=True, prologue=prologue, s=keys, rs=to, psks=psks)
    return f"{pattern.name}.{encode_text(state.write_message(payload))}"


def open_once(
    keys: StaticKeys,
    text: str,
    *,
    prologue: bytes,
    psk: bytes | None = None,
    accepts: Collection[str] = tuple(ONE_WAY),
) -> tuple[bytes, bytes]:
    """Read a message that `seal_once` wrote.

    Args:
        keys: The X25519 key pair of this node.
        text: The message.
        prologue: As for `seal_once`.
        psk: The network key, if there is one.
        accepts: Names of patterns that may be used.

    Returns:
        The contents, and the static public key of the sender. SecureError if it is malformed, for
        another node, altered, or written with another network key.
    """
    name, _, message = text.partition(".")
    pattern = ONE_WAY.get(name)
    if pattern is None or name not in accepts or (pattern.psks and psk is None):
        raise SecureError(Reason.UNKNOWN_PATTERN, "a sealed message of a kind not accepted here")
    psks = (psk,) if pattern.psks and psk is not None else ()
    state = HandshakeState(pattern, initiator=False, prologue=prologue, s=keys, psks=psks)
    payload = state.read_message(decode_text(message))
    assert state.remote_static is not None
    return payload, state.remote_static
