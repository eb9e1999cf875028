"""A node's proved identity: keys made from one seed, the id that follows from them, statements.

The id is a hash of both public keys: a node that cannot do the key exchange with the X25519 key, or
sign with the Ed25519 key, cannot claim it.
"""

import base64
import binascii
import hashlib
import struct
import uuid
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from p2ptui.errors import RemoteError
from p2ptui.secure.noise.primitives import KeyPair
from p2ptui.secure.secret import SECRET_BYTES, Secret
from p2ptui.wire.frames import node_id_text

KEY_BYTES: Final = 32
"""Of each public key (RFC 7748, RFC 8032)."""

SIGNATURE_BYTES: Final = 64

STATEMENT_LIFE_S: Final = 86_400.0
"""How long a statement is valid; a running node makes a new one in time."""

STATEMENT_SKEW_S: Final = 14 * 3_600.0
"""How far the signer's clock may be ahead: by up to 14 hours if it is set to local time instead of
UTC. Behind, it may be as far as a statement is valid.
"""

_ID_LABEL: Final = b"p2ptui node id 1\0"
_SEED_LABEL: Final = b"p2ptui identity 1\0"
_STATEMENT_LABEL: Final = b"p2ptui statement 1\0"
_CLAIM: Final = struct.Struct(">B32s32s16sQ")
"""Kind, the signer's two public keys, the subject's id, the last second of its validity."""


class StatementError(RemoteError):
    """A statement that proves nothing; the text says why."""


def id_of(x_public: bytes, ed_public: bytes) -> str:
    """The node id of two public keys: a UUID of version 8 (RFC 9562, section 5.8).

    Args:
        x_public: X25519, 32 bytes.
        ed_public: Ed25519, 32 bytes.

    Raises:
        ValueError: One of them has the wrong size.
    """
    if len(x_public) != KEY_BYTES or len(ed_public) != KEY_BYTES:
        raise ValueError("a public key has 32 bytes")
    digest = bytearray(hashlib.sha256(_ID_LABEL + x_public + ed_public).digest()[:16])
    digest[6] = digest[6] & 0x0F | 0x80
    digest[8] = digest[8] & 0x3F | 0x80
    return node_id_text(bytes(digest))


def is_made_of_keys(node_id: str) -> bool:
    """Whether an id is of the kind that only `id_of` makes. A node with such an id has keys, so
    nobody on the path can make it look like a node without any.

    Args:
        node_id: In canonical form.
    """
    return node_id[14:15] == "8" and node_id[19:20] in ("8", "9", "a", "b")


@dataclass(frozen=True, slots=True)
class PublicKeys:
    """The public keys of an identity.

    Args:
        x_public: X25519, 32 bytes: for the key exchange.
        ed_public: Ed25519, 32 bytes: for statements.
    """

    x_public: bytes
    ed_public: bytes

    @property
    def id(self) -> str:
        """The node id that they make."""
        return id_of(self.x_public, self.ed_public)

    @property
    def text(self) -> str:
        """Their form on the wire: 86 characters of base64url, without padding."""
        raw = self.x_public + self.ed_public
        return base64.urlsafe_b64encode(raw).decode("ascii").rstrip("=")


def read_keys(text: str, node_id: str) -> PublicKeys | None:
    """Read public keys in their form on the wire; None if malformed, or if they make another id.

    Args:
        text: The keys, as `PublicKeys.text`.
        node_id: The id that they should make.
    """
    try:
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        keys = PublicKeys(raw[:KEY_BYTES], raw[KEY_BYTES:])
        is_of_id = keys.id == node_id
    except ValueError:
        return None
    return keys if is_of_id else None


def load_primitives() -> None:
    """Load, before timing matters, everything slow to load that keys and sessions need."""
    import cryptography.hazmat.primitives.asymmetric.ed25519
    import cryptography.hazmat.primitives.kdf.hkdf  # noqa: F401

    KeyPair.generate()  # what the functions need is loaded on their first use


class Identity:
    """The keys of a node.

    Args:
        seed: 32 bytes that nobody else knows; the keys are made from it by HKDF (RFC 5869).

    Raises:
        ValueError: It has the wrong size.
    """

    __slots__ = ("_ed_private", "_x_private_bytes", "id", "keys")

    def __init__(self, seed: Secret) -> None:
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
        from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

        if len(seed.reveal()) != SECRET_BYTES:
            raise ValueError("a seed has 32 bytes")
        self._x_private_bytes = _derived(seed, b"x25519")
        x_private = X25519PrivateKey.from_private_bytes(self._x_private_bytes.reveal())
        self._ed_private = Ed25519PrivateKey.from_private_bytes(_derived(seed, b"ed25519").reveal())
        self.keys = PublicKeys(
            x_private.public_key().public_bytes_raw(),
            self._ed_private.public_key().public_bytes_raw(),
        )
        """Both public keys."""
        self.id = self.keys.id
        """The node id that they make."""

    @property
    def x_public(self) -> bytes:
        """The public key of the key exchange, 32 bytes."""
        return self.keys.x_public

    @property
    def ed_public(self) -> bytes:
        """The public key of statements, 32 bytes."""
        return self.keys.ed_public

    @property
    def x_private_bytes(self) -> Secret:
        """The private key of the key exchange, as its 32 bytes (RFC 7748, section 5)."""
        return self._x_private_bytes

    def sign(self, data: bytes) -> bytes:
        """Sign with Ed25519 (RFC 8032): 64 bytes."""
        return self._ed_private.sign(data)

    def __repr__(self) -> str:
        return f"Identity({self.id})"


def verify(ed_public: bytes, signature: bytes, data: bytes) -> bool:
    """Whether this is a signature over the data by this key; takes keys and signatures of any
    size.
    """
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        Ed25519PublicKey.from_public_bytes(ed_public).verify(signature, data)
    except (InvalidSignature, ValueError):
        return False
    return True


class StatementKind(IntEnum):
    """What an identity says about another id."""

    EPHEMERAL = 1
    """The id is an ephemeral node of mine."""


@dataclass(frozen=True, slots=True)
class Statement:
    """What an identity says about an id, until a given time; `read_statement` has checked the
    signature.

    Args:
        kind: What it says.
        signer: The identity that signed it.
        subject: The id that it is about.
        expires_at: The last moment of its validity, Unix time in whole seconds.
        signature: 64 bytes.
    """

    kind: StatementKind
    signer: PublicKeys
    subject: str
    expires_at: int
    signature: bytes

    def to_text(self) -> str:
        """Its form on the wire: 204 characters of base64url, without padding."""
        raw = _claim(self.kind, self.signer, self.subject, self.expires_at) + self.signature
        return base64.urlsafe_b64encode(raw).decode("ascii").rstrip("=")

    def to_bytes(self) -> bytes:
        """Its short form, for where its kind and subject are known: 136 bytes."""
        claim = _claim(self.kind, self.signer, self.subject, self.expires_at)
        return claim[1:_SHORT_END] + claim[_TIME_AT:] + self.signature


_SHORT_END: Final = 1 + 2 * KEY_BYTES
_TIME_AT: Final = _CLAIM.size - 8
SHORT_STATEMENT_BYTES: Final = 2 * KEY_BYTES + 8 + SIGNATURE_BYTES
STATEMENT_TEXT_LENGTH: Final = -(-(_CLAIM.size + SIGNATURE_BYTES) * 4 // 3)


def make_statement(
    signer: Identity,
    subject: str,
    now_wall: float,
    kind: StatementKind = StatementKind.EPHEMERAL,
    life_s: float = STATEMENT_LIFE_S,
) -> Statement:
    """Sign a statement.

    Args:
        signer: The identity that signs it.
        subject: The id that it is about.
        now_wall: Unix time, seconds.
        kind: What it says.
        life_s: How long it is valid, seconds; nobody accepts more than `STATEMENT_LIFE_S`.
    """
    expires_at = max(int(now_wall + life_s), 0)  # for a clock before 1970
    claim = _claim(kind, signer.keys, subject, expires_at)
    signature = signer.sign(_STATEMENT_LABEL + claim)
    return Statement(kind, signer.keys, subject, expires_at, signature)


def read_statement(text: str, subject: str, now_wall: float) -> Statement:
    """Read and check a statement; the signer's id is the result's `signer.id`.

    Args:
        text: In its form on the wire.
        subject: The id that it must be about: that of the node that sent it.
        now_wall: Unix time, seconds.

    Raises:
        StatementError: It is malformed, about another node, not signed by its keys, or not valid
            now.
    """
    if len(text) != STATEMENT_TEXT_LENGTH or not text.isascii():
        raise StatementError("the statement has the wrong size")
    try:
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        number, x_public, ed_public, about, expires_at = _CLAIM.unpack(raw[: _CLAIM.size])
        kind = StatementKind(number)
    except (binascii.Error, ValueError, struct.error):
        raise StatementError("the statement cannot be read") from None
    if str(uuid.UUID(bytes=about)) != subject:
        raise StatementError("the statement is about another node")
    if now_wall > expires_at:
        raise StatementError("the statement has expired, or the clocks of the two nodes differ")
    if expires_at > now_wall + STATEMENT_LIFE_S + STATEMENT_SKEW_S:
        raise StatementError(
            "the statement is valid for too long, or the clocks of the two nodes differ"
        )
    signature = raw[_CLAIM.size :]
    if not verify(ed_public, signature, _STATEMENT_LABEL + raw[: _CLAIM.size]):
        raise StatementError("the statement is not signed by the key that it names")
    return Statement(kind, PublicKeys(x_public, ed_public), subject, expires_at, signature)


def read_short_statement(
    data: bytes, subject: str, now_wall: float, kind: StatementKind = StatementKind.EPHEMERAL
) -> Statement:
    """Read and check what `Statement.to_bytes` wrote.

    Args:
        data: In its short form.
        subject: The id that it must be about.
        now_wall: Unix time, seconds.
        kind: What it must say.

    Raises:
        StatementError: As for `read_statement`.
    """
    if len(data) != SHORT_STATEMENT_BYTES:
        raise StatementError("the statement has the wrong size")
    keys, rest = data[: 2 * KEY_BYTES], data[2 * KEY_BYTES :]
    raw = bytes((kind,)) + keys + uuid.UUID(subject).bytes + rest
    text = base64.urlsafe_b64encode(raw).decode("ascii").rstrip("=")
    return read_statement(text, subject, now_wall)


def signer_in(data: bytes) -> PublicKeys | None:
    """The signer named in what `Statement.to_bytes` wrote, unchecked; None if it is malformed."""
    if len(data) != SHORT_STATEMENT_BYTES:
        return None
    return PublicKeys(data[:KEY_BYTES], data[KEY_BYTES : 2 * KEY_BYTES])


def _claim(kind: StatementKind, signer: PublicKeys, subject: str, expires_at: int) -> bytes:
    about = uuid.UUID(subject).bytes
    return _CLAIM.pack(kind, signer.x_public, signer.ed_public, about, expires_at)


def _derived(seed: Secret, purpose: bytes) -> Secret:
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    derive = HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=_SEED_LABEL, info=purpose).derive
    return Secret(derive(seed.reveal()))
