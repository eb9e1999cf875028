"""The Noise protocol framework, revision 34, as far as it is needed: 25519, ChaChaPoly, SHA256.

Names are those of the specification, in Python style. No I/O, no clock. Primitives come from
`cryptography`, which is loaded when a key is first used, and from `hashlib`.

`primitives` has the functions of section 4 and key pairs, `patterns` the handshakes as data,
`cipher`, `symmetric` and `handshake` the three objects of section 5.

    a = HandshakeState(XX, initiator=True, prologue=p, s=KeyPair.generate())
    b = HandshakeState(XX, initiator=False, prologue=p, s=KeyPair.generate())
    b.read_message(a.write_message(b""))
    a.read_message(b.write_message(b"inside 2"))
    b.read_message(a.write_message(b"inside 3"))
    to_responder, to_initiator = a.split()
"""

from p2ptui.secure.noise.cipher import CipherState
from p2ptui.secure.noise.handshake import HandshakeState
from p2ptui.secure.noise.patterns import PATTERNS, XX, Pattern, X, Xpsk1, XXpsk3
from p2ptui.secure.noise.primitives import (
    KEY_BYTES,
    MAX_MESSAGE_BYTES,
    TAG_BYTES,
    KeyPair,
)
from p2ptui.secure.noise.symmetric import SymmetricState

__all__ = [
    "KEY_BYTES",
    "MAX_MESSAGE_BYTES",
    "PATTERNS",
    "TAG_BYTES",
    "XX",
    "CipherState",
    "HandshakeState",
    "KeyPair",
    "Pattern",
    "SymmetricState",
    "X",
    "XXpsk3",
    "Xpsk1",
]
