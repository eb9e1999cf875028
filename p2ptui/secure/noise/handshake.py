"""The HandshakeState of Noise, section 5.3: reads and writes the messages of a pattern."""

from collections.abc import Sequence
from typing import Final, TypeAlias

from p2ptui.secure.errors import Reason, SecureError
from p2ptui.secure.noise.cipher import CipherState
from p2ptui.secure.noise.patterns import Pattern
from p2ptui.secure.noise.primitives import KEY_BYTES, MAX_MESSAGE_BYTES, TAG_BYTES, KeyPair
from p2ptui.secure.noise.symmetric import SymmetricState

_Before: TypeAlias = tuple[SymmetricState, bytes | None, bytes | None, KeyPair | None, bool, int]
"""The state that a message changes, as it was before."""


class HandshakeState:
    """One side of a handshake.

    A message that cannot be read leaves the state as it was. The specification ends the handshake
    there; over datagrams that would let anyone end a handshake by others, so here the genuine
    message may still come.
    """

    def __init__(
        self,
        pattern: Pattern,
        *,
        initiator: bool,
        prologue: bytes = b"",
        s: KeyPair | None = None,
        e: KeyPair | None = None,
        rs: bytes | None = None,
        psks: Sequence[bytes] = (),
    ) -> None:
        """`Initialize`.

        Args:
            pattern: The handshake pattern.
            initiator: Whether this side writes the first message.
            prologue: Other data that both sides must agree on.
            s: The static key pair of this side.
            e: The ephemeral one, never used twice: for published test vectors, and for callers that
                must know it before the prologue. Generated when needed if not given.
            rs: The other side's static public key, if the pattern needs it beforehand.
            psks: Pre-shared keys, 32 bytes each, as many as the pattern takes.
        """
        if any(len(psk) != KEY_BYTES for psk in psks):
            raise SecureError(Reason.BAD_KEY, "a pre-shared key has 32 bytes")
        if len(psks) != pattern.psks:
            wanted = f"{pattern.name} takes {pattern.psks} pre-shared keys, not {len(psks)}"
            raise SecureError(Reason.OUT_OF_TURN, wanted)
        self.pattern: Final = pattern
        self.initiator: Final = initiator
        self._s = s
        self._e = e
        self._is_e_sent = False
        self._rs = rs
        self._re: bytes | None = None
        self._psks: Final = tuple(psks)
        self._psks_mixed = 0
        self._done = 0
        self._has_read_static = False
        self._symmetric = SymmetricState(pattern.protocol_name)
        self._symmetric.mix_hash(prologue)
        if pattern.is_static_known:
            self._symmetric.mix_hash(self._known(rs) if initiator else self._own_s().public)

    @property
    def is_over(self) -> bool:
        """Whether all messages have been written and read."""
        return self._done == len(self.pattern.messages)

    @property
    def remote_static(self) -> bytes | None:
        """The other side's static public key, once it was read and its message authenticated."""
        return self._rs

    @property
    def has_read_static(self) -> bool:
        """Whether the last message read, even if it was refused in the end, had a static key that
        authenticated: then only its end was wrong.
        """
        return self._has_read_static

    def copy(self) -> "HandshakeState":
        """A copy that continues from here. Only one of the two may write the next message: they
        share an ephemeral key, so the same keys would seal different things.
        """
        other = HandshakeState(
            self.pattern,
            initiator=self.initiator,
            s=self._s,
            e=self._e,
            rs=self._rs,
            psks=self._psks,
        )
        other._done = self._done
        other._has_read_static = self._has_read_static
        other._go_back(self._noted())
        return other

    def write_message(self, payload: bytes = b"") -> bytes:
        """The next message, with this payload.

        SecureError if it is not this side's turn, if the message would be longer than 65,535 bytes,
        or if the other side's key is bad.
        """
        tokens = self._turn(is_writing=True)
        before = self._noted()
        try:
            parts: list[bytes] = []
            for token in tokens:
                self._write(token, parts)
            parts.append(self._symmetric.encrypt_and_hash(payload))
            message = b"".join(parts)
            _require_length(message)
        except BaseException:
            self._go_back(before)
            raise
        self._done += 1
        return message

    def read_message(self, message: bytes) -> bytes:
        """The payload of the other side's next message.

        SecureError if it is not that side's turn, or if the message is cut short, altered, from
        another handshake, or has a bad key: then nothing has changed.
        """
        tokens = self._turn(is_writing=False)
        _require_length(message)
        self._has_read_static = False
        before = self._noted()
        try:
            rest = message
            for token in tokens:
                rest = self._read(token, rest)
            payload = self._read_payload(rest)
        except BaseException:
            self._go_back(before)
            raise
        self._done += 1
        return payload

    def split(self) -> tuple[CipherState, CipherState]:
        """The ciphers from initiator to responder, and back; the second one is unused in a one-way
        pattern. SecureError before the handshake is over.
        """
        self._require_over()
        return self._symmetric.split()

    def get_handshake_hash(self) -> bytes:
        """A hash that identifies this handshake (section 11.2). SecureError before it is over."""
        self._require_over()
        return self._symmetric.get_handshake_hash()

    def _require_over(self) -> None:
        if not self.is_over:
            raise SecureError(Reason.OUT_OF_TURN, "the handshake is not over")

    def _turn(self, *, is_writing: bool) -> tuple[str, ...]:
        is_mine = (self._done % 2 == 0) == self.initiator
        if self.is_over or is_mine != is_writing:
            raise SecureError(Reason.OUT_OF_TURN, "that handshake message does not come next")
        return self.pattern.messages[self._done]

    def _noted(self) -> _Before:
        symmetric = self._symmetric.copy()
        return symmetric, self._rs, self._re, self._e, self._is_e_sent, self._psks_mixed

    def _go_back(self, before: _Before) -> None:
        """Restore the state after a message was refused."""
        self._symmetric, self._rs, self._re, self._e, self._is_e_sent, self._psks_mixed = before

    def _write(self, token: str, parts: list[bytes]) -> None:
        if token == "e":
            if self._is_e_sent:
                raise SecureError(Reason.OUT_OF_TURN, "an ephemeral key is sent once")
            self._e = self._e or KeyPair.generate()
            self._is_e_sent = True
            parts.append(self._e.public)
            self._mix_ephemeral(self._e.public)
        elif token == "s":
            parts.append(self._symmetric.encrypt_and_hash(self._own_s().public))
        else:
            self._mix(token)

    def _read(self, token: str, message: bytes) -> bytes:
        if token == "e":
            self._re, rest = _cut(message, KEY_BYTES)
            self._mix_ephemeral(self._re)
            return rest
        if token == "s":
            length = KEY_BYTES + (TAG_BYTES if self._symmetric.has_key() else 0)
            sealed, rest = _cut(message, length)
            self._rs = self._symmetric.decrypt_and_hash(sealed)
            self._has_read_static = True
            return rest
        self._mix(token)
        return message

    def _read_payload(self, sealed: bytes) -> bytes:
        if self._symmetric.has_key() and len(sealed) < TAG_BYTES:
            raise SecureError(Reason.MALFORMED, "a handshake message is cut short")
        return self._symmetric.decrypt_and_hash(sealed)

    def _mix_ephemeral(self, public: bytes) -> None:
        self._symmetric.mix_hash(public)
        if self.pattern.psks:  # section 9.2: otherwise a key could meet a nonce twice
            self._symmetric.mix_key(public)

    def _mix(self, token: str) -> None:
        if token == "psk":
            self._symmetric.mix_key_and_hash(self._psks[self._psks_mixed])
            self._psks_mixed += 1
        else:
            self._symmetric.mix_key(self._secret(token))

    def _own_s(self) -> KeyPair:
        if self._s is None:
            raise SecureError(Reason.OUT_OF_TURN, f"{self.pattern.name} needs a static key pair")
        return self._s

    def _own_e(self) -> KeyPair:
        assert self._e is not None  # each pattern sends it first
        return self._e

    def _known(self, key: bytes | None) -> bytes:
        if key is None or len(key) != KEY_BYTES:
            raise SecureError(Reason.BAD_KEY, f"{self.pattern.name} needs the other side's key")
        return key

    def _secret(self, token: str) -> bytes:
        """The secret shared by two keys: the token names the initiator's key first, then the
        responder's.
        """
        own, others = token[0], token[1]
        if not self.initiator:
            own, others = others, own
        pair = self._own_e() if own == "e" else self._own_s()
        return pair.dh(self._known(self._re if others == "e" else self._rs))


def _cut(message: bytes, length: int) -> tuple[bytes, bytes]:
    if len(message) < length:
        raise SecureError(Reason.MALFORMED, "a handshake message is cut short")
    return message[:length], message[length:]


def _require_length(message: bytes) -> None:
    if len(message) > MAX_MESSAGE_BYTES:
        raise SecureError(Reason.TOO_LONG, f"a message has at most {MAX_MESSAGE_BYTES:,} bytes")
