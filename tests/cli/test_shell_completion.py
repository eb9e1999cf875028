"""What real shells complete after the script of `p2ptui completion` was read."""

import json
import os
import re
import select
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from p2ptui.cli import main
from p2ptui.commands.completion import SHELLS

SCRIPTS = Path(__file__).parents[2] / "p2ptui" / "manual"
PATIENCE_S = 20
PROMPT = b"READY> "


def needs(shell: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(
        not (shutil.which(shell) and shutil.which("setsid")), reason=f"no {shell} here"
    )


@pytest.fixture
def folder(tmp_path) -> Path:
    for name in ("node.toml", "notes.txt", "two words.toml"):
        (tmp_path / name).touch()
    (tmp_path / "inbox").mkdir()
    return tmp_path


class Terminal:
    """A shell in a terminal, as somebody types to it."""

    def __init__(self, arguments: list[str], folder: Path) -> None:
        import pty

        self._terminal, other_end = pty.openpty()
        # It has its terminal from `setsid`: to fork, as `pty.fork` does, is unsafe among threads.
        self._process = subprocess.Popen(
            ["setsid", "--ctty", *arguments],
            stdin=other_end,
            stdout=other_end,
            stderr=other_end,
            cwd=folder,
            env={**os.environ, "TERM": "dumb"},
        )
        os.close(other_end)

    def type(self, text: str, until: bytes) -> str:
        """Type this, and read until that is there."""
        os.write(self._terminal, text.encode())
        read = b""
        end = time.monotonic() + PATIENCE_S
        while until not in read and time.monotonic() < end:
            if select.select([self._terminal], [], [], 0.1)[0]:
                try:
                    read += os.read(self._terminal, 4096)
                except OSError:
                    break
        return read.decode(errors="replace")

    def close(self) -> None:
        os.close(self._terminal)
        self._process.wait()


@pytest.fixture(params=[pytest.param(shell, marks=needs(shell)) for shell in ("bash", "zsh")])
def terminal(request, folder):
    opened = {"bash": bash, "zsh": zsh}[request.param](folder)
    yield opened
    opened.close()


def bash(folder: Path) -> Terminal:
    opened = Terminal(["bash", "--norc", "--noprofile", "-i"], folder)
    return prepared(opened, "bash")


def zsh(folder: Path) -> Terminal:
    opened = Terminal(["zsh", "-f", "-i"], folder)
    return prepared(opened, "zsh", "autoload -Uz compinit; compinit -u -D\n")


def prepared(opened: Terminal, shell: str, *before: str) -> Terminal:
    """Once it has read the script."""
    read = f'eval "$(cat {SCRIPTS / f"p2ptui.{shell}"})"\n'
    for line in ("PS1='RE''ADY> '\n", *before, read):
        opened.type(line, PROMPT)
    return opened


@pytest.mark.parametrize(
    ("typed", "completed"),
    [
        ("p2ptui pi", "p2ptui ping "),
        ("p2ptui key sh", "p2ptui key show "),
        ("p2ptui nat --ma", "p2ptui nat --markdown "),
        ("p2ptui ping 127.0.0.1:8080 --jo", "--join "),
        ("p2ptui --config nod", "node.toml "),
        ("p2ptui --config two", "two\\ words.toml"),
        ("p2ptui receive --into i", "inbox/"),
        ("p2ptui send a:1 --file note", "notes.txt "),
        ("p2ptui --security-mode req", "require "),
        ("p2ptui help exi", "exit-codes "),
        ("p2ptui completion fi", "fish "),
        ("p2ptui --metrics 127.0.0.1:1 --no-u", "--no-ui "),
        ("p2ptui ping alice --join 127.0.0.1:1 --inter", "--interval "),
    ],
)
def test_tab_completes(terminal, typed, completed):
    assert completed in terminal.type(f"{typed}\t", completed.encode())


@needs("zsh")
@pytest.mark.parametrize("typed", ["--metrics", "ping alice --join", "nat --server"])
def test_tab_where_an_address_is_wanted_runs_nothing(folder, typed):
    """What follows a colon is a command to zsh: HOST:PORT ran one called PORT."""
    shell = zsh(folder)
    said = shell.type(f"p2ptui {typed} \t\x15echo do''ne\n", b"done")
    shell.close()
    assert "done" in said
    assert not re.search("command not found|permission denied", said)


@needs("bash")
@pytest.mark.parametrize(
    ("words", "completed"),
    [
        (["--config", "=", "nod"], ["node.toml"]),
        (["--security-mode", "="], ["open", "prefer", "require"]),
        (["receive", "--into", "=", "i"], ["inbox"]),
        (["key", "show", "--identity", "=", "notes"], ["notes.txt"]),
    ],
)
def test_bash_completes_after_an_equals_sign(folder, words, completed):
    script = (
        f"source '{SCRIPTS}/p2ptui.bash'; COMP_WORDS=(p2ptui \"$@\"); COMP_CWORD=$#; _p2ptui;"
        " printf '%s\\n' \"${COMPREPLY[@]}\""
    )
    arguments = ["bash", "--norc", "-c", script, "bash", *words]
    done = subprocess.run(arguments, cwd=folder, capture_output=True, text=True, check=False)
    assert done.stdout.splitlines() == completed


@needs("bash")
def test_bash_has_its_own_variables_and_functions(folder):
    """What the user has called `line` stays his; what other scripts of shtab define is theirs."""
    script = (
        f"source '{SCRIPTS}/p2ptui.bash'; line=mine; before=$(compgen -v);"
        ' COMP_WORDS=(p2ptui "$@" ""); COMP_CWORD=2; _p2ptui;'
        ' echo "$line"; compgen -A function; compgen -v | grep -vxF "$before"'
    )
    arguments = ["bash", "--norc", "-c", script, "bash", "help"]
    done = subprocess.run(arguments, cwd=folder, capture_output=True, text=True, check=False)
    line, *names = done.stdout.splitlines()
    assert line == "mine"
    bashs = {"BASH_REMATCH", "COMPREPLY", "COMP_CWORD", "COMP_WORDS", "before"}
    assert [name for name in names if "_p2ptui" not in name and name not in bashs] == []


@needs("fish")
@pytest.mark.parametrize(
    ("typed", "completed"),
    [
        ("p2ptui pi", {"ping"}),
        ("p2ptui key ", {"show", "new"}),
        ("p2ptui ping 127.0.0.1:8080 --jo", {"--join"}),
        ("p2ptui --config n", {"node.toml", "notes.txt"}),
        ("p2ptui receive --into ", {"inbox/"}),
        ("p2ptui --security-mode ", {"open", "prefer", "require"}),
        ("p2ptui help exi", {"exit-codes"}),
    ],
)
def test_fish_completes(folder, typed, completed):
    script = f"source '{SCRIPTS}/p2ptui.fish'; complete -C '{typed}'"
    done = subprocess.run(
        ["fish", "--no-config", "-c", script],
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    )
    assert {line.partition("\t")[0] for line in done.stdout.splitlines()} == completed


@pytest.mark.parametrize("shell", SHELLS)
def test_the_script_is_printed(capsys, shell):
    script = (SCRIPTS / f"p2ptui.{shell}").read_text("utf-8")
    assert main(["completion", shell]) == 0
    assert capsys.readouterr().out == script
    assert main(["completion", shell, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"shell": shell, "script": script}


@pytest.mark.parametrize(
    ("shell", "hint"), [("tcsh", "choose one of bash, zsh, fish"), ("bahs", "did you mean bash?")]
)
def test_an_unknown_shell_is_one_line(capsys, shell, hint):
    assert main(["completion", shell]) == 2
    said = f"p2ptui completion: no completion for {shell!r}; {hint}; see p2ptui completion -h\n"
    assert capsys.readouterr().err == said
