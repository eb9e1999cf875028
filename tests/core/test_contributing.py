"""docs/contributing.md: the example of a new message type is complete, and works as shown."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.attacks.test_every_type import PLACES

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "contributing.md").read_text("utf-8")

SEND_ONE = """
from p2ptui.core.events import ErrorReceived
from p2ptui.wire.codec import encode_payload
from p2ptui.wire.message import AwayPayload, MessageType
from tests.simulation import World

world = World()
node, server = (world.host(allow_symmetric_nat_relay=True) for _ in range(2))
node.outcome(node.connect(server))
for sender, receiver in ((server, node), (node, server)):
    peer = sender.peer(receiver)
    content = encode_payload(AwayPayload(30))
    assert sender.endpoint._delivery.send(peer, MessageType.AWAY, content, world.now)
    sender.settle()
world.run_for(1)

print(*(event.text for event in node.events if isinstance(event, ErrorReceived)))
print(server.endpoint.counters.drops["distrusted"])
"""


ANNOUNCED_BY = "p2ptui/core/identity.py"
DOCUMENTS = {"docs/protocol.md", "docs/zh-CN/protocol.md", "docs/from-the-rust-server.md"}

COMPARED = (
    "tests/core/test_budgets.py",
    "tests/core/test_deployed_clients.py",
    "tests/core/test_messages.py",
    *(
        f"tests/test_languages.py::test_{what}[docs/zh-CN/protocol.md]"
        for what in (
            "tables_are_of_the_same_size",
            "the_same_options_commands_and_messages_are_named",
        )
    ),
    "tests/test_docs.py::test_the_protocol_names_everything_that_is_on_the_wire",
    "tests/test_docs.py::test_those_who_come_from_rust_find_every_message",
    *(
        f"tests/attacks/test_every_type.py::test_one_forged_datagram_hurts_nobody[Away-{place}]"
        for place in PLACES
    ),
)
"""Tests that every new type must pass."""


class Hunk(NamedTuple):
    """Lines that are added between others, which find their place."""

    path: str
    before: str
    added: str
    after: str

    def applied(self, text: str) -> str:
        """A file with the new lines; its neighbours on one side are enough to find their place."""
        for context in (self.before + self.after, self.before, self.after):
            if context.strip() and text.count(context) == 1:
                start = 0 if context == self.after else len(self.before)
                at = text.index(context) + start
                return text[:at] + self.added + text[at:]
        raise AssertionError(f"{self.path} has changed: {self.before}{self.after}")


def hunks() -> list[Hunk]:
    (block,) = re.findall(r"```diff\n(.*?)```", PAGE, re.DOTALL)
    found = []
    for file in re.split(r"^--- a/", block, flags=re.MULTILINE)[1:]:
        path = file.split("\n", 1)[0]
        for part in re.split(r"^@@\n", file, flags=re.MULTILINE)[1:]:
            sides = re.fullmatch(r"((?: .*\n|\n)*)((?:\+.*\n)+)((?: .*\n|\n)*)", part)
            assert sides is not None, part
            cut = (re.sub(r"^[ +]", "", side, flags=re.MULTILINE) for side in sides.groups())
            found.append(Hunk(path, *cut))
    return found


def test_a_type_takes_three_files_and_one_for_its_capability_and_three_documents() -> None:
    touched = {hunk.path for hunk in hunks()}
    assert len(touched - DOCUMENTS - {ANNOUNCED_BY}) <= 3
    assert touched - DOCUMENTS == {path for path in touched if path.startswith("p2ptui/")}
    assert {ANNOUNCED_BY, *DOCUMENTS} <= touched


@pytest.mark.parametrize("hunk", hunks(), ids=lambda hunk: f"{hunk.path}:{hunk.added[:20].strip()}")
@pytest.mark.parametrize("place", ["before", "after"])
def test_a_new_neighbour_does_not_break_the_example(hunk: Hunk, place: str) -> None:
    text = (ROOT / hunk.path).read_text("utf-8")
    neighbour = "    SOMETHING_ELSE\n"
    if place == "after" and hunk.before.strip():
        text = text.replace(hunk.before, hunk.before + neighbour)
    elif place == "before" and hunk.after.strip():
        text = text.replace(hunk.after, neighbour + hunk.after)
    assert hunk.applied(text).replace(hunk.added, "") == text


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The package with the example in it, and its tests."""
    ignored = shutil.ignore_patterns("__pycache__", "*.svg")
    for name in ("p2ptui", "docs", "tests"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=ignored)
    for name in ("pyproject.toml", "README.md", "CHANGELOG.md"):
        shutil.copy(ROOT / name, tmp_path / name)
    for hunk in hunks():
        path = tmp_path / hunk.path
        path.write_text(hunk.applied(path.read_text("utf-8")), "utf-8")
    return tmp_path


def run(copy: Path, *arguments: str) -> str:
    """What a program says in the copy, which finds the package there."""
    ended = subprocess.run(
        [sys.executable, *arguments],
        cwd=copy,
        env=os.environ | {"PYTHONPATH": str(copy)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout[-3000:] + ended.stderr
    return ended.stdout


def test_the_example_is_taken_from_whom_its_row_says(copy: Path) -> None:
    assert run(copy, "-c", SEND_ONE).splitlines() == ["it will be away for 30 s", "1"]


def test_the_example_keeps_what_is_asked_of_every_type(copy: Path) -> None:
    said = run(copy, "-m", "pytest", "-n", "0", "-vv", "-p", "no:cacheprovider", *COMPARED)
    assert "[Away]" in said
