"""Runs what the pages for newcomers show, and compares what comes with what they print.

    python -m tests.tour README.md                # compare
    python -m tests.tour --write README.md        # print what came into the page instead

A block of ```console after the comment `<!-- tour -->` is run: the lines after `$ ` by one shell,
from the top of the page to its end, in the laboratory of docs/laboratory.sh. `<!-- tour: symmetric
symmetric -->` begins another laboratory, with these NATs. After `<!-- tour on alice -->` programs
run on alice's machine, and one that stays has printed what it prints until it is ready.

What differs from run to run (ids, times, ports, and by which path the first messages go) may
differ; a line `...` stands for any lines.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import groupby
from pathlib import Path

from tests.patience import PATIENCE_S

ROOT = Path(__file__).parent.parent
LABORATORY = ROOT / "docs" / "laboratory.sh"
BLOCK = re.compile(
    r"<!-- tour(?: on (\w+))?(?:: ([\w -]+?))? -->\n+```console\n(.*?)^```$", re.M | re.S
)
END_OF_STEP = "end of step"

VARYING = (
    (r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", r"[0-9a-f-]{36}"),
    (r"\b[0-9a-f]{64}\b", r"[0-9a-f]{64}"),
    (r"\b(?=[a-f]*[0-9])[0-9a-f]{8}\b", r"[0-9a-f]{8}"),
    (r"(?:, |\()(?:direct|relay)\b", r"(?:, |\()(?:direct|relay)"),
    (r"[\d.,]*\d", r"[\d.,]*\d"),
)
"""What is different each time, and what it may be."""

SAID_BY_THE_SHELL = re.compile(r"\[\d+\][+-]? +(?:Done|Terminated|Exit|Killed)\b")
"""A line that is about a job, and not of a command."""

WAIT_FOR = """
for _ in $(seq 600); do grep -q '{text}' {log} && break; sleep 0.1; done
grep -q '{text}' {log} || cat {log}
"""


@dataclass
class Step:
    """A command, and what it prints."""

    command: str
    printed: list[str] = field(default_factory=list)
    where: str | None = None
    """The machine; None: as the command says."""

    def script(self) -> str:
        """What the shell is told; what goes on in the background is ready when the next begins."""
        command = self.command
        stays = self.where and re.match(r"p2ptui (?:--no-ui|receive) ", command)
        if self.where:
            command = re.sub(r"^p2ptui\b", f"on {self.where} p2ptui", command)
        if stays:
            command += f" >{self.where}.log 2>&1 &"
        text = command + "\n"
        if started := re.search(r">(\S+\.log)\b.*&$", command):
            ready = "to send one" if " receive " in command else "listening on"
            joins = "--no-ui" in command and "--join" in command
            text += WAIT_FOR.format(text="joined" if joins else ready, log=started[1])
        if stays:
            text += f"cat {self.where}.log\n"
        return text + f"printf '%s\\n' '{END_OF_STEP}'\n"


@dataclass
class Shown:
    """A block of a page."""

    nats: str
    steps: list[Step]

    @property
    def text(self) -> str:
        lines = []
        for step in self.steps:
            lines += ["$ " + step.command.replace("\n", "\n> "), *step.printed]
        return "".join(f"{line}\n" for line in lines)


def blocks(page: Path) -> list[Shown]:
    """What a page shows, in its order."""
    shown, nats = [], ""
    for match in BLOCK.finditer(page.read_text("utf-8")):
        nats = match[2] or nats
        shown.append(Shown(nats, list(_steps(match[3], match[1]))))
    return shown


def _steps(text: str, where: str | None) -> Iterator[Step]:
    step = None
    for line in text.splitlines():
        if line.startswith("$ "):
            if step:
                yield step
            step = Step(line[2:], where=where)
        elif step is None:
            raise ValueError(f"printed by no command: {line}")
        elif line.startswith("> ") and not step.printed:
            step.command += "\n" + line[2:]
        else:
            step.printed.append(line)
    if step:
        yield step


def run(page: Path) -> Iterator[tuple[Shown, Shown]]:
    """Each block of a page, and what really came."""
    with tempfile.TemporaryDirectory(prefix="p2ptui-tour-") as folder:
        _furnish(Path(folder))
        for nats, group in groupby(blocks(page), key=lambda shown: shown.nats):
            shown = list(group)
            steps = [step for block in shown for step in block.steps]
            came = iter(_run(folder, nats.split(), steps))
            for block in shown:
                real = [replace(step, printed=next(came)) for step in block.steps]
                yield block, Shown(nats, real)


def _run(folder: str, nats: list[str], steps: list[Step]) -> list[list[str]]:
    two = [*nats, "port-restricted", "port-restricted"][:2]
    ran = subprocess.run(
        [LABORATORY, *two, "bash", "-c", _script(steps)],
        cwd=folder,
        env=_environment(folder),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=10 * PATIENCE_S,
        check=False,
    )
    printed = ran.stdout.split(f"{END_OF_STEP}\n")[:-1]
    if len(printed) != len(steps):
        raise RuntimeError(ran.stdout)
    return [
        [line.rstrip() for line in text.splitlines() if not SAID_BY_THE_SHELL.match(line)]
        for text in printed
    ]


def _environment(home: str) -> dict[str, str]:
    """As of somebody who has never had this program."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("XDG_")}
    return kept | {"HOME": home, "PYTHONPATH": str(ROOT), "SHELL": "/bin/sh", "COLUMNS": "100"}


def _script(steps: list[Step]) -> str:
    """All steps; what is left running at the end is ended, and waited for."""
    ended = "kill $(jobs -p) 2>/dev/null\nwait\n"
    return "set -m\n" + "".join(step.script() for step in steps) + ended


def _furnish(folder: Path) -> None:
    """What somebody has after the installation that the first screen of README describes."""
    programs = folder / ".venv" / "bin"
    programs.mkdir(parents=True)
    (folder / "docs").symlink_to(ROOT / "docs")
    program = programs / "p2ptui"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m p2ptui "$@"\n')
    program.chmod(0o755)
    (programs / "activate").write_text(f'PATH="{programs}:$PATH"\n')


def fits(shown: list[str], came: list[str]) -> bool:
    """Whether this was printed, apart from what is different each time."""
    pattern = "".join(r"(?:.*\n)*?" if line == "..." else _pattern(line) + r"\n" for line in shown)
    text = "".join(f"{_plain(line)}\n" for line in came)
    return re.fullmatch(pattern, text) is not None


def _plain(line: str) -> str:
    """Without what is not there each time."""
    return re.sub(
        r" by relay| in [\d.]+ ms$|(?<=\))( in [\d.]+ ms)(?=,)", "", " ".join(line.split())
    )


def _pattern(line: str) -> str:
    line = _plain(line)
    wanted = "|".join(f"({varying})" for varying, _ in VARYING)
    found, at = "", 0
    for match in re.finditer(wanted, line):
        index = next(i for i, text in enumerate(match.groups()) if text is not None)
        found += re.escape(line[at : match.start()]) + VARYING[index][1]
        at = match.end()
    return found + re.escape(line[at:])


def differences(page: Path) -> list[str]:
    """What a page shows and did not come, one text a command."""
    return [
        f"$ {step.command}\n"
        + "".join(f"- {line}\n" for line in step.printed)
        + "".join(f"+ {line}\n" for line in real.printed)
        for shown, came in run(page)
        for step, real in zip(shown.steps, came.steps, strict=True)
        if not fits(step.printed, real.printed)
    ]


def write(page: Path) -> None:
    """Put what came in place of what the page shows; what `...` stands for stays left out.

    Raises ValueError where a line of the page did not come.
    """
    texts = iter([_in_place_of(shown, came) for shown, came in run(page)])
    page.write_text(
        BLOCK.sub(
            lambda match: match[0].replace(match[3], next(texts).text), page.read_text("utf-8")
        ),
        "utf-8",
    )


def _in_place_of(shown: Shown, came: Shown) -> Shown:
    pairs = zip(shown.steps, came.steps, strict=True)
    return Shown(shown.nats, [_renewed(old, new) for old, new in pairs])


def _renewed(old: Step, new: Step) -> Step:
    if "..." not in old.printed:
        return new
    came = iter(new.printed)
    lines = []
    for line in old.printed:
        found = line if line == "..." else next((one for one in came if fits([line], [one])), None)
        if found is None:
            raise ValueError(f"$ {new.command}: did not print: {line}")
        lines.append(found)
    return replace(new, printed=lines)


def main() -> int:
    parser = argparse.ArgumentParser(description="Run what pages show.")
    parser.add_argument("pages", nargs="+", type=Path)
    parser.add_argument("--write", action="store_true", help="print what came into the page")
    arguments = parser.parse_args()
    bad = 0
    for page in arguments.pages:
        if arguments.write:
            write(page)
        else:
            for difference in differences(page):
                print(f"{page}:\n{difference}")
                bad += 1
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
