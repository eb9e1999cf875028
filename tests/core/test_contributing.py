"""docs/contributing.md: a new message type takes three files, and works as it is shown."""

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "contributing.md").read_text("utf-8")

SEND_ONE = """
from p2ptui.core.events import ErrorReceived
from p2ptui.wire.codec import encode_payload
from p2ptui.wire.message import AwayPayload, MessageType
from tests.simulation import World

world = World()
node, server = world.host(), world.host()
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


class Hunk(NamedTuple):
    path: str
    before: str
    after: str


def hunks() -> list[Hunk]:
    (block,) = re.findall(r"```diff\n(.*?)```", PAGE, re.DOTALL)
    found = []
    for file in re.split(r"^--- a/", block, flags=re.MULTILINE)[1:]:
        path = file.split("\n", 1)[0]
        for part in re.split(r"^@@\n", file, flags=re.MULTILINE)[1:]:
            lines = part.splitlines()
            before = "".join(f"{line[1:]}\n" for line in lines if line[:1] != "+")
            after = "".join(f"{line[1:]}\n" for line in lines if line[:1] != "-")
            found.append(Hunk(path, before, after))
    return found


def test_a_type_takes_three_files_and_a_line_of_the_documents() -> None:
    touched = {hunk.path for hunk in hunks()}
    assert len({path for path in touched if path.startswith("p2ptui/")}) <= 3
    assert touched - {"docs/protocol.md"} == {p for p in touched if p.startswith("p2ptui/")}


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The package with the example in it."""
    for name in ("p2ptui", "docs"):
        shutil.copytree(
            ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__", "*.svg")
        )
    for hunk in hunks():
        path = tmp_path / hunk.path
        text = path.read_text("utf-8")
        assert text.count(hunk.before) == 1, f"{hunk.path} has changed: {hunk.before}"
        path.write_text(text.replace(hunk.before, hunk.after), "utf-8")
    return tmp_path


def test_the_example_is_taken_from_whom_its_row_says(copy: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path[:0] = {[str(copy), str(ROOT)]}\n{SEND_ONE}"],
        cwd=copy,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.splitlines() == ["it will be away for 30 s", "1"]
