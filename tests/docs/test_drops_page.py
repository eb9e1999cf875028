"""docs/drops.md names every cause under which a node counts what it drops, and no other.

A cause reaches `Counters.drop` in several ways: written there; handed to a table that counts what
it loses; as the answer of a method, a column of a table, or the reason of an error. Each way is
read from the code here. What is not understood fails, with its file and line: teach it to this
module.
"""

import ast
import re
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

from p2ptui.core.messages.rows import ROWS
from p2ptui.core.policy import RULES
from p2ptui.core.trust import Trust
from p2ptui.metrics.families import MAX_LABEL_VALUES
from p2ptui.secure.errors import Reason
from p2ptui.wire.message import ErrorCode

ROOT = Path(__file__).parent.parent.parent
PACKAGE = ROOT / "p2ptui"
PAGE = ROOT / "docs" / "drops.md"

COUNTING = ("count", "drop")
"""Names of parameters that take `Counters.drop`; their type is `Callable[[str], None]`."""

KEPT = re.compile(r"drop|self\._?(count|drop)")
"""By what name it is kept."""

FOR_TABLES = ("full", "expired")
"""Keyword arguments by which a table, a queue or a share is told its cause."""

COLUMNS = ("over", "distrusted")
"""Columns whose values are causes: of the budgets, and of the types of messages."""

RAISED: dict[tuple[str, str], set[Reason]] = {
    # Sealing a datagram.
    ("core/sealing.py", "seal_"): {Reason.TOO_LONG, Reason.EXHAUSTED},
    # Opening one.
    ("core/secure/opening.py", "seal_"): {
        *(Reason.MALFORMED, Reason.UNKNOWN_SESSION, Reason.REPLAYED, Reason.ALTERED),
    },
    # The same by way of other nodes, in parts that are never too long; `unknown_session` is told.
    ("core/mesh/far_seals.py", "far_"): {
        *(Reason.EXHAUSTED, Reason.MALFORMED, Reason.REPLAYED, Reason.ALTERED),
    },
    # Reading a first message, and answering it.
    ("core/mesh/far_answering.py", "far_exchange_"): {
        *(Reason.MALFORMED, Reason.UNKNOWN_PATTERN, Reason.BAD_KEY),
        *(Reason.NETWORK_KEY_MISSING, Reason.NETWORK_KEY_WANTED),
    },
    # Reading a first message; `unknown_pattern` is answered in the open.
    ("core/secure/answering.py", ""): {
        *(Reason.MALFORMED, Reason.NETWORK_KEY_MISSING, Reason.NETWORK_KEY_WANTED),
    },
    # Reading a last one.
    ("core/secure/completing.py", "exchange_"): {
        *(Reason.MALFORMED, Reason.BAD_KEY, Reason.ALTERED, Reason.NETWORK_KEY_DIFFERS),
    },
    # Writing and reading an offer.
    ("core/traversal/sealed_offers.py", "offer_"): {
        *(Reason.MALFORMED, Reason.UNKNOWN_PATTERN, Reason.BAD_KEY),
        *(Reason.ALTERED, Reason.TOO_LONG),
    },
}
"""The reasons of a SecureError that a file counts, behind a prefix."""

NEVER_COUNTED = {Reason.OUT_OF_TURN}
"""A mistake of the caller."""


class Place(NamedTuple):
    """Where a cause stands in the code."""

    path: str
    line: int

    def __str__(self) -> str:
        return f"p2ptui/{self.path}:{self.line}"


class NotUnderstoodError(Exception):
    """A cause is written in a way that this module does not know."""


@cache
def trees() -> dict[str, ast.Module]:
    return {
        path.relative_to(PACKAGE).as_posix(): ast.parse(path.read_text("utf-8"))
        for path in sorted(PACKAGE.rglob("*.py"))
    }


@cache
def nodes(tree: ast.AST) -> list[ast.AST]:
    """Every node of a module or a function, which are asked for again and again."""
    return list(ast.walk(tree))


def named(node: ast.AST | None) -> str:
    """The last part of a name."""
    return getattr(node, "attr", "") or getattr(node, "id", "")


def parameters(function: ast.FunctionDef | ast.AsyncFunctionDef) -> list[ast.arg]:
    return [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]


def counts(parameter: ast.arg) -> bool:
    if parameter.arg not in COUNTING or parameter.annotation is None:
        return False
    return ast.unparse(parameter.annotation) == "Callable[[str], None]"


Function = ast.FunctionDef | ast.AsyncFunctionDef


def functions(tree: ast.AST) -> Iterator[Function]:
    return (node for node in nodes(tree) if isinstance(node, Function))


class Module:
    """The causes in one file."""

    def __init__(self, path: str, tree: ast.Module) -> None:
        self.path = path
        self.tree = tree
        self.takes_a_counter = any(
            counts(parameter) for function in functions(tree) for parameter in parameters(function)
        )
        """Whether something here is given `Counters.drop`, and calls it by another name."""
        self.function_of = {
            part: function for function in functions(tree) for part in nodes(function)
        }
        """The innermost function around each part, since inner ones come later."""

    def place(self, node: ast.expr) -> Place:
        return Place(self.path, node.lineno)

    def causes(self) -> Iterator[tuple[str, Place]]:
        for node in nodes(self.tree):
            for value in self.written_at(node):
                for cause in self.read(value):
                    if not re.fullmatch(r"[a-z][a-z_]*", cause):
                        raise NotUnderstoodError(f"{self.place(value)}: {cause!r} is no cause")
                    yield cause, self.place(value)

    def written_at(self, node: ast.AST) -> Iterator[ast.expr]:
        """Expressions for a cause."""
        if isinstance(node, ast.Call):
            if self.is_counter(node.func):
                if len(node.args) != 1 or node.keywords:
                    raise NotUnderstoodError(f"{self.place(node)}: {ast.unparse(node)}")
                yield node.args[0]
            yield from (word.value for word in node.keywords if word.arg in FOR_TABLES)
            if named(node.func) in ("Budget", "Row", "_replace"):
                yield from (word.value for word in node.keywords if word.arg in COLUMNS)
        elif isinstance(node, ast.Subscript) and named(node.value) == "drops":
            yield node.slice

    def is_counter(self, called: ast.expr) -> bool:
        """Whether that is `Counters.drop`, or what stands for it here."""
        name = named(called)
        if isinstance(called, ast.Attribute) and name == "drop":
            return named(called.value) in ("counters", "_counters")
        if isinstance(called, ast.Attribute) and name == "count":
            # A table's own, which is called from outside where the table cannot know.
            return ast.unparse(called) == "self.count" or named(called.value) in self.tables
        if isinstance(called, ast.Attribute) and name in ("_count", "_drop"):
            is_given = f"self.{name} = {name.removeprefix('_')}\n" in self.text
            return ast.unparse(called.value) == "self" and self.takes_a_counter and is_given
        if isinstance(called, ast.Name) and name in COUNTING:
            return self.takes_a_counter or "drop = self._state.counters.drop\n" in self.text
        return False

    @property
    def text(self) -> str:
        return (PACKAGE / self.path).read_text("utf-8")

    @property
    def tables(self) -> set[str]:
        """Attributes that are declared as tables or queues."""
        return {
            named(node.target)
            for node in nodes(self.tree)
            if isinstance(node, ast.AnnAssign)
            and re.match(r"Bounded(Table|Queue)\[", ast.unparse(node.annotation))
        }

    def read(self, value: ast.expr) -> set[str]:
        """The causes that an expression may be; an empty one counts nothing."""
        if isinstance(value, ast.Constant) and isinstance(value.value, str):
            return {value.value} - {""}
        if isinstance(value, ast.IfExp):
            return self.read(value.body) | self.read(value.orelse)
        if isinstance(value, ast.JoinedStr):
            return self.read_formatted(value)
        if isinstance(value, ast.Attribute) and value.attr in COLUMNS:
            return set()  # read where the columns are filled
        if ast.unparse(value) in ("self._full", "self._expired") and self.path in TABLES:
            return set()  # read where tables are made
        if isinstance(value, ast.Name):
            return self.read_name(value)
        raise self.unknown(value)

    def unknown(self, value: ast.expr) -> NotUnderstoodError:
        text = f"{self.place(value)}: which causes can `{ast.unparse(value)}` be? "
        return NotUnderstoodError(text + "Teach it to tests/docs/test_drops_page.py.")

    def read_formatted(self, value: ast.JoinedStr) -> set[str]:
        match value.values:
            case [ast.Constant(str(prefix)), ast.FormattedValue(inside)]:
                words = ast.unparse(inside)
                if words == "refusal.code":
                    return {prefix + code for code in codes_of_refusals()}
                if words in ("error.reason", "reason") and (self.path, prefix) in RAISED:
                    return {prefix + reason for reason in RAISED[self.path, prefix]}
        raise self.unknown(value)

    def read_name(self, value: ast.Name) -> set[str]:
        """A constant of the module; or what was returned to a function, or passed to it."""
        for statement in self.tree.body:
            if isinstance(statement, ast.AnnAssign) and named(statement.target) == value.id:
                assert statement.value is not None
                return self.read(statement.value)
        function = self.function_of.get(value)
        if function is not None:
            for node in nodes(function):
                if isinstance(node, ast.Assign) and named(node.targets[0]) == value.id:
                    return self.read_returned(node.value, value)
            names = [parameter.arg for parameter in parameters(function)]
            if value.id in names:
                return self.read_passed(function, names.index(value.id) - 1, value)
        raise self.unknown(value)

    def read_returned(self, call: ast.expr, value: ast.Name) -> set[str]:
        name = named(call.func) if isinstance(call, ast.Call) else ""
        for function in functions(self.tree):
            if function.name == name:
                returned = [node for node in nodes(function) if isinstance(node, ast.Return)]
                return set().union(*(self.read(node.value) for node in returned if node.value))
        raise self.unknown(value)

    def read_passed(self, function: Function, at: int, value: ast.Name) -> set[str]:
        if (self.path, function.name) in PASSED_ON:
            return set()
        if (self.path, function.name) == ("core/secure/refusals.py", "refuse_offer"):
            return rules_refused() - RULES.keys()
        calls = [
            node
            for node in nodes(self.tree)
            if isinstance(node, ast.Call) and named(node.func) == function.name
        ]
        if not calls or any(len(call.args) <= at for call in calls):
            raise self.unknown(value)
        return set().union(*(self.read(call.args[at]) for call in calls))


TABLES = ("bounded/table.py", "bounded/queue.py")

PASSED_ON = {
    ("bounded/table.py", "_tell"),  # from tables, whose causes are read where they are made
    ("node/driven.py", "_drop"),  # from the inbox, which is read by itself
}
"""Functions that hand on the cause which they are given."""


def codes_of_refusals() -> set[str]:
    """Of routed messages."""
    return {
        getattr(ErrorCode, named(node.args[0]))
        for path, tree in trees().items()
        if path.startswith("core/mesh/")
        for node in nodes(tree)
        if isinstance(node, ast.Call)
        and named(node.func) == "Refusal"
        and ast.unparse(node.args[0]).startswith("ErrorCode.")
    }


def rules_refused() -> set[str]:
    """What key exchanges are refused by."""
    refused: set[str] = set()
    for path, tree in trees().items():
        module = Module(path, tree)
        for node in nodes(tree):
            if isinstance(node, ast.Call) and named(node.func) == "refuse_offer":
                rule = node.args[1]
                if ast.unparse(rule) == "error.reason" and (path, "") in RAISED:
                    refused |= RAISED[path, ""]
                elif not (isinstance(rule, ast.Name) and rule.id.isupper()):
                    raise module.unknown(rule)
    return refused


@cache
def in_the_code() -> dict[str, Place]:
    """Every cause, and the first place where it stands."""
    found: dict[str, Place] = {}
    for path, tree in trees().items():
        if path == "core/counters.py":
            continue  # `Counters.drop` itself
        for cause, place in Module(path, tree).causes():
            found.setdefault(cause, place)
    return found


def rows() -> list[list[str]]:
    lines = [line for line in PAGE.read_text("utf-8").splitlines() if line.startswith("| `")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


def on_the_page() -> Counter[str]:
    return Counter(row[0].strip("`") for row in rows())


def test_every_cause_has_a_row() -> None:
    named_there = on_the_page()
    missing = [
        f"docs/drops.md has no row for {cause!r} (counted in {place})"
        for cause, place in sorted(in_the_code().items())
        if cause not in named_there
    ]
    assert not missing, "\n".join(missing)


def test_every_row_is_of_a_cause_and_the_only_one() -> None:
    gone = [
        f"docs/drops.md has a row for {cause!r}, which nothing counts any more: remove it"
        for cause in sorted(on_the_page() - Counter(dict.fromkeys(in_the_code(), 10)))
    ]
    twice = [
        f"docs/drops.md has {number} rows for {cause!r}: keep one"
        for cause, number in on_the_page().items()
        if number > 1
    ]
    assert not gone + twice, "\n".join(gone + twice)


def test_a_row_says_what_was_dropped_and_what_to_do() -> None:
    for row in rows():
        assert len(row) == 3, row[0]
        assert all(row), row[0]


def test_prometheus_tells_all_causes_apart() -> None:
    assert len(in_the_code()) <= MAX_LABEL_VALUES


def takers() -> set[str]:
    """Functions, and classes, with a parameter that counts."""
    found = set()
    for tree in trees().values():
        for node in nodes(tree):
            is_class = isinstance(node, ast.ClassDef)
            for function in functions(node) if is_class else filter(is_function, [node]):
                if is_class and function.name != "__init__":
                    continue
                if any(map(counts, parameters(function))):
                    found.add(node.name if isinstance(node, ast.ClassDef) else function.name)
    return found


def is_function(node: ast.AST) -> bool:
    return isinstance(node, Function)


def handed_on(module: Module) -> Iterator[ast.expr]:
    """The counter, wherever it is not called: the one of the node, or one that was given."""
    called = {node.func for node in nodes(module.tree) if isinstance(node, ast.Call)}
    for node in nodes(module.tree):
        if isinstance(node, ast.Attribute) and node.attr == "drop" and node not in called:
            yield node
    for node, function in module.function_of.items():
        if isinstance(node, ast.Name) and node not in called:
            given = {parameter.arg for parameter in parameters(function) if counts(parameter)}
            if node.id in given:
                yield node


def test_where_the_counter_goes_is_known() -> None:
    """It is given to what counts, by a name that this module reads; nobody renames it."""
    known = {*takers(), "count=", "kept"}
    unknown = []
    for path, tree in trees().items():
        given: dict[ast.expr, str] = {}
        for node in nodes(tree):
            if isinstance(node, ast.Call):
                given |= dict.fromkeys(node.args, named(node.func))
                given |= {word.value: "count=" for word in node.keywords if word.arg in COUNTING}
            elif isinstance(node, ast.Assign) and KEPT.fullmatch(ast.unparse(node.targets[0])):
                given[node.value] = "kept"
        module = Module(path, tree)
        unknown += [
            f"{module.place(node)}: `{ast.unparse(node)}` goes where?"
            for node in handed_on(module)
            if given.get(node) not in known
        ]
    assert not unknown, "\n".join(unknown)


def test_every_drop_is_counted_by_the_counters() -> None:
    """Whatever else is called `drop` counts nothing; a new one is to be looked at."""
    others = {"self._addresses"}  # of known nodes: it lets go of an address
    unknown = [
        f"p2ptui/{path}:{node.lineno}: {ast.unparse(node)}"
        for path, tree in trees().items()
        for node in nodes(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == "drop"
        and not Module(path, tree).is_counter(node.func)
        and ast.unparse(node.func.value) not in others
    ]
    assert not unknown, "\n".join(unknown)


def test_every_reason_is_counted_somewhere_or_a_mistake() -> None:
    assert set().union(*RAISED.values(), NEVER_COUNTED) == set(Reason)


def test_the_usual_word_for_distrust_is_never_counted() -> None:
    """So it is no cause: each type that may be distrusted has its own."""
    for row in ROWS:
        if row.distrusted == "distrusted":
            assert row.sender is None
            assert row.trust in (Trust.STRANGER, Trust.CLAIMED) or row.doubted is not None


@pytest.mark.parametrize(
    ("code", "causes"),
    [
        ("self._state.counters.drop('late')", {"late"}),
        ("counters.drop('late' if late else 'early')", {"late", "early"}),
        ("counters.drops['late'] += 2", {"late"}),
        ("table = BoundedTable(3, full='late', expired='early')", {"late", "early"}),
        ("LATE: Final = 'late'\ncounters.drop(LATE)", {"late"}),
        ("BUDGET = Budget('late', over='late')", {"late"}),
    ],
)
def test_causes_are_found(code: str, causes: set[str]) -> None:
    assert {cause for cause, _ in Module("new.py", ast.parse(code)).causes()} == causes


@pytest.mark.parametrize(
    "code",
    [
        "counters.drop(why)",
        "counters.drop(why())",
        "counters.drop(f'late_{why}')",
        "counters.drop(self.why)",
        "counters.drop(*why)",
        "counters.drops[why] += 1",
        "BoundedTable(3, full=why)",
        "counters.drop('It is late')",
    ],
)
def test_what_is_not_understood_fails_with_its_place(code: str) -> None:
    with pytest.raises(NotUnderstoodError, match=r"^p2ptui/new\.py:2"):
        list(Module("new.py", ast.parse(f"\n{code}")).causes())
