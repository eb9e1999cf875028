"""The SymmetricState of Noise, section 5.2: what both sides have hashed and mixed in so far."""

from p2ptui.secure.noise.cipher import CipherState
from p2ptui.secure.noise.primitives import KEY_BYTES, hash_of, hkdf


class SymmetricState:
    """A chaining key, a hash of everything said so far, and a cipher."""

    __slots__ = ("_chaining_key", "_cipher", "_hash")

    def __init__(self, protocol_name: bytes) -> None:
        """`InitializeSymmetric`."""
        is_short = len(protocol_name) <= KEY_BYTES
        self._hash = protocol_name.ljust(KEY_BYTES, b"\0") if is_short else hash_of(protocol_name)
        self._chaining_key = self._hash
        self._cipher = CipherState()

    def mix_key(self, material: bytes) -> None:
        """Switch to a new cipher key that also depends on this secret."""
        self._chaining_key, key = hkdf(self._chaining_key, material, 2)
        self._cipher.initialize_key(key)

    def mix_hash(self, data: bytes) -> None:
        """Mix in data that both sides must have seen, or the next message will not authenticate."""
        self._hash = hash_of(self._hash + data)

    def mix_key_and_hash(self, material: bytes) -> None:
        """Like `mix_key` and `mix_hash` together; for a pre-shared key."""
        self._chaining_key, hashed, key = hkdf(self._chaining_key, material, 3)
        self.mix_hash(hashed)
        self._cipher.initialize_key(key)

    def get_handshake_hash(self) -> bytes:
        """Identifies this handshake once it is over: no other has the same hash (section 11.2)."""
        return self._hash

    def has_key(self) -> bool:
        """Whether what comes next is encrypted."""
        return self._cipher.has_key()

    def encrypt_and_hash(self, plaintext: bytes) -> bytes:
        """The ciphertext; the plaintext unchanged while there is no key."""
        ciphertext = self._cipher.encrypt_with_ad(self._hash, plaintext)
        self.mix_hash(ciphertext)
        return ciphertext

    def decrypt_and_hash(self, ciphertext: bytes) -> bytes:
        """The plaintext; SecureError if it does not authenticate."""
        plaintext = self._cipher.decrypt_with_ad(self._hash, ciphertext)
        self.mix_hash(ciphertext)
        return plaintext

    def split(self) -> tuple[CipherState, CipherState]:
        """The ciphers for what follows: from the initiator, and from the responder."""
        first, second = hkdf(self._chaining_key, b"", 2)
        return CipherState(first), CipherState(second)

    def copy(self) -> "SymmetricState":
        """A copy that continues from here."""
        other = SymmetricState(b"")
        other._hash = self._hash
        other._chaining_key = self._chaining_key
        other._cipher = self._cipher.copy()
        return other
