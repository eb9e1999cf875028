"""A man in the middle: every datagram of a network passes him, and he does with it as he likes."""

import random
from collections import Counter, deque
from typing import Any, Final

from p2ptui.wire.address import Address
from p2ptui.wire.frames import RELAY_OVERHEAD
from tests.fuzz.choices import Choices
from tests.fuzz.grammar import Vocabulary, alter, new_message, splice
from tests.simulation import World

REMEMBERED: Final = 200
"""Datagrams, the latest, that he may send again."""

JUNK: Final = 0x99
"""No message begins with this byte."""

STRANGERS: Final[tuple[Address, ...]] = tuple((f"198.18.{net}.1", 9000) for net in range(4))
"""Where some of what he sends seems to come from."""


class Man:
    """Stands between all hosts of a world.

    Without forging he drops, doubles, delays, repeats, and damages so that it shows: nobody reads
    what he damaged. Whoever forges also says what nobody said: he alters fields, sends in others'
    names, sends back to the sender, and joins halves of two datagrams.

    Args:
        world: Where.
        seed: Of all that he does.
        share: How much of all datagrams he does something with.
        forges: Whether he says what nobody said.
    """

    def __init__(self, world: World, seed: int, *, share: float, forges: bool) -> None:
        self._world = world
        self._rng = random.Random(f"man {seed}")
        self._share = share
        self._forges = forges
        self._words = Vocabulary()
        self._seen: deque[tuple[bytes, Address, Address]] = deque(maxlen=REMEMBERED)
        self._held: list[tuple[bytes, Address, Address]] = []
        self.active = True
        """Whether he does anything but listen."""
        self.did: Counter[str] = Counter()
        """How often he did what."""
        self.sent: Counter[Address] = Counter()
        """Bytes that he sent in the name of strangers."""
        self._pass_on = world.network.send
        world.network.send = self._take  # type: ignore[method-assign]

    def stop(self) -> None:
        """From now on all passes, and what he still holds is lost."""
        self.active = False
        self._held.clear()

    def forget(self, source: Address) -> None:
        """He repeats nothing of what came from there."""
        self._seen = deque((each for each in self._seen if each[1] != source), REMEMBERED)
        self._held = [each for each in self._held if each[1] != source]

    def _take(self, data: bytes, source: Address, to: Address, now: float, **how: Any) -> None:
        if to in STRANGERS:  # he is not there, and knows nothing of it
            self._pass_on(data, source, to, now, **how)
            return
        self._seen.append((bytes(data), source, to))
        if not self.active:
            self._pass_on(data, source, to, now, **how)
            return
        rng = self._rng
        self._release()
        if rng.random() >= self._share:
            self._pass_on(data, source, to, now, **how)
            return
        names = FORGERIES if self._forges and rng.random() < 0.6 else FAULTS
        name = rng.choice(names)
        self.did[name] += 1
        getattr(self, f"_{name}")(data, source, to, how)

    def _send(self, data: bytes, source: Address, to: Address, **how: Any) -> None:
        if source in STRANGERS:
            self.sent[source] += len(data)
        self._pass_on(data, source, to, self._world.now, **how)

    def _release(self) -> None:
        """Let what was held back go on."""
        if self._held and self._rng.random() < 0.3:
            self._send(*self._held.pop(self._rng.randrange(len(self._held))))

    def _choices(self) -> Choices:
        return Choices(self._rng.randbytes(96))

    # What he does without saying anything that nobody said.

    def _drop(self, data: bytes, source: Address, to: Address, how: dict[str, Any]) -> None:
        pass

    def _double(self, data: bytes, source: Address, to: Address, how: dict[str, Any]) -> None:
        for _ in range(self._rng.choice((2, 2, 3, 8))):
            self._send(data, source, to, **how)

    def _hold(self, data: bytes, source: Address, to: Address, how: dict[str, Any]) -> None:
        self._held.append((data, source, to))

    def _repeat(self, data: bytes, source: Address, to: Address, how: dict[str, Any]) -> None:
        self._send(data, source, to, **how)
        self._send(*self._rng.choice(self._seen))

    def _damage(self, data: bytes, source: Address, to: Address, how: dict[str, Any]) -> None:
        """Nobody can read it any more; of what is relayed, its receiver cannot."""
        at = RELAY_OVERHEAD if data[0] in (0xC2, 0xC3) and self._rng.random() < 0.5 else 0
        changed = bytearray(data)
        if changed[at] == ord("{") and self._rng.random() < 0.5:
            del changed[self._rng.randrange(at + 1, len(changed)) :]
        else:
            changed[at] = JUNK
        self._send(bytes(changed), source, to, **how)

    # What he forges.

    def _alter(self, data: bytes, source: Address, to: Address, how: dict[str, Any]) -> None:
        self._learn(data)
        self._send(alter(data, self._choices(), self._words), source, to, **how)

    def _inject(self, data: bytes, source: Address, to: Address, how: dict[str, Any]) -> None:
        """Something of earlier, altered, beside what passes."""
        self._learn(data)
        self._send(data, source, to, **how)
        old, its_source, its_receiver = self._rng.choice(self._seen)
        if self._rng.random() < 0.3:
            old = new_message(self._choices(), self._words)
        else:
            old = alter(old, self._choices(), self._words)
        self._send(old, its_source, its_receiver)

    def _inject_elsewhere(
        self, data: bytes, source: Address, to: Address, how: dict[str, Any]
    ) -> None:
        """In the name of somebody who has no part in it."""
        self._send(data, source, to, **how)
        stranger = self._rng.choice(STRANGERS)
        old = self._rng.choice(self._seen)[0]
        if self._rng.random() < 0.7:
            old = alter(old, self._choices(), self._words)
        self._send(old, stranger, to)

    def _reflect(self, data: bytes, source: Address, to: Address, how: dict[str, Any]) -> None:
        self._send(data, to, source)
        if self._rng.random() < 0.5:
            self._send(data, source, to, **how)

    def _turn(self, data: bytes, source: Address, to: Address, how: dict[str, Any]) -> None:
        """Something of earlier, to where it did not go."""
        self._send(data, source, to, **how)
        self._send(self._rng.choice(self._seen)[0], source, to)

    def _splice(self, data: bytes, source: Address, to: Address, how: dict[str, Any]) -> None:
        other = self._rng.choice(self._seen)[0]
        self._send(splice(data, other, self._choices()), source, to, **how)

    def _learn(self, data: bytes) -> None:
        if len(data) < 2000:
            self._words.learn(data)


FAULTS: Final = ("drop", "drop", "double", "hold", "hold", "repeat", "damage")
FORGERIES: Final = (
    *("alter", "alter", "alter", "inject", "inject", "inject_elsewhere"),
    *("reflect", "turn", "splice"),
)
