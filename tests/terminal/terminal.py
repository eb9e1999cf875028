"""A program in a real terminal: a private tmux shows what a user sees, and what bytes got there.

    with Terminal(folder) as terminal:
        screen = terminal.open("alice", ["--address", "127.0.0.1:0"])
        await screen.shows("alice")
        screen.type("help")

Waiting polls in real time, with a bound; nothing but the tmux server of this object, and with it
the programs in it, is ever ended.
"""

import asyncio
import itertools
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.patience import PATIENCE_S

ROOT = Path(__file__).resolve().parent.parent.parent
TMUX = shutil.which("tmux")

POLL_S = 0.1

_numbers = itertools.count()

# The terminal's settings before and after, the process id and the exit code, each in a file;
# `cat` keeps the pane open, so that what is left on the terminal can be looked at.
_WRAPPER = """
cd {folder}
stty -g > before
sh -c 'echo $$ > pid; exec "$@"' program {command}
echo $? > code.new
stty -g > after
mv code.new code
exec cat
"""


async def until(condition: Callable[[], bool], what: str, within: float = PATIENCE_S) -> None:
    """Wait until something holds; fails if it does not within seconds."""
    end = time.monotonic() + within
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"not within {within:g} s: {what}")
        await asyncio.sleep(POLL_S)


class Screen:
    """One program in a window of the terminal.

    Args:
        terminal: The tmux that it runs in.
        name: Of the window.
        folder: Its files.
    """

    def __init__(self, terminal: "Terminal", name: str, folder: Path) -> None:
        self._terminal = terminal
        self._name = name
        self._target = f"{name}:0"
        self._folder = folder

    # What is seen.

    def text(self) -> str:
        """The characters on the terminal now."""
        return self._terminal.tmux("capture-pane", "-p", "-t", self._target)

    @property
    def raw(self) -> bytes:
        """Every byte that reached the terminal so far."""
        return (self._folder / "raw").read_bytes()

    async def shows(self, pattern: str, within: float = PATIENCE_S) -> re.Match[str]:
        """Wait until the terminal shows a regular expression; the match."""
        found: list[re.Match[str]] = []

        def look() -> bool:
            match = re.search(pattern, self.text())
            found.extend([match] if match else [])
            return match is not None or not self.running

        try:
            await until(look, f"the terminal shows {pattern!r}", within)
        except AssertionError as error:
            raise AssertionError(f"{error}; it shows:\n{self.text()}") from None
        assert found, f"the program ended before it showed {pattern!r}:\n{self.text()}"
        return found[0]

    async def hides(self, pattern: str, within: float = PATIENCE_S) -> None:
        """Wait until a regular expression is not on the terminal any more."""
        await until(
            lambda: re.search(pattern, self.text()) is None, f"{pattern!r} has gone", within
        )

    async def address(self) -> str:
        """Where the node listens, as its first line says."""
        return (await self.shows(r"127\.0\.0\.1:\d+"))[0]

    def modes(self) -> dict[str, str]:
        """What the terminal is set to by escape sequences."""
        names = ("alternate_on", "cursor_flag", "mouse_any_flag", "keypad_flag")
        values = self._terminal.tmux(
            "display-message", "-p", "-t", self._target, " ".join(f"#{{{n}}}" for n in names)
        )
        return dict(zip(names, values.split(), strict=True))

    # What the user does.

    def press(self, *keys: str) -> None:
        """Press keys, by tmux's names for them."""
        self._terminal.tmux("send-keys", "-t", self._target, *keys)

    def type(self, line: str) -> None:
        """Type a line into whatever has the focus, and Enter."""
        self._terminal.tmux("send-keys", "-t", self._target, "-l", line)
        self.press("Enter")

    def paste(self, data: bytes) -> None:
        """Paste bytes as the terminal does: as they are, between the sequences for a paste."""
        file = self._folder / "pasted"
        file.write_bytes(data)
        self._terminal.tmux("load-buffer", "-b", "pasted", str(file))
        # -r: line feeds are not made carriage returns.
        self._terminal.tmux("paste-buffer", "-p", "-r", "-b", "pasted", "-t", self._target)

    def resize(self, width: int, height: int) -> None:
        """Make the terminal larger or smaller."""
        self._terminal.tmux(
            "resize-window", "-t", self._target, "-x", str(width), "-y", str(height)
        )

    def close(self) -> None:
        """Close the terminal under the program, as a lost SSH session does."""
        self._terminal.tmux("kill-session", "-t", self._name)

    # Its process.

    @property
    def pid(self) -> int:
        """The program's process."""
        return int((self._folder / "pid").read_text())

    @property
    def running(self) -> bool:
        """Whether the program has not ended yet."""
        return not (self._folder / "code").exists()

    async def exit_code(self, within: float = PATIENCE_S) -> int:
        """Wait for its end; what the shell says of it."""
        await until(lambda: not self.running, "the program ends", within)
        return int((self._folder / "code").read_text())

    def changed(self) -> list[str]:
        """What of the terminal is not as it was before the program."""
        before, after = ((self._folder / name).read_text() for name in ("before", "after"))
        found = [] if before == after else [f"stty: {before.strip()} became {after.strip()}"]
        normal = {
            "alternate_on": "0",
            "cursor_flag": "1",
            "mouse_any_flag": "0",
            "keypad_flag": "0",
        }
        found += [f"{k}={v}" for k, v in self.modes().items() if v != normal[k]]
        return found + [f"mode {mode.decode()} is left on" for mode in left_on(self.raw)]

    async def is_restored(self) -> None:
        """Wait until the terminal is as it was; fails if something stays changed."""
        try:
            await until(lambda: not self.changed(), "the terminal is restored")
        except AssertionError as error:
            raise AssertionError(f"{error}: {self.changed()}") from None


_NORMALLY_ON = (b"7", b"25")
"""Wrapping at the right edge, and the cursor."""


def left_on(raw: bytes) -> set[bytes]:
    """The private modes that a program turned on and not off again, or the other way round."""
    on: set[bytes] = set()
    for numbers, action in re.findall(rb"\x1b\[\?([\d;]+)([hl])", raw):
        for number in numbers.split(b";"):
            if (action == b"h") != (number in _NORMALLY_ON):
                on.add(number)
            else:
                on.discard(number)
    # The keyboard protocol of kitty is pushed and popped.
    pushed = len(re.findall(rb"\x1b\[>\d+u", raw)) - len(re.findall(rb"\x1b\[<\d*u", raw))
    return on | ({b"kitty"} if pushed > 0 else set())


class Terminal:
    """A tmux server of its own.

    Args:
        folder: For the files of the programs, and their home.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._socket = f"p2ptui-test-{os.getpid()}-{next(_numbers)}"
        self._screens = 0

    def __enter__(self) -> "Terminal":
        return self

    def __exit__(self, *_: object) -> None:
        if self._screens:
            self.tmux("kill-server")

    def tmux(self, *arguments: str) -> str:
        """Run a tmux command; what it prints."""
        assert TMUX is not None
        ran = subprocess.run(
            [TMUX, "-L", self._socket, "-f", os.devnull, *arguments],
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            env=self._environment(),
        )
        assert ran.returncode == 0, f"tmux {arguments[0]}: {ran.stderr}"
        return ran.stdout

    def _environment(self) -> dict[str, str]:
        home = str(self._folder)
        return {
            "PATH": os.environ.get("PATH", os.defpath),
            "PYTHONPATH": str(ROOT),
            "HOME": home,
            **{
                f"XDG_{name}_HOME": f"{home}/{name.lower()}"
                for name in ("CONFIG", "STATE", "DATA", "CACHE")
            },
            "LANG": "C.UTF-8",
            "TERM": "xterm-256color",
            "SHELL": "/bin/sh",
        }

    def open(
        self,
        name: str,
        options: Sequence[str] = (),
        size: tuple[int, int] = (120, 40),
        program: Sequence[str] = (sys.executable, "-m", "p2ptui"),
    ) -> Screen:
        """Start a node with its screen.

        Args:
            name: Of the node and of the window.
            options: Of p2ptui, besides a name and an address that is free.
            size: Columns and lines.
            program: What is run instead of p2ptui.
        """
        folder = self._folder / name
        folder.mkdir()
        (folder / "raw").touch()
        command = [
            *program,
            *("--name", name, "--address", "127.0.0.1:0", "--enable-discovery", "false"),
            *options,
        ]
        script = folder / "run.sh"
        script.write_text(
            _WRAPPER.format(folder=shlex.quote(str(folder)), command=shlex.join(command))
        )
        width, height = size
        # In one call: the pipe is there before the program's first byte.
        self.tmux(
            *("new-session", "-d", "-s", name, "-x", str(width), "-y", str(height)),
            f"exec sh {shlex.quote(str(script))}",
            *(";", "pipe-pane", "-t", f"{name}:0", f"exec cat >> {shlex.quote(str(folder))}/raw"),
        )
        self._screens += 1
        return Screen(self, name, folder)
