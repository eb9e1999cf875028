"""The CipherState of Noise, section 5.1: a key, and the next nonce."""

from p2ptui.secure.errors import Reason, SecureError
from p2ptui.secure.noise.primitives import (
    KEY_BYTES,
    MAX_MESSAGE_BYTES,
    MAX_NONCE,
    TAG_BYTES,
    decrypt,
    encrypt,
)


class CipherState:
    """Encrypts and decrypts with one key, each nonce once. Without a key it returns data
    unchanged.
    """

    __slots__ = ("_k", "_n")

    def __init__(self, key: bytes | None = None) -> None:
        self._k: bytes | None = None
        self._n = 0
        self.initialize_key(key)

    def initialize_key(self, key: bytes | None) -> None:
        """Set a key of 32 bytes, or none, and start at nonce 0."""
        if key is not None and len(key) != KEY_BYTES:
            raise SecureError(Reason.BAD_KEY, "a cipher key has 32 bytes")
        self._k = key
        self._n = 0

    def has_key(self) -> bool:
        """Whether there is a key, and so whether anything is encrypted."""
        return self._k is not None

    def set_nonce(self, nonce: int) -> None:
        """Continue at this nonce."""
        if not 0 <= nonce <= MAX_NONCE:
            raise SecureError(Reason.EXHAUSTED, "a nonce has 64 bits")
        self._n = nonce

    def encrypt_with_ad(self, ad: bytes, plaintext: bytes) -> bytes:
        """The ciphertext with its tag, 16 bytes longer; SecureError if the key is used up."""
        if self._k is None:
            return plaintext
        if len(plaintext) > MAX_MESSAGE_BYTES - TAG_BYTES:
            raise SecureError(Reason.TOO_LONG, f"a message has at most {MAX_MESSAGE_BYTES:,} bytes")
        ciphertext = encrypt(self._k, self._next(), ad, plaintext)
        self._n += 1
        return ciphertext

    def decrypt_with_ad(self, ad: bytes, ciphertext: bytes) -> bytes:
        """The plaintext; SecureError if it does not authenticate, and then the nonce stays."""
        if self._k is None:
            return ciphertext
        if len(ciphertext) > MAX_MESSAGE_BYTES:
            raise SecureError(Reason.TOO_LONG, f"a message has at most {MAX_MESSAGE_BYTES:,} bytes")
        plaintext = decrypt(self._k, self._next(), ad, ciphertext)
        self._n += 1
        return plaintext

    def rekey(self) -> None:
        """Replace the key by the one derived from it (section 4.2, `REKEY`); the nonce
        continues.
        """
        if self._k is None:
            raise SecureError(Reason.OUT_OF_TURN, "there is no key to follow")
        self._k = encrypt(self._k, MAX_NONCE, b"", bytes(KEY_BYTES))[:KEY_BYTES]

    def _next(self) -> int:
        if self._n >= MAX_NONCE:
            raise SecureError(Reason.EXHAUSTED, "this key has been used for 2^64 - 1 messages")
        return self._n

    @property
    def key(self) -> bytes:
        """The raw key, for callers that keep their own counters; SecureError if there is none."""
        if self._k is None:
            raise SecureError(Reason.OUT_OF_TURN, "there is no key yet")
        return self._k

    def copy(self) -> "CipherState":
        """A copy that continues from here."""
        other = CipherState.__new__(CipherState)
        other._k, other._n = self._k, self._n
        return other
