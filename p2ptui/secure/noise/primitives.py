"""The functions that a handshake is built from (Noise, sections 4 and 12), and key pairs.

None of them is our own: X25519 and ChaCha20-Poly1305 come from `cryptography`, SHA-256 and HMAC
from the standard library.
"""

import hashlib
import hmac
import secrets
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Final, NamedTuple

from p2ptui.secure.errors import Reason, SecureError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
    from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

KEY_BYTES: Final = 32
"""Of every key, public, private or shared, and of a hash."""

TAG_BYTES: Final = 16
"""What encryption adds."""

MAX_MESSAGE_BYTES: Final = 65_535
"""Of any Noise message (section 3)."""

MAX_NONCE: Final = 2**64 - 1
"""Reserved: a key whose nonce has come this far is used up (section 5.1)."""

ZEROS: Final = bytes(KEY_BYTES)

NONCE: Final = struct.Struct("<IQ")
"""A nonce in the form of ChaChaPoly; see `nonce_of`."""


class Loaded(NamedTuple):
    """The parts of `cryptography` in use."""

    aead: Callable[[bytes], "ChaCha20Poly1305"]
    private_key: Callable[[bytes], "X25519PrivateKey"]
    public_key: Callable[[bytes], "X25519PublicKey"]
    invalid_tag: type[Exception]


@cache
def cryptography() -> Loaded:
    """Load `cryptography`, once: it takes longer than a short command may."""
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
    from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

    return Loaded(
        ChaCha20Poly1305,
        X25519PrivateKey.from_private_bytes,
        X25519PublicKey.from_public_bytes,
        InvalidTag,
    )


@dataclass(frozen=True, slots=True)
class KeyPair:
    """An X25519 key pair, as 32 bytes each. The private key is in no `repr`."""

    private: bytes = field(repr=False)
    public: bytes
    _ready: list["X25519PrivateKey"] = field(
        default_factory=list, init=False, repr=False, compare=False
    )
    """The private key as an object, once it was used: making it costs as much as using it."""

    def __post_init__(self) -> None:
        if len(self.private) != KEY_BYTES or len(self.public) != KEY_BYTES:
            raise SecureError(Reason.BAD_KEY, "an X25519 key has 32 bytes")

    @classmethod
    def generate(cls) -> "KeyPair":
        """A new pair, from the system's random numbers."""
        return cls.from_private(secrets.token_bytes(KEY_BYTES))

    @classmethod
    def from_private(cls, private: bytes) -> "KeyPair":
        """The pair of a private key of 32 bytes; SecureError if it has the wrong length."""
        if len(private) != KEY_BYTES:
            raise SecureError(Reason.BAD_KEY, "an X25519 key has 32 bytes")
        key = cryptography().private_key(private)
        pair = cls(private, key.public_key().public_bytes_raw())
        pair._ready.append(key)
        return pair

    def dh(self, public: bytes) -> bytes:
        """The secret shared with the owner of a public key: `DH` of section 4.1.

        SecureError if the result is zero, as it is for the few public keys of low order: the other
        side would not need to know any secret (section 12; RFC 7748, section 6.1).
        """
        if not self._ready:
            self._ready.append(cryptography().private_key(self.private))
        try:
            shared = self._ready[0].exchange(cryptography().public_key(public))
        except ValueError:
            shared = ZEROS
        if hmac.compare_digest(shared, ZEROS):
            raise SecureError(Reason.BAD_KEY, "a public key that shares no secret was refused")
        return shared


def nonce_of(n: int) -> bytes:
    """A nonce in the form of ChaChaPoly (section 12.3): 32 zero bits, then 64 bits, little-
    endian.
    """
    return NONCE.pack(0, n)


def encrypt(k: bytes, n: int, ad: bytes, plaintext: bytes) -> bytes:
    """`ENCRYPT` of section 4.2: the ciphertext and its tag."""
    return cryptography().aead(k).encrypt(nonce_of(n), plaintext, ad)


def decrypt(k: bytes, n: int, ad: bytes, ciphertext: bytes) -> bytes:
    """`DECRYPT` of section 4.2; SecureError if it does not authenticate."""
    loaded = cryptography()
    try:
        return loaded.aead(k).decrypt(nonce_of(n), ciphertext, ad)
    except loaded.invalid_tag:
        raise SecureError(Reason.ALTERED, "a message does not authenticate") from None


def hash_of(data: bytes) -> bytes:
    """`HASH` of section 4.3."""
    return hashlib.sha256(data).digest()


def hkdf(chaining_key: bytes, material: bytes, outputs: int) -> tuple[bytes, ...]:
    """`HKDF` of section 4.3: two or three keys."""
    temporary = hmac.digest(chaining_key, material, "sha256")
    first = hmac.digest(temporary, b"\x01", "sha256")
    second = hmac.digest(temporary, first + b"\x02", "sha256")
    if outputs == 2:
        return first, second
    return first, second, hmac.digest(temporary, second + b"\x03", "sha256")
