"""Whatever grows in core/ and nat/ is of a type that has a limit, or says why others cannot fill it."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "p2ptui"
GROWING = {"dict", "OrderedDict", "Counter", "defaultdict", "set", "list", "deque"}


def is_growing(value: ast.expr | None) -> bool:
    """Whether an expression makes something empty that can grow without a limit."""
    match value:
        case ast.Dict(keys=[]) | ast.List(elts=[]) | ast.DictComp() | ast.ListComp():
            return True
        case ast.Call(func=ast.Name(id="field"), keywords=keywords):
            makers = {keyword.arg: keyword.value for keyword in keywords}
            maker = makers.get("default_factory")
            if isinstance(maker, ast.Lambda):
                return is_growing(maker.body)
            return isinstance(maker, ast.Name) and maker.id in GROWING
        case ast.Call(func=ast.Name(id=name) | ast.Subscript(value=ast.Name(id=name)), args=args):
            # `deque(maxlen=...)` has a limit; what is made of something is as large as that.
            has_limit = any(keyword.arg == "maxlen" for keyword in value.keywords)
            return name in GROWING and not args and not has_limit
    return False


def attributes(tree: ast.Module) -> Iterator[tuple[str, ast.expr | None]]:
    """`Class.attribute` and what it is made of: in `__init__`, or as a field of a dataclass."""
    for owner in ast.walk(tree):
        if not isinstance(owner, ast.ClassDef):
            continue
        makers = [
            statement
            for method in owner.body
            if isinstance(method, ast.FunctionDef)
            and method.name in ("__init__", "__post_init__", "__new__")
            for statement in ast.walk(method)
        ]
        for statement in (*owner.body, *makers):
            targets = []
            if isinstance(statement, ast.Assign):
                targets = statement.targets
            elif isinstance(statement, ast.AnnAssign):
                targets = [statement.target]
            for target in targets:
                if isinstance(target, ast.Attribute):
                    yield f"{owner.name}.{target.attr}", statement.value
                elif isinstance(target, ast.Name) and statement in owner.body:
                    yield f"{owner.name}.{target.id}", statement.value


def unbounded(source: str) -> set[str]:
    """The attributes in a module that can grow, but for lists of listeners, which parts fill."""
    return {
        name
        for name, value in attributes(ast.parse(source))
        if is_growing(value) and not name.rpartition(".")[2].startswith("on_")
    }


if __name__ == "__main__":
    for floor in ("core", "nat"):
        for path in sorted((PACKAGE / floor).rglob("*.py")):
            for name in sorted(unbounded(path.read_text("utf-8"))):
                print(f"{path.relative_to(PACKAGE)}: {name}")
