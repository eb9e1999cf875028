"""Where the time of a row goes, layer by layer: `python -m tests.bench --profile [ROW]`.

Under the row's load, the node itself samples which line runs, after each millisecond of CPU time or
as often as the system allows. That costs far less than a profiler that counts every call, and so
hardly distorts the result. C code counts for the line that called it; so does a compiled floor.
"""

import linecache
import re
import time
from collections import Counter
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.bench import machine
from tests.bench.crowd import Crowd
from tests.bench.loads import LOADS, OPTIONS, Stage
from tests.bench.loopback import compiled
from tests.bench.rounds import Target, drive
from tests.bench.secured import endpoint

ROWS: Final = tuple(key for key in LOADS if key != "latency")
CPU_S: Final = 4.0
"""CPU time of the node during which it is loaded."""

LONGEST_S: Final = 60.0
"""The longest load, however busy the machine is."""

SIZE: Final = 5_000
"""Datagrams of a load."""

PLACES: Final = 15
"""Functions listed one by one."""

SYSTEM_CALL: Final = re.compile(r"\b_?(recv|send)(from|to|msg|mmsg)?\(")
"""A line that receives datagrams from the system, or sends some."""

CALLS: Final = "system calls on sockets"


@dataclass(frozen=True, slots=True)
class Place:
    """A line of the source, and how often it was sampled."""

    file: str
    function: str
    line: int
    seen: int


@dataclass(frozen=True, slots=True)
class Profile:
    """The samples.

    Args:
        row: The load.
        build: Whether the hot floors are compiled.
        cpu_us: CPU time of the node per answer, microseconds.
        system: The share of it that the system took, by the system's own count.
        package: The folder of the p2ptui that ran.
        places: Where it was sampled.
    """

    row: str
    build: str
    cpu_us: float
    system: float
    package: str
    places: tuple[Place, ...]

    @property
    def seen(self) -> int:
        """The number of samples."""
        return sum(place.seen for place in self.places)


def layer_of(file: str, line: str, package: str) -> str:
    """The layer of a line of the source: a floor, a room of the core, or what is beside p2ptui.

    Args:
        file: Its file.
        line: Its text.
        package: The folder of p2ptui.
    """
    if not file.startswith(f"{package}/"):
        return "other: libraries and the event loop"
    floor, *rest = Path(file).relative_to(package).parts
    if floor == "io" and SYSTEM_CALL.search(line):
        return CALLS
    if floor != "core":
        return floor.removesuffix(".py")
    return f"core/{rest[0].removesuffix('.py')}" if len(rest) > 1 else "core"


def measure(
    row: str, python: str | None = None, cpu_s: float = CPU_S, *, alone: bool = False
) -> Profile:
    """Load a node with a row, and find where its time goes.

    Args:
        row: Its key.
        python: An interpreter whose p2ptui is profiled instead of that of this folder.
        cpu_s: The CPU time of the node during which it is loaded, seconds.
        alone: Whether other programs wait meanwhile.

    Raises:
        RuntimeError: The node does not answer.
    """
    with ExitStack() as stack:
        home = stack.enter_context(machine.folder())
        program = stack.enter_context(compiled())
        assert program is not None
        interpreter, cores = machine.Interpreter(python, home), machine.Cores(alone=alone)
        with cores.of_server():
            told = {"role": "serve", "options": OPTIONS}
            node = stack.enter_context(machine.served(interpreter, told))

        def new_crowd() -> Crowd:
            return stack.enter_context(closing(Crowd(program, home)))

        stage = Stage(node.port, new_crowd, lambda n, at: endpoint(n, at, secured=True))
        (load,) = stage.loads(lambda key: key == row)
        target = Target(node.pid, node.port)
        node.ask("sample")
        before, began = machine.cpu_times(node.pid), time.monotonic()
        answers, used = 0, 0.0
        while used < cpu_s and time.monotonic() - began < LONGEST_S:
            load.crowd.write(load.make(SIZE))
            driven, cpu = drive(load, target, cores)
            if not driven.answers:
                raise RuntimeError(f"no answer to {SIZE} datagrams")
            answers, used = answers + driven.answers, used + cpu
        user, system = (b - a for a, b in zip(before, machine.cpu_times(node.pid), strict=True))
        seen = node.ask("stop")
        return Profile(
            row,
            node.about["build"],
            used / answers * 1e6,
            system / max(user + system, 1e-9),
            node.about["package"],
            tuple(Place(*place) for place in seen),
        )


def layers(profile: Profile) -> list[tuple[str, int]]:
    """How often each layer was sampled, the most frequent first."""
    counted: Counter[str] = Counter()
    for place in profile.places:
        text = linecache.getline(place.file, place.line)
        counted[layer_of(place.file, text, profile.package)] += place.seen
    return counted.most_common()


def functions(profile: Profile) -> list[tuple[str, int]]:
    """How often each function was sampled, likewise."""
    counted: Counter[str] = Counter()
    for place in profile.places:
        inside = place.file.startswith(f"{profile.package}/")
        file = Path(place.file)
        where = str(file.relative_to(profile.package)) if inside else file.name
        counted[f"{where}: {place.function}"] += place.seen
    return counted.most_common(PLACES)


def written(profile: Profile) -> str:
    """For people: a table of the layers, and one of the functions."""
    whole = max(profile.seen, 1)
    lines = [
        f"Profile of `{profile.row}`, {profile.build}: {profile.cpu_us:.1f} us of CPU an answer,"
        f" {profile.system:.0%} of it in the system; {profile.seen} looks.",
        "",
        "| layer | share | us an answer |",
        "| --- | ---: | ---: |",
    ]
    for name, seen in layers(profile):
        lines.append(f"| {name} | {seen / whole:.1%} | {seen / whole * profile.cpu_us:.2f} |")
    lines += ["", "| function | share | us an answer |", "| --- | ---: | ---: |"]
    for name, seen in functions(profile):
        lines.append(f"| `{name}` | {seen / whole:.1%} | {seen / whole * profile.cpu_us:.2f} |")
    if profile.build != "pure":
        lines += ["", "What compiled floors take counts for the line that called them."]
    return "\n".join(lines)
