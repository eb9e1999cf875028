"""The pictures of the screen: real nodes in a simulated network, photographed in virtual time.

    python -m tests.screenshots            # writes screenshots/*.svg
    python -m tests.screenshots FOLDER     # writes them elsewhere

Nothing on them is made up: seven nodes shake hands, send, ping, lose datagrams and leave, and the
screen of one of them is driven by its keys and its command bar. Seeds, clocks, names and ids are
fixed, and keys, so that every run makes the same bytes; `tests/test_screenshots.py` fails when they
differ from what is stored.
"""

import asyncio
import contextlib
import functools
import itertools
import math
import os
import random
import re
import sys
import tempfile
import time
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final

from textual.pilot import Pilot

from p2ptui.config import Config
from p2ptui.errors import P2PError
from p2ptui.io.key_files import create_key_file
from p2ptui.io.memory import MemoryNetwork, MemorySocket
from p2ptui.node import Node
from p2ptui.secure.secret import SECRET_BYTES, KeyKind, Secret
from p2ptui.tui.app import P2PApp
from p2ptui.wire.address import Address
from tests.simulated_nat import KINDS, Nat, Nats
from tests.virtual_loop import VirtualLoop, run_virtual
from tests.virtual_time import unix_time

FOLDER = Path(__file__).resolve().parent.parent / "screenshots"
COMMAND = "python -m tests.screenshots"

TABLE_AND_STATISTICS_S = 1.3
"""After this, every pane has been brought up to date at least once."""

ALICE = ("192.168.1.20", 8080)
ROUTER = "203.0.113.7"
"""Alice's: a port-restricted cone, as most at home are."""
HARBOUR = ("198.51.100.10", 8080)
LIGHTHOUSE = ("192.0.2.77", 8080)
BOB = ("203.0.113.140", 8081)
CAROL = ("198.51.100.62", 9000)
DAVE = ("192.0.2.201", 8080)
ERIN = ("203.0.113.99", 8080)
"""Her program is of another kind, and has no keys."""
OLD_CAROL = ("198.51.100.63", 9000)
NOBODY = ("192.0.2.250", 8080)
STUN = {HARBOUR: "198.51.100.10:3478", LIGHTHOUSE: "192.0.2.77:3478"}
SECOND_HARBOUR = "198.51.100.11"
"""The harbour has two addresses: its STUN server can test filtering."""


def make_network() -> MemoryNetwork:
    """Seven hosts at their distances; the way to Carol loses one datagram in eight."""
    router = Nats(Nat(ROUTER, {ALICE[0]}, KINDS["port-restricted-cone"]))
    network = MemoryNetwork(seed=7, latency_s=0.006, translate=router.translate)
    for host, latency_s, jitter_s, loss in (
        (HARBOUR, 0.006, 0.001, 0.0),
        (LIGHTHOUSE, 0.021, 0.003, 0.0),
        (BOB, 0.0012, 0.0004, 0.0),
        (CAROL, 0.085, 0.02, 0.12),
        (DAVE, 0.034, 0.006, 0.01),
        (ERIN, 0.018, 0.002, 0.0),
    ):
        link = {"latency_s": latency_s, "jitter_s": jitter_s, "loss": loss}
        network.set_link(ALICE, host, **link)
        network.set_link(host, ALICE, **link)
    return network


class Story:
    """The nodes, and what they do while they are looked at.

    Args:
        stack: Closes the nodes at the end.
        keys: A folder for the keys of the nodes, and for what Alice knows of them.
    """

    def __init__(self, stack: AsyncExitStack, keys: Path) -> None:
        self._stack = stack
        self._keys = keys
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        self._loop = loop
        self._network = make_network()

    def wall(self) -> float:
        """Unix time in the story."""
        return unix_time(self._loop)

    async def node(
        self, name: str, address: Address, key: str = "", *, secured: bool = True, **options: Any
    ) -> Node:
        """Start a node.

        Args:
            name: Its name.
            address: Where it listens.
            key: Whose keys it has; its own without it.
            secured: Whether it has keys at all.
            options: Of the configuration.
        """
        rng = random.Random(f"screenshots {name}")
        if secured:
            options["security"] = {"identity": str(self._identity(key or name))}
        config = Config().with_options(
            name=name,
            address=f"{address[0]}:{address[1]}",
            enable_discovery=False,
            network_id="harbour-demo",
            **options,
        )
        return await self._stack.enter_async_context(
            Node(
                config,
                open_socket=functools.partial(MemorySocket.open, self._network),
                clock=self._loop.time,
                rng=rng,
                wall=self.wall,
                secured=secured,
                known_nodes=self._keys / f"{name}-knows.json" if secured else None,
            )
        )

    def _identity(self, name: str) -> Path:
        """The file with somebody's keys, the same in every run."""
        path = self._keys / f"{name}.key"
        if not path.exists():
            seed = random.Random(f"screenshots keys of {name}").randbytes(SECRET_BYTES)
            create_key_file(path, KeyKind.SEED, Secret(seed))
        return path

    async def meet(self) -> Node:
        """Start everybody; the node whose screen is shown."""
        stun = {"enable": True, "address": STUN[HARBOUR], "alternate_address": SECOND_HARBOUR}
        self.harbour = await self.node("harbour", HARBOUR, stun_server=stun)
        stun = {"enable": True, "address": STUN[LIGHTHOUSE]}
        self.lighthouse = await self.node("lighthouse", LIGHTHOUSE, stun_server=stun)
        self.bob = await self.node("bob", BOB)
        self.carol = await self.node("carol", CAROL)
        self.dave = await self.node("dave", DAVE)
        self.erin = await self.node("erin", ERIN, secured=False)
        self.friends = [self.bob, self.carol, self.dave]
        await self._have_met()
        self.alice = await self.node("alice", ALICE)
        return self.alice

    async def _have_met(self) -> None:
        """An earlier day: Alice knows the harbour, has verified Bob, and has met another Carol."""
        async with AsyncExitStack() as earlier:
            kept, self._stack = self._stack, earlier
            alice = await self.node("alice", ALICE)
            carol = await self.node("carol", OLD_CAROL, key="carol of before")
            self._stack = kept
            for node in (self.harbour, self.lighthouse, self.bob, self.dave, carol):
                await alice.connect(node.address)
            await alice.trust("bob")

    async def begin(self) -> None:
        """Connect, and talk from then on until the end."""
        # Her router lets in only those to whom she has sent.
        for address in (HARBOUR, LIGHTHOUSE, BOB, CAROL, DAVE, ERIN):
            await self.alice.connect(address)
        self._own(self._talk())

    async def knock(self) -> None:
        """Ask an address where nobody lives, and have it shown."""
        self._own(self.alice.connect(NOBODY, 20.0))
        await asyncio.sleep(0.4)

    async def part(self) -> None:
        """One of them leaves."""
        self.friends.remove(self.dave)
        await self.dave.disconnect(self.alice.id, "going home")

    def _own(self, work: Coroutine[Any, Any, Any]) -> None:
        async def until_done() -> None:
            with contextlib.suppress(P2PError):
                await work

        task = self._loop.create_task(until_done())
        self._stack.push_async_callback(asyncio.wait, [task])
        self._stack.callback(task.cancel)

    async def _talk(self) -> None:
        servers = [self.harbour, self.lighthouse]
        friends = self.friends
        for tide in itertools.count():
            reading = {
                "sensor": "tide gauge",
                "pier": 4,
                "level_m": round(1.8 + 0.6 * math.sin(tide / 9), 2),
                "rising": math.cos(tide / 9) > 0,
            }
            report = f"position report {tide + 1}: all well on board"
            forecast = {"forecast": "SW 4-5", "hour": tide % 24}
            # A ping to Carol may get lost; that is part of the story.
            await asyncio.gather(
                self.bob.send(self.alice.id, reading),
                self.carol.send(self.alice.id, report),
                self.erin.send(self.alice.id, {"buoy": 7, "light": "on"}),
                self.alice.send(friends[-1].id, forecast),
                *(self.alice.ping(peer.id, 1.0) for peer in (*servers, *friends)),
                return_exceptions=True,
            )
            await asyncio.sleep(1.0)


class Photographer:
    """Takes pictures of an app as its user sees it.

    Args:
        pilot: Drives the app.
        folder: Where the pictures go.
    """

    def __init__(self, pilot: Pilot[int], folder: Path) -> None:
        self._pilot = pilot
        self._app = pilot.app
        self._folder = folder

    async def resize(self, width: int, height: int) -> None:
        """Make the terminal so large."""
        await self._pilot.resize_terminal(width, height)
        await self.settle()

    async def settle(self) -> None:
        """Let every pane show what there is now."""
        await asyncio.sleep(TABLE_AND_STATISTICS_S)
        await self._pilot.pause()

    async def type(self, line: str) -> None:
        """Go to the command bar, type a command and send it off."""
        await self._pilot.press("f2", "colon")
        await self._pilot.press(*(_KEYS.get(character, character) for character in line), "enter")
        await self.settle()

    async def press(self, *keys: str) -> None:
        """Press keys, one after the other."""
        await self._pilot.press(*keys)
        await self.settle()

    def take(self, name: str) -> None:
        """Store what is on the screen."""
        width, height = self._app.size
        svg = self._app.export_screenshot(title=f"p2ptui, {width}x{height}", simplify=True)
        svg = _RUN.sub(_without_outer_spaces, svg).rstrip("\n") + "\n"
        (self._folder / f"{name}.svg").write_text(svg, "utf-8", newline="\n")


_SPACE: Final = "&#160;"
_CELL: Final = 12.2
"""The width of a character cell on a picture, in its units."""

_RUN: Final = re.compile(r'x="([\d.]+)"( y="[\d.]+") textLength="([\d.]+)"([^>]*)>([^<]*)</text>')


def _without_outer_spaces(run: re.Match[str]) -> str:
    """A run of text begins where its first letter stands: some viewers leave out spaces before."""
    x, y, length, rest, text = run.groups()
    spaced = text.replace(_SPACE, " ")
    begun, bare = spaced.lstrip(" "), spaced.strip(" ")
    if not bare:
        return run[0]
    begin = float(x) + (len(spaced) - len(begun)) * _CELL
    wide = float(length) - (len(spaced) - len(bare)) * _CELL
    text = bare.replace(" ", _SPACE)
    return f'x="{begin:.1f}"{y} textLength="{wide:.1f}"{rest}>{text}</text>'


_KEYS = {
    " ": "space",
    ":": "colon",
    "/": "slash",
    "-": "minus",
    ".": "full_stop",
    '"': "quotation_mark",
}


async def tell(folder: Path, keys: Path) -> None:
    """Play the story and take the pictures.

    Args:
        folder: Where the pictures go.
        keys: A folder for what the nodes keep.
    """
    async with AsyncExitStack() as stack:
        story = Story(stack, keys)
        app = P2PApp(await story.meet(), wall=story.wall)
        app.animation_level = "none"
        app.theme = "textual-dark"
        async with app.run_test(size=(120, 40)) as pilot:
            app.bar.input.cursor_blink = False
            camera = Photographer(pilot, folder)
            await story.begin()
            await asyncio.sleep(10.0)
            await story.part()
            await camera.type("ping carol 4")
            await asyncio.sleep(8.0)
            await camera.type('send bob {"berth": 12, "from": "18:00"}')
            await story.knock()
            await _three_sizes(camera, "")
            await camera.type("filter peer:bob type:Data dir:in")
            camera.take("filter")
            await camera.press("f3", "up", "up", "enter")
            camera.take("detail")
            await camera.press("escape")
            await camera.type("filter")
            await camera.type("peers trust:changed")
            await camera.press("f2", "enter")
            camera.take("changed")
            await camera.press("escape")
            await camera.type("peers")
            await camera.press("f1")
            camera.take("help")
            await camera.press("escape")
            # Nobody on the picture bans anybody.
            await camera.type(f"nat {' '.join(STUN.values())} --filter-with {STUN[HARBOUR]}")
            await camera.press("f4", "z")
            await camera.resize(120, 54)
            camera.take("nat")
            await camera.press("z", "f3", "end")
            await camera.type("theme textual-light")
            await _three_sizes(camera, "light-")


async def _three_sizes(camera: Photographer, prefix: str) -> None:
    for name, width, height in (("wide", 200, 60), ("narrow", 80, 24), ("overview", 120, 40)):
        await camera.resize(width, height)
        camera.take(prefix + name)


def make(folder: Path) -> None:
    """Write all pictures into a folder; for a process of its own, whose environment it changes.

    Args:
        folder: It exists; files of the same names are replaced.
    """
    with tempfile.TemporaryDirectory() as home:
        # What its user's nodes have learnt, or chose to look like, is not on the pictures.
        os.environ.update({"HOME": home, "TZ": "UTC"})
        for name in ("NO_COLOR", *(name for name in os.environ if name.startswith("XDG_"))):
            os.environ.pop(name, None)
        time.tzset()
        run_virtual(tell(folder, Path(home)))


if __name__ == "__main__":
    into = Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER
    into.mkdir(parents=True, exist_ok=True)
    make(into)
    print(f"{len(list(into.glob('*.svg')))} pictures in {into}", file=sys.stderr)
