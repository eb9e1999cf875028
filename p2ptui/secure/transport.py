"""One set of session keys at work: seals datagrams, and opens each of them once."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from p2ptui.secure.errors import Reason, SecureError
from p2ptui.secure.frames import (
    HEADER_BYTES,
    LONGEST_BYTES,
    MAX_COUNTER,
    SECURED,
    SECURED_HEADER,
    SECURED_OVERHEAD,
)
from p2ptui.secure.noise import KEY_BYTES, MAX_MESSAGE_BYTES, TAG_BYTES
from p2ptui.secure.noise.primitives import NONCE, cryptography
from p2ptui.secure.replay import ReplayWindow

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

MAX_DATAGRAMS: Final = 2**32
"""Datagrams sealed with one key, at most."""

MAX_AWAKE: Final = 1024
"""Sets of keys in this process whose objects, 2.4 kB for each direction, are kept between uses.
Making one anew takes one to three microseconds.
"""

BACK_EACH: Final = 16
"""While others' objects occupy all places, a set of keys at rest gets objects for one use, and gets
a place once this was needed this many times: active sessions soon return, while thousands that say
something twice a minute do not evict each other at everyone's cost.
"""

REKEY_DATAGRAMS: Final = 2**31
"""From this many datagrams on, in either direction, new keys are due: enough are left to agree on
them.
"""

REKEY_AFTER_S: Final = 840.0
"""From this age on the initiator of the keys makes new ones, so that it is done within 15
minutes.
"""

REKEY_GRACE_S: Final = 30.0
"""The responder does so this much later if the initiator has not, so that not both do at once."""


@dataclass(frozen=True, slots=True)
class SessionKeys:
    """The raw keys of one key exchange, 32 bytes each; never in a `repr`."""

    send: bytes = field(repr=False)
    receive: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if len(self.send) != KEY_BYTES or len(self.receive) != KEY_BYTES:
            raise SecureError(Reason.BAD_KEY, "a session key has 32 bytes")


class Transport:
    """Seals and opens with the keys of one key exchange.

    The keys are kept raw, at 32 bytes each; the objects that work with them take kilobytes, and are
    made when first needed. `rest` releases them between uses; they are also released when
    `MAX_AWAKE` others need the room.
    """

    __slots__ = (
        "_opener",
        "_sealer",
        "_window",
        "began_at",
        "has_rested",
        "is_initiator",
        "keys",
        "local_number",
        "opened",
        "remote_number",
        "sealed",
    )

    def __init__(
        self,
        keys: SessionKeys,
        *,
        local_number: int,
        remote_number: int,
        is_initiator: bool,
        began_at: float,
    ) -> None:
        """Args:
        keys: The two raw keys.
        local_number: What the other side writes on frames for this one.
        remote_number: What this side writes on its frames.
        is_initiator: Whether this side began the key exchange.
        began_at: When, on the caller's clock, in seconds.
        """
        self.keys: SessionKeys = keys
        self.local_number: int = local_number
        self.remote_number: int = remote_number
        self.is_initiator: bool = is_initiator
        self.began_at: float = began_at
        self.sealed: int = 0
        """Datagrams sealed so far: the counter of the next one."""
        self.opened: int = 0
        """Datagrams opened so far; more than 0: the other side has these keys too."""
        self.has_rested: bool = False
        """Whether the objects made from the keys were released."""
        self._window = ReplayWindow()
        self._sealer: ChaCha20Poly1305 | None = None
        self._opener: ChaCha20Poly1305 | None = None

    def seal(self, datagram: bytes) -> bytes:
        """The frame with this datagram inside, 29 bytes longer.

        SecureError if the datagram is longer than 65,519 bytes, or if the key has sealed 2^32
        datagrams.
        """
        if len(datagram) > MAX_MESSAGE_BYTES - TAG_BYTES:
            raise SecureError(Reason.TOO_LONG, f"a datagram of {len(datagram):,} bytes is too long")
        counter = self.sealed
        if counter >= MAX_DATAGRAMS:
            raise SecureError(Reason.EXHAUSTED, "the session needs new keys before it sends more")
        sealer = self._sealer
        if sealer is None:
            sealer = cryptography().aead(self.keys.send)
            if _AWAKE.admits(self):
                self._sealer = sealer
        self.sealed = counter + 1
        header = SECURED_HEADER.pack(SECURED, self.remote_number, counter)
        return header + sealer.encrypt(NONCE.pack(0, counter), datagram, header)

    def open(self, frame: bytes) -> bytes:
        """The datagram inside. SecureError if the frame is malformed, from another session, came
        before, or does not authenticate; then nothing has changed.
        """
        if not SECURED_OVERHEAD <= len(frame) <= LONGEST_BYTES:
            raise SecureError(Reason.MALFORMED, "that is no secured datagram")
        kind, number, counter = SECURED_HEADER.unpack_from(frame)
        if kind != SECURED or counter > MAX_COUNTER:
            raise SecureError(Reason.MALFORMED, "that is no secured datagram")
        if number != self.local_number:
            raise SecureError(Reason.UNKNOWN_SESSION, "a secured datagram is for another session")
        window = self._window
        if counter <= window.highest and not window.check(counter):
            raise SecureError(Reason.REPLAYED, "a secured datagram came before, or far too late")
        opener = self._opener
        if opener is None:
            opener = cryptography().aead(self.keys.receive)
            if _AWAKE.admits(self):
                self._opener = opener
        nonce = NONCE.pack(0, counter)
        try:
            datagram = opener.decrypt(nonce, frame[HEADER_BYTES:], frame[:HEADER_BYTES])
        except cryptography().invalid_tag:
            raise SecureError(Reason.ALTERED, "a secured datagram does not authenticate") from None
        window.update(counter)
        self.opened += 1
        return datagram

    @property
    def highest(self) -> int:
        """The highest counter that was opened; -1 before the first."""
        return self._window.highest

    def needs_rekey(self, now: float) -> bool:
        """Whether this side should begin a new key exchange within the session."""
        used = max(self.sealed, self._window.highest + 1)
        return used >= REKEY_DATAGRAMS or now >= self.rekey_at

    @property
    def rekey_at(self) -> float:
        """When this side should begin a new key exchange at the latest."""
        patience_s = 0.0 if self.is_initiator else REKEY_GRACE_S
        return self.began_at + REKEY_AFTER_S + patience_s

    def rest(self) -> None:
        """Release the objects made from the keys; they are made again when needed."""
        self._sealer = self._opener = None
        self.has_rested = True
        _AWAKE.forget(self)


class Awake:
    """The transports whose keys are ready for use, in the order in which they became ready.

    Args:
        limit: How many, at most; beyond it the first one is put to rest.
    """

    __slots__ = ("_limit", "_transports", "_turned_away")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._transports: dict[Transport, None] = {}
        self._turned_away = 0

    def __len__(self) -> int:
        return len(self._transports)

    def admits(self, transport: Transport) -> bool:
        """Whether to keep an object that was just made from a key.

        Args:
            transport: The key's owner.
        """
        transports = self._transports
        if transport in transports:
            return True
        if len(transports) >= self._limit:
            if transport.has_rested:
                self._turned_away += 1
                if self._turned_away % BACK_EACH:
                    return False
            next(iter(transports)).rest()
        transports[transport] = None
        return True

    def forget(self, transport: Transport) -> None:
        """A transport was put to rest."""
        self._transports.pop(transport, None)


_AWAKE: Final = Awake(MAX_AWAKE)
