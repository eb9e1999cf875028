"""Somebody on the path between all hosts of a world: he sees, drops, alters and forges."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from p2ptui.core.secure.rekeying import Rekeying
from p2ptui.wire.address import Address
from tests.simulation import Host, World


@dataclass(frozen=True)
class Seen:
    """One datagram on the wire."""

    when: float
    data: bytes
    source: Address
    to: Address

    @property
    def is_sealed(self) -> bool:
        return self.data[:1] == b"\xe0"


class Wiretap:
    """Sees all datagrams of a world, and has the say over each."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.seen: list[Seen] = []
        self.rules: list[Callable[[Seen], bytes | None]] = []
        """What becomes of each: other bytes, or None, and it is lost."""
        self._send = world.network.send
        world.network.send = self._take  # type: ignore[method-assign]

    def _take(self, data: bytes, source: Address, to: Address, now: float, **how: Any) -> Any:
        seen = Seen(now, bytes(data), source, to)
        self.seen.append(seen)
        for rule in self.rules:
            changed = rule(seen)
            if changed is None:
                return None
            if changed != seen.data:
                data = changed
                seen = Seen(now, changed, source, to)
        return self._send(data, source, to, now, **how)

    def inject(self, data: bytes, source: Address, to: Host, later_s: float = 0.0) -> None:
        """Put a datagram on the wire under any name; it is not seen again."""
        self._send(data, source, to.address, self.world.now + later_s)

    def between(self, source: Host, to: Host) -> Iterator[Seen]:
        """What went from one host to another."""
        return (one for one in self.seen if (one.source, one.to) == (source.address, to.address))

    def has(self, text: str) -> bool:
        """Whether a text went over the wire anywhere in the clear."""
        return any(text.encode() in one.data for one in self.seen)


def two_secured(world: World, **options: Any) -> tuple[Host, Host]:
    """Two nodes with a session between them, the first of which asked for it."""
    one, other = world.host(keys=world.keys(**options)), world.host(keys=world.keys(**options))
    one.outcome(one.connect(other))
    world.run_for(1)
    return one, other


def rekeying(host: Host) -> Rekeying:
    """What agrees on new keys."""
    clear = host.endpoint._mobility.clear
    assert clear is not None
    return clear.opening.inside.rekeying


def agree_on_new_keys(one: Host, other: Host) -> None:
    """A node begins an exchange of new keys with a secured peer, as it does when they are due."""
    peer = one.endpoint.peers.authenticated(other.id)
    assert peer is not None
    rekeying(one).begin(peer, one.world.now)
