"""The names of a network's subjects and bucket on a NATS broker."""

import hashlib
import re
from dataclasses import dataclass
from typing import Final

_SAFE: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
_HASHED: Final = "h-"

SERVERS: Final = "servers"
"""The core's name for the subject that all servers hear."""


def network_token(network_id: str) -> str:
    """A network's id as part of a subject, and of a file name at the broker.

    Dots and stars have a meaning there, and a network id may be any text: an id that is not safe,
    or looks like a hash, is hashed.
    """
    if _SAFE.fullmatch(network_id) and not network_id.startswith(_HASHED):
        return network_id
    return _HASHED + hashlib.sha256(network_id.encode()).hexdigest()[:32]


@dataclass(frozen=True, slots=True)
class Names:
    """The names of one network."""

    bucket: str
    """The key-value bucket, as the `nats` program calls it."""
    subjects: str
    """Prefix of all message subjects."""

    @classmethod
    def of(cls, network_id: str) -> "Names":
        """The names of a network."""
        token = network_token(network_id)
        return cls(f"p2ptui_{token}", f"p2ptui.{token}.")

    @property
    def stream(self) -> str:
        """The stream behind the bucket."""
        return f"KV_{self.bucket}"

    @property
    def keys(self) -> str:
        """Prefix of the subjects of entries."""
        return f"$KV.{self.bucket}."

    def subject(self, told: str) -> str:
        """The subject of a message, given as `servers` or a node's id."""
        return f"{self.subjects}{told if told == SERVERS else f'to.{told}'}"
