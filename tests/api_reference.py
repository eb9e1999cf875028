"""Writes docs/api.md, the reference of the Python API, from the docstrings of the package.

`python -m tests.api_reference docs/api.md`, at the top of the repository, brings it up to date.
The sources are read by griffe, which runs nothing of them: no signature depends on the machine.
"""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import griffe

ROOT: Final = Path(__file__).parent.parent

INTRODUCTION: Final = """\
# API reference

The public API of `p2ptui`, in the order in which a program usually needs it.
[library.md](library.md) explains it by example. This page is generated from the docstrings:

```sh
python -m tests.api_reference docs/api.md
```

Times are in seconds and sizes in bytes, unless a name says otherwise (`rtt_ms`). An `Address` is
a tuple of host and port. A `PeerRef` names a node: by its id, a prefix of the id, its name,
`host:port`, an `Address`, or a `PeerView` or `OtherNode`.
"""


class Chapter(NamedTuple):
    """A part of the page."""

    title: str
    words: str
    names: tuple[str, ...]
    """Of classes, each with its module."""


HIDDEN: Final = frozenset(
    {
        *("Config.signed_by", "DataReceived.held", "PeerStatusChanged.judged"),
        *("Subscription.put", "Subscription.room"),
    }
)
"""What the package itself needs to be public, and nobody else."""

CHAPTERS: Final = (
    Chapter(
        "The node",
        "`from p2ptui import Config, Node, PeerView, Stats`",
        ("node.node.Node", "config.sections.Config", "node.view.PeerView", "node.metrics.Stats"),
    ),
    Chapter(
        "What calls return",
        "Immutable values. You get them from calls, and need not import them.",
        (
            *("core.events.SendResult", "core.events.SendStatus", "core.events.PingResult"),
            *("core.events.Path", "core.connection.Connection", "core.connection.Method"),
            *("core.peer_status.PeerStatus", "secure.known_node.Trust"),
            *("secure.known_node.KnownNode", "secure.known_node.Judgement"),
            *("node.others.OtherNode", "node.own_identity.NodeIdentity"),
            *("core.listed.NodeList", "core.listed.ServerList", "wire.message.NodeInfo"),
            *("wire.message.ListedServer", "wire.message.RouteEntry", "nat.report.NatReport"),
            *("core.relay.values.RelayReport", "core.relay.values.RelayClient"),
            "node.subscription.Subscription",
        ),
    ),
    Chapter(
        "Events",
        "`from p2ptui.core.events import DataReceived`, and so on: what `Node.events()` gives.",
        (
            *(
                "core.events.DataReceived",
                "core.events.DataDropped",
                "core.events.FileReceived",
                "core.events.FilesNotTold",
            ),
            *("core.peer_status.PeerStatusChanged", "core.acquaintance.TrustChanged"),
            *("core.policy.PeerRefused", "core.events.PeersDiscovered"),
            *("core.events.PeerIntroduced", "core.events.PathChanged"),
            *("core.events.PathMtuChanged", "core.events.ErrorReceived"),
            *("core.events.RoutesReceived", "core.events.RelayDataReceived"),
            *("core.events.StunServed", "core.traced.MessageTraced", "core.events.EventsDropped"),
        ),
    ),
    Chapter(
        "Errors",
        "`from p2ptui.errors import P2PError`, and so on.",
        (
            *("errors.P2PError", "errors.LocalError", "errors.ConfigError", "errors.BindError"),
            *("errors.UnknownPeerError", "errors.NotMetError", "errors.NotKnownThereError"),
            *("errors.MessageTooLargeError", "errors.QueueFullError", "errors.NotAnnouncedError"),
            *("errors.RemoteError", "errors.HandshakeError"),
            *("errors.NetworkMismatchError", "errors.ImpostorError"),
            *("errors.PeerTimeoutError", "errors.NotIntroducedError", "errors.PeerGoneError"),
            "io.key_files.KeyFileError",
        ),
    ),
)


def load() -> griffe.Object:
    """The package, as its sources say."""
    loaded = griffe.load(
        "p2ptui",
        search_paths=[ROOT],
        allow_inspection=False,
        docstring_parser=griffe.Parser.google,
        docstring_options={"warnings": False},
    )
    assert isinstance(loaded, griffe.Object)
    return loaded


def render(package: griffe.Object) -> str:
    """The whole page."""
    blocks = [INTRODUCTION]
    for chapter in CHAPTERS:
        blocks.append(f"## {chapter.title}\n\n{chapter.words}\n")
        for name in chapter.names:
            blocks.extend(_class(package[name]))
    return "\n".join(blocks)


def members(one: griffe.Class) -> Iterator[griffe.Attribute | griffe.Function]:
    """What is public in a class, its own first, and then what it inherits; each once."""
    for name, member in {**one.members, **one.all_members}.items():
        found = member.final_target if isinstance(member, griffe.Alias) else member
        is_hidden = name.startswith("_") or f"{one.name}.{name}" in HIDDEN
        if not is_hidden and isinstance(found, griffe.Attribute | griffe.Function):
            yield found


def _class(one: griffe.Object) -> Iterator[str]:
    assert isinstance(one, griffe.Class)
    is_error = one.name.endswith("Error")
    bases = [str(base) for base in one.bases if str(base) != "Exception"]
    of = f" ({bases[0]})" if is_error and bases else ""
    yield f"### `{one.name}`{of}\n"
    yield _prose(one)
    if is_error:
        return
    values = [member for member in members(one) if isinstance(member, griffe.Attribute)]
    if one.name == "Node":
        yield _details(one)
    if values:
        yield _table(values, one)
    for method in members(one):
        if not isinstance(method, griffe.Function):
            continue
        yield f"#### `{one.name}.{method.name}`\n"
        yield f"```text\n{_signature(method)}\n```\n"
        yield _prose(method)
        details = _details(method)
        if details:
            yield details


def _table(values: Sequence[griffe.Attribute], of: griffe.Class) -> str:
    rows = ["| attribute | type | |", "| --- | --- | --- |"]
    for value in values:
        kind = "" if value.annotation is None else f"`{_type(value.annotation)}`"
        if value.annotation is None and value.value is not None:
            kind = f"`{value.value}`"  # a member of an enum
        words = meaning(value, of)
        failures = "; ".join(_raises(value))
        words += f" Raises {failures}" if failures else ""
        rows.append(f"| `{value.name}` | {kind.replace('|', chr(92) + '|')} | {words} |")
    return "\n".join(rows) + "\n"


def meaning(value: griffe.Attribute, of: griffe.Class) -> str:
    """What an attribute is: as it says itself, or its class does, or that of its value."""
    if value.docstring is not None:
        return _one_line(_prose(value))
    for section in _sections(of):
        if section.kind is griffe.DocstringSectionKind.parameters:
            for parameter in section.value:
                if parameter.name == value.name:
                    return _one_line(parameter.description)
    kind = value.annotation
    if isinstance(kind, griffe.ExprName) and kind.name.endswith("Options"):
        options = of.package[kind.canonical_path.removeprefix(f"{of.package.name}.")]
        assert isinstance(options, griffe.Object)
        return _one_line(_prose(options))
    return ""


def _type(annotation: object) -> str:
    text = str(annotation).strip("'\"")
    return text.removeprefix("Final[").removesuffix("]") if text.startswith("Final[") else text


def _signature(method: griffe.Function) -> str:
    given: list[str] = []
    stars = {griffe.ParameterKind.var_positional: "*", griffe.ParameterKind.var_keyword: "**"}
    for parameter in method.parameters:
        if parameter.name == "self":
            continue
        star = "" if parameter.kind is None else stars.get(parameter.kind, "")
        if parameter.kind is griffe.ParameterKind.keyword_only and "*" not in given:
            given.append("*")
        default = "" if star or parameter.default is None else f" = {parameter.default}"
        given.append(f"{star}{parameter.name}: {_type(parameter.annotation)}{default}")
    awaited = "async " if "async" in method.labels else ""
    returns = "None" if method.returns is None else _type(method.returns)
    line = f"{awaited}{method.name}({', '.join(given)}) -> {returns}"
    if len(line) <= 96:
        return line
    inside = "".join(f"    {one},\n" for one in given)
    return f"{awaited}{method.name}(\n{inside}) -> {returns}"


def _sections(of: griffe.Object) -> list[griffe.DocstringSection]:
    return [] if of.docstring is None else of.docstring.parsed


def _prose(of: griffe.Object) -> str:
    texts = [s.value for s in _sections(of) if s.kind is griffe.DocstringSectionKind.text]
    return "\n\n".join(texts) + ("\n" if texts else "")


def _details(of: griffe.Object) -> str:
    """Arguments, results and errors, as lists."""
    blocks = []
    for section in _sections(of):
        kind = section.kind
        if kind is griffe.DocstringSectionKind.parameters:
            lines = [f"- `{one.name}`: {_one_line(one.description)}" for one in section.value]
            blocks.append("\n".join(["Arguments:", "", *lines]) + "\n")
        elif kind is griffe.DocstringSectionKind.returns:
            blocks.append(f"Returns: {_one_line(section.value[0].description)}\n")
    failures = _raises(of)
    if failures:
        blocks.append("\n".join(["Raises:", "", *(f"- {one}" for one in failures)]) + "\n")
    return "\n".join(blocks)


def _raises(of: griffe.Object) -> list[str]:
    return [
        f"`{one.annotation}`: {_one_line(one.description)}"
        for section in _sections(of)
        if section.kind is griffe.DocstringSectionKind.raises
        for one in section.value
    ]


def _one_line(text: str) -> str:
    return " ".join(text.split())


def main(paths: Sequence[str]) -> None:
    """Write the page."""
    for path in paths:
        Path(path).write_text(render(load()), "utf-8", newline="\n")


if __name__ == "__main__":
    main(sys.argv[1:])
