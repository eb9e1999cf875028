"""Writes the corpus: short cases, made of datagrams of the product and of deployed programs.

    python -m tests.fuzz.seeds

It is to be run anew when the form of the cases of a harness changes, or when there are new types.
"""

import base64
import hashlib
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from p2ptui.core.messages.rows import ROWS
from p2ptui.wire.frames import RELAY_OVERHEAD
from tests.fuzz.states import Script, scripts
from tests.reference import ALL

CORPUS: Final = Path(__file__).parent / "corpus"
MAX_SEED_BYTES: Final = 900
KINDS: Final = tuple(dict.fromkeys(row.kind for row in ROWS))


def shape(value: Any) -> Any:
    """What keys a message has, and of which types their values are."""
    if isinstance(value, dict):
        return tuple((key, shape(value[key])) for key in sorted(value))
    if isinstance(value, list):
        return tuple(sorted({repr(shape(item)) for item in value}))
    return type(value).__name__


def datagrams() -> Iterator[bytes]:
    """All that was captured of deployed programs, and all that came and went in the states."""
    for captured in ALL:
        yield captured.raw.encode()
    for script in scripts():
        for data in [*(arrival.data for arrival in script.arrivals), *script.own]:
            yield data
            if data[0] in (0xC2, 0xC3):
                yield data[RELAY_OVERHEAD:]


def distinct() -> list[bytes]:
    """One of each shape, the shortest first."""
    found: dict[Any, bytes] = {}
    for data in sorted(datagrams(), key=len):
        if data[:1] == b"{":
            key: Any = shape(json.loads(data))
        elif data[0] >= 0xC0:
            key = data[0], len(data) > 100
        else:
            key = data[:2], len(data)
        found.setdefault(key, data)
    return [data for data in found.values() if len(data) <= MAX_SEED_BYTES]


def of_codec() -> Iterator[bytes]:
    for data in distinct():
        if data[:1] == b"{":
            yield b"\0" + data
            message = json.loads(data)
            kind = message["message_type"]
            if kind in KINDS:
                first = next(n for n in range(64, 224) if KINDS[n % len(KINDS)] == kind)
                yield bytes((first,)) + json.dumps(message["payload"]).encode()
    for first, text in enumerate(('{"a":[1,"x"]}', "192.0.2.1:80", "[2001:db8::1]:8080", "a.b:1")):
        yield bytes((224 + first,)) + text.encode()


def of_stun() -> Iterator[bytes]:
    for data in distinct():
        if data[0] <= 3:
            yield b"\0" + data
    rng = random.Random("stun")
    for way in range(1, 32):
        yield bytes((way,)) + rng.randbytes(200)


def of_frames() -> Iterator[bytes]:
    for data in distinct():
        if data[0] >= 0xC0:
            yield b"\0" + data[:380]
    rng = random.Random("frames")
    for way in (1, 2) * 12:
        yield bytes((way,)) + rng.randbytes(300)


def of_secure() -> Iterator[bytes]:
    rng = random.Random("secure")
    for kind in (0xE0, 0xE1, 0xE2):
        for size in (12, 28, 80):
            yield bytes((0, kind)) + rng.randbytes(size)
    for pattern, length in ((0, 43), (1, 64)):
        yield bytes((1, pattern, pattern)) + base64.urlsafe_b64encode(rng.randbytes(48))[:length]
    for way in (2, 3) * 12:
        yield bytes((way,)) + rng.randbytes(200)


def of_endpoint() -> Iterator[bytes]:
    rng = random.Random("endpoint")
    for number, script in enumerate(scripts()):
        yield bytes((number, 1)) + _honest(script)
        for ends in range(12):
            yield bytes((number, ends)) + rng.randbytes(800)


def _honest(script: Script) -> bytes:
    """All that came, and what would have come, in order and unaltered."""
    return b"".join(bytes((1, 60, index)) for index in range(min(len(script.arrivals), 200)))


def main() -> None:
    """Write all cases of all harnesses."""
    harnesses = {
        "codec": of_codec,
        "stun": of_stun,
        "frames": of_frames,
        "secure": of_secure,
        "endpoint": of_endpoint,
    }
    for name, make in harnesses.items():
        folder = CORPUS / name
        folder.mkdir(parents=True, exist_ok=True)
        for old in folder.iterdir():
            old.unlink()
        for case in make():
            (folder / hashlib.sha1(case, usedforsecurity=False).hexdigest()[:12]).write_bytes(case)


if __name__ == "__main__":
    main()
