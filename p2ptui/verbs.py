"""The one grammar of commands: what verbs there are, what they take, and how a line is read.

The command bar, the palette and the help read this table; the shell's one-shot
commands are the verbs marked for it.
"""

import ipaddress
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any, Final

from p2ptui.errors import LocalError
from p2ptui.manual.topics import TOPICS
from p2ptui.nearest import nearest, suggestion
from p2ptui.text import shown, whole_number
from p2ptui.wire.address import (
    NoInterfaceError,
    format_address,
    parse_target,
    single_host,
    with_port,
)
from p2ptui.wire.exact import AmbiguousJsonError, read_json
from p2ptui.wire.joined import parse_joined

COMMON_PING_COUNT: Final = 4
MAX_COUNT: Final = 10_000
"""Pings of one command."""

FILTER_WITH: Final = "--filter-with"


class UsageError(LocalError):
    """A line that is no command; the text says what would be right."""


class UnknownWordError(UsageError):
    """The word before a text names none of the nodes that are known so far."""

    def __init__(self, text: str, word: str) -> None:
        super().__init__(text)
        self.word = word


class Kind(Enum):
    """What an argument is, for completion and for reading it."""

    PEER = "PEER"
    """An id, the beginning of one, a name or an address; left out: the selected peer."""
    MET = "MET"
    """A peer, or a node that was met before: by name, id or its beginning."""
    SHOW = "show"
    ADDRESS = "ADDR"
    TEXT = "TEXT"
    """The rest of the line."""
    COUNT = "COUNT"
    FILE = "FILE"
    LEVEL = "LEVEL"
    THEME = "NAME"
    VERB = "COMMAND"
    FILTER = "EXPR"
    SERVER = "SERVER"
    WORD = "WORD"


@dataclass(frozen=True, slots=True)
class Parameter:
    """One argument of a verb."""

    kind: Kind
    optional: bool = False
    many: bool = False
    name: str = ""
    """How it is written; without one by its kind."""

    def __str__(self) -> str:
        name = (self.name or self.kind.value) + ("..." if self.many else "")
        return f"[{name}]" if self.optional else name


@dataclass(frozen=True, slots=True)
class Verb:
    """One command."""

    name: str
    summary: str
    parameters: tuple[Parameter, ...] = ()
    in_shell: bool = False
    """Whether `p2ptui NAME` exists too."""
    options: tuple[tuple[str, str], ...] = ()
    """What may stand besides the arguments: how it is written, and what it does."""

    @property
    def usage(self) -> str:
        """How it is written."""
        return " ".join(
            [self.name, *map(str, self.parameters), *(f"[{option}]" for option, _ in self.options)]
        )


_PEER: Final = Parameter(Kind.PEER, optional=True)
_TEXT: Final = Parameter(Kind.TEXT)
_MET: Final = Parameter(Kind.MET, name="PEER")

VERBS: Final = {
    verb.name: verb
    for verb in (
        Verb("connect", "connect to a node", (Parameter(Kind.ADDRESS),)),
        Verb("disconnect", "say goodbye to a peer", (_PEER,)),
        Verb(
            "ping",
            "measure the round trip to a node",
            (_PEER, Parameter(Kind.COUNT, optional=True)),
            in_shell=True,
        ),
        Verb(
            "send",
            "send text or JSON to a node; in a shell, also a file",
            (_PEER, _TEXT),
            in_shell=True,
        ),
        Verb("broadcast", "send text to every peer", (_TEXT,)),
        Verb("relay", "send text to a node through a server", (_PEER, _TEXT)),
        Verb("punch", "look for a direct path to a node now", (_PEER,)),
        Verb(
            "nat",
            "find out what the NAT does",
            (Parameter(Kind.SERVER, optional=True, many=True),),
            in_shell=True,
            options=(
                (
                    f"{FILTER_WITH} HOST:PORT",
                    "a server to ask, and to test with what the NAT lets in even if this node or a"
                    " program needs it: some NATs then ban it for a minute",
                ),
            ),
        ),
        Verb("discover", "ask all peers which nodes they know"),
        Verb(
            "peers",
            "list the known nodes; in a shell, those that a server knows",
            (Parameter(Kind.WORD, optional=True),),
            in_shell=True,
        ),
        Verb(
            "servers",
            "list the servers of the network",
            in_shell=True,
        ),
        Verb("trust", "mark a node as verified", (_MET,), in_shell=True),
        Verb("forget", "forget a known node", (_MET,), in_shell=True),
        Verb(
            "key",
            "show who this node is; in a shell, also make a network key",
            (Parameter(Kind.SHOW),),
            in_shell=True,
        ),
        Verb("routes", "show which nodes can be reached, and how"),
        Verb("stats", "show the statistics"),
        Verb("filter", "show only matching messages", (Parameter(Kind.FILTER, optional=True),)),
        Verb("log", "show messages of this level and above", (Parameter(Kind.LEVEL),)),
        Verb("save", "save the messages shown to a file", (Parameter(Kind.FILE),)),
        Verb("copy", "copy what is selected"),
        Verb("theme", "change the colours", (Parameter(Kind.THEME),)),
        Verb("help", "show the commands and keys", (Parameter(Kind.VERB, optional=True),)),
        Verb("quit", "say goodbye to everybody and leave"),
    )
}

SELECTED: Final = "."
"""Stands for the selected node wherever a peer may be named."""

LEVELS: Final = ("trace", "debug", "info", "warn", "error")
"""Of the log, as `p2ptui.config.LogLevel` has them, which is on a floor above."""


@dataclass(frozen=True, slots=True)
class Command:
    """A line that was understood."""

    verb: Verb
    peer: str | None = None
    """Whom it concerns; None: the selected peer."""
    text: str = ""
    """Address, text, file, level, name or expression, by the verb."""
    count: int = 1
    servers: tuple[str, ...] = ()
    """STUN servers, `host:port` each."""
    filter_with: tuple[str, ...] = ()
    """Those that may be lost by a test of what the NAT lets in, likewise."""
    is_named: bool = False
    """Whether a peer was named, if only by `.`; else it is the selected one by default."""


def nearest_verb(word: str) -> str | None:
    """The verb that was probably meant."""
    return nearest(word, VERBS)


def parse_command(line: str, peer_names: Sequence[str] = ()) -> Command:
    """Read a line.

    Args:
        line: What a person typed.
        peer_names: Words that name peers: in `send WORD TEXT` the first word is a peer if
            it is one of these, looks like an address, or begins an id. Only a single word, or
            one JSON object or list, is text for the selected peer.

    Raises:
        UsageError: It is no command; the text says what would be right.
    """
    # A colon leads to the command bar, and is typed by habit where one is there already.
    word, _, rest = line.strip().lstrip(": ").partition(" ")
    rest = rest.strip()
    if not word:
        raise UsageError("type a command, or help")
    verb = VERBS.get(word.lower())
    if verb is None:
        near = nearest_verb(word.lower())
        hint = f"; did you mean {near}?" if near else "; help lists the commands"
        raise UsageError(f"unknown command {word!r}{hint}")
    kinds = [parameter.kind for parameter in verb.parameters]
    if Kind.TEXT in kinds:
        return _read_text_command(verb, rest, peer_names)
    if Kind.FILTER in kinds:
        return Command(verb, text=rest)
    return _read_words(verb, rest)


def _read_text_command(verb: Verb, rest: str, peer_names: Sequence[str]) -> Command:
    if verb.parameters[0].kind is not Kind.PEER or not isinstance(read_payload(rest), str):
        return _text_command(verb, None, rest)
    first, after = _first_word(verb, rest)
    if first == SELECTED:
        return _text_command(verb, None, after, is_named=True)
    if _names_a_peer(first, peer_names) or (after and _may_name_a_peer(first)):
        return _text_command(verb, first, after, is_named=True)
    portless = with_port(first)
    if after and portless is not None:
        raise UsageError(f"{first!r}: the port is missing; write {portless}")
    if after:
        # Never guessed: what was meant for one who has just left must not reach another.
        hint = suggestion(first, peer_names, is_quoted=False) or ";"
        raise UnknownWordError(
            f"{first!r} is not a peer{hint} {verb.name} {SELECTED} TEXT sends to the selected one",
            first,
        )
    return _text_command(verb, None, first)


def read_payload(text: str) -> Any:
    """Text that is a whole JSON object or list stands for that, any other for itself.

    Raises:
        UsageError: It is JSON in which a name stands twice: nobody can tell what is meant.
    """
    if text[:1] in ("{", "["):
        try:
            return read_json(text)
        except AmbiguousJsonError as error:
            raise UsageError(f"not sent: {error}") from None
        except (ValueError, RecursionError):
            return text
    return text


def _text_command(verb: Verb, peer: str | None, text: str, *, is_named: bool = False) -> Command:
    if not text:
        raise UsageError(f"what shall be sent? usage: {verb.usage}")
    return Command(verb, peer, text, is_named=is_named)


def _first_word(verb: Verb, text: str) -> tuple[str, str]:
    """The first word, which may be quoted, and the rest untouched."""
    if not text.startswith(('"', "'")):
        first, _, rest = text.partition(" ")
        return first, rest.strip()
    end = text.find(text[0], 1)
    if end < 0:
        raise UsageError(f"a quotation mark is not closed; usage: {verb.usage}")
    return text[1:end], text[end + 1 :].strip()


def _names_a_peer(word: str, peer_names: Sequence[str]) -> bool:
    return bool(word) and any(
        word == name or (len(word) >= 4 and _is_id(name) and name.startswith(word.lower()))
        for name in peer_names
    )


def _may_name_a_peer(word: str) -> bool:
    """Whether a word can only be meant as a node: the look-up then says whether there is one."""
    try:
        parse_joined(word)
    except ValueError:
        digits = word.replace("-", "")
        return len(digits) >= 4 and all(c in "0123456789abcdefABCDEF" for c in digits)
    return True


def _is_id(name: str) -> bool:
    return len(name) == 36 and name.count("-") == 4


def _read_words(verb: Verb, rest: str) -> Command:
    try:
        words = shlex.split(rest)
    except ValueError:
        raise UsageError(f"a quotation mark is not closed; usage: {verb.usage}") from None
    # Options as the shell has them, before or after what they belong to.
    counts = _take_option(verb, words, "-n") if verb.name == "ping" else []
    if verb.name == "nat":
        risked = _take_option(verb, words, FILTER_WITH)
        servers = [*_take_option(verb, words, "--server"), *words]
        return Command(
            verb,
            servers=tuple(_read_server(verb, word) for word in servers),
            filter_with=tuple(_read_server(verb, word) for word in risked),
        )
    _require_number(verb, words, counts)
    if verb.name == "ping" and len(words) == 2 and _is_count(words[0]) and not _is_count(words[1]):
        words.reverse()  # `ping 3 bob` can mean nothing else
    command = Command(verb, count=COMMON_PING_COUNT if verb.name == "ping" else 1)
    for given in counts:
        command = replace(command, count=_read_count(verb, given))
    stands_alone = len(words) == 1 and not counts
    for parameter, word in zip(verb.parameters, words, strict=False):
        command = replace(command, **_read_word(verb, parameter.kind, word, stands_alone))
    return command


def _is_count(word: str) -> bool:
    """Whether a word is rather a count than a node."""
    return word.isdigit() and len(word) < 4


def _require_number(verb: Verb, words: list[str], counts: list[str]) -> None:
    if len(counts) > 1 or (counts and len(words) > 1):
        raise UsageError(f"one count is enough; usage: {verb.usage}")
    required = sum(not parameter.optional for parameter in verb.parameters)
    if not required <= len(words) <= len(verb.parameters):
        kinds = [parameter.kind for parameter in verb.parameters]
        hints = {Kind.LEVEL: f"; one of {', '.join(LEVELS)}", Kind.THEME: "; Tab offers the names"}
        hint = next((words for kind, words in hints.items() if kind in kinds), "")
        raise UsageError(f"usage: {verb.usage}{hint}")


def _read_word(verb: Verb, kind: Kind, word: str, stands_alone: bool) -> dict[str, Any]:
    """What a word says of a command, by the names of its fields."""
    match kind:
        case Kind.COUNT:
            return {"count": _read_count(verb, word)}
        case Kind.PEER:
            # `ping 5` pings the selected peer five times: no peer is called 5.
            if verb.name == "ping" and _is_count(word) and stands_alone:
                return {"count": _read_count(verb, word)}
            return {"is_named": True, "peer": None if word == SELECTED else word}
        case Kind.MET:
            return {"is_named": True, "peer": None if word == SELECTED else word}
        case Kind.SHOW:
            return {"text": _read_show(verb, word)}
        case Kind.ADDRESS if ":" not in word:
            # `connect` takes whom a server knows, as other verbs take a peer.
            return {"is_named": True, "text": word, "peer": None if word == SELECTED else word}
        case Kind.LEVEL:
            return {"text": _read_level(word)}
        case Kind.VERB:
            return {"text": _read_verb(word)}
        case _:
            return {"text": word}


def _take_option(verb: Verb, words: list[str], option: str) -> list[str]:
    """Take an option and its values out of the words, wherever it stands."""
    values: list[str] = []
    while True:
        at = next((i for i, word in enumerate(words) if _begins_option(word, option)), None)
        if at is None:
            return values
        value = words.pop(at)[len(option) :].removeprefix("=")
        if not value:
            if at >= len(words) or words[at].startswith(option):
                raise UsageError(f"{option} needs a value; usage: {verb.usage}")
            value = words.pop(at)
        values.append(value)


def _begins_option(word: str, option: str) -> bool:
    if word == option or word.startswith(f"{option}="):
        return True
    return not option.startswith("--") and word.startswith(option) and word[len(option) :].isdigit()


def _read_count(verb: Verb, word: str) -> int:
    count = whole_number(word, MAX_COUNT)
    if not count:
        words = f"the count must be 1 to {MAX_COUNT:,}; usage: {verb.usage}"
        raise UsageError(f"{shown(word, 40)}: {words}")
    return count


def _read_server(verb: Verb, word: str) -> str:
    try:
        address = parse_target(word)
    except NoInterfaceError as error:
        raise UsageError(f"{error}; usage: {verb.usage}") from None
    except ValueError as error:
        raise UsageError(f"{error}; usage: {verb.usage}, each server HOST:PORT") from None
    if address[1] == 0:
        raise UsageError(f"{word!r}: port 0 is no port to ask; usage: {verb.usage}")
    try:
        ipaddress.ip_address(address[0])
    except ValueError:
        return word  # a name, looked up later
    try:
        return format_address(single_host(address))
    except ValueError as error:
        raise UsageError(f"{error}; usage: {verb.usage}") from None


def _read_show(verb: Verb, word: str) -> str:
    if word.lower() == "new":
        raise UsageError("a network key is made in a shell: p2ptui key new")
    if word.lower() != Kind.SHOW.value:
        raise UsageError(f"usage: {verb.usage}")
    return word.lower()


def _read_level(word: str) -> str:
    if word.lower() not in LEVELS:
        raise UsageError(f"{word!r} is not a level; one of {', '.join(LEVELS)}")
    return word.lower()


def _read_verb(word: str) -> str:
    """A command or a topic: both are explained by the help."""
    if word.lower() in VERBS or word.lower() in TOPICS:
        return word.lower()
    hint = suggestion(word.lower(), (*VERBS, *TOPICS), is_quoted=False)
    raise UsageError(f"there is no command {word!r}{hint}")
