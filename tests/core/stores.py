"""Who changes the fields of a part from outside of it, found by the fields' names in the source."""

import ast
import inspect
from collections.abc import Iterable, Iterator
from pathlib import Path

PACKAGE = Path(__file__).parents[2] / "p2ptui"


def fields_of(parts: Iterable[type]) -> set[str]:
    """The fields of some parts, all of which have slots."""
    return {name for part in parts for name in part.__slots__}  # type: ignore[attr-defined]


def stores(source: str, fields: set[str]) -> Iterator[str]:
    """Where a module assigns to, or deletes, a field of something that is not `self`: whatever the
    variable is called that holds it."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Attribute(ctx=ast.Store() | ast.Del(), attr=attr, value=owner):
                if attr in fields and ast.unparse(owner) != "self":
                    yield ast.unparse(node)
            case ast.Call(func=ast.Name(id="setattr"), args=[owner, ast.Constant(value=attr), _]):
                if attr in fields:
                    yield f"{ast.unparse(owner)}.{attr}"


def all_stores(parts: Iterable[type], *, under: str = "") -> set[str]:
    """`module: variable.field` of all of them, but in the modules of the parts themselves."""
    parts = list(parts)
    own = {Path(inspect.getfile(part)) for part in parts}
    return {
        f"{path.relative_to(PACKAGE)}: {store}"
        for path in sorted((PACKAGE / under).rglob("*.py"))
        if path not in own
        for store in stores(path.read_text("utf-8"), fields_of(parts))
    }
