"""The documents are true: examples run, links lead somewhere, names exist in the code."""

import ast
import asyncio
import inspect
import re
from collections.abc import Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pytest

from p2ptui import Config, Node
from p2ptui.cli import main
from p2ptui.config import OPTIONS
from p2ptui.wire.codec import decode_envelope
from p2ptui.wire.message import Capability, ErrorCode, MessageType
from tests.patience import PATIENCE_S

ROOT = Path(__file__).parent.parent
DOCUMENTS = sorted([ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").glob("*.md")])
RUN = [ROOT / "README.md", ROOT / "docs" / "library.md"]
PROTOCOL = ROOT / "docs" / "protocol.md"
FROM_RUST = ROOT / "docs" / "from-the-rust-server.md"


@dataclass(frozen=True)
class Block:
    """A block of code in a document."""

    path: Path
    line: int
    text: str

    @property
    def name(self) -> str:
        return f"{self.path.name}:{self.line}"


def blocks(path: Path, language: str) -> Iterator[Block]:
    text = path.read_text("utf-8")
    for match in re.finditer(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        yield Block(path, text.count("\n", 0, match.start(1)) + 1, match[1])


EXAMPLES = [block for path in RUN for block in blocks(path, "python")]
MESSAGES = list(blocks(PROTOCOL, "json"))


def by_name(block: Block) -> str:
    return block.name


async def run_among_nodes(code: Any) -> None:
    """Run an example with a server and two nodes that connected to it."""
    options = Config().with_options(
        address="127.0.0.1:0", enable_discovery=False, allow_symmetric_nat_relay=True
    )
    async with AsyncExitStack() as stack:
        names: dict[str, Any] = {}
        for name in ("server", "alice", "bob"):
            node = Node(options.with_options(name=name))
            names[name] = await stack.enter_async_context(node)
        for name in ("alice", "bob"):
            await names[name].connect(names["server"].address)
        result = eval(code, names)
        if inspect.isawaitable(result):
            await asyncio.wait_for(result, PATIENCE_S)


def run_example(block: Block) -> None:
    """A whole program by itself; what is only a part of one, among nodes."""
    source = "\n" * (block.line - 1) + block.text
    if "asyncio.run(" in block.text:
        exec(compile(source, str(block.path), "exec"), {"__name__": "__main__"})
        return
    code = compile(source, str(block.path), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    asyncio.run(run_among_nodes(code))


@pytest.mark.parametrize("block", EXAMPLES, ids=by_name)
def test_an_example_runs(block: Block) -> None:
    run_example(block)


def test_there_are_examples() -> None:
    assert {block.path for block in EXAMPLES} == set(RUN)


def anchors(path: Path) -> set[str]:
    """The names by which a document's headings can be linked to."""
    text = re.sub(r"^```.*?^```", "", path.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading).lower().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_relative_links_lead_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", path.read_text("utf-8")):
        if "://" in target:
            continue
        name, _, anchor = target.partition("#")
        linked = path.parent / name if name else path
        assert linked.exists(), target
        if anchor:
            assert anchor in anchors(linked), target


@pytest.mark.parametrize("block", MESSAGES, ids=by_name)
def test_a_message_of_the_protocol_can_be_read(block: Block) -> None:
    value = msgspec.json.decode(block.text)
    if "message_type" in value:
        assert decode_envelope(block.text.encode()).message_type == value["message_type"]


def constants(of: type) -> set[str]:
    return {value for name, value in vars(of).items() if name.isupper()}


@pytest.mark.parametrize("of", [MessageType, Capability, ErrorCode])
def test_the_protocol_names_everything_that_is_on_the_wire(of: type) -> None:
    text = PROTOCOL.read_text("utf-8")
    missing = {name for name in constants(of) if f"`{name}`" not in text}
    assert not missing, f"docs/protocol.md does not name {missing}"


def test_options_in_the_documents_exist() -> None:
    sections = "|".join(re.escape(section) for section in OPTIONS.sections)
    for path in DOCUMENTS:
        for option in re.findall(rf"`((?:{sections})\.\w+)`", path.read_text("utf-8")):
            assert option in OPTIONS.by_path, f"{path.name}: {option}"


def test_those_who_come_from_rust_find_every_flag(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["-h"]) == 0
    flags = set(re.findall(r"(?<![\w-])--?[A-Za-z][\w-]*", capsys.readouterr().out))
    text = FROM_RUST.read_text("utf-8")

    assert {"-a", "--address", "--no-ui", "--TRACE"} <= flags
    assert {flag for flag in flags if not re.search(rf"(?<![\w-]){flag}(?![\w-])", text)} == set()


def test_those_who_come_from_rust_find_every_message() -> None:
    text = FROM_RUST.read_text("utf-8")
    own = {
        MessageType.DISCOVERY_UPDATE,
        MessageType.STUN_PARTNER,
        MessageType.STUN_DELEGATION,
        MessageType.STUN_DELEGATED,
        MessageType.NAT_PROBE_REQUEST,
        MessageType.NAT_PROBE_REPORT,
        MessageType.NAT_PROBE,
        MessageType.NAT_PROBE_SENT,
    }
    missing = {name for name in constants(MessageType) - own if f"`{name}`" not in text}
    assert not missing, f"docs/from-the-rust-server.md does not say how {missing} is sent"


@pytest.mark.parametrize("name", [name for name in dir(Node) if not name.startswith("_")], ids=str)
def test_the_library_document_knows_every_part_of_a_node(name: str) -> None:
    text = (ROOT / "docs" / "library.md").read_text("utf-8")
    assert re.search(rf"\b{name}\b", text), f"docs/library.md does not name {name}"
