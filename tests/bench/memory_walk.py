"""What is reachable from an object, counted by kind: the same on each machine and in each run."""

import gc
import sys
from collections import Counter
from collections.abc import Iterable
from types import BuiltinFunctionType, FunctionType, ModuleType

_SHARED = (type, ModuleType, BuiltinFunctionType)
"""Code exists once, however many peers there are; what a function has closed over does not."""


def held_by(roots: Iterable[object]) -> "tuple[Counter[str], Counter[str]]":
    """Everything that some objects hold, themselves included, each once.

    Returns:
        Bytes by kind, and the number of objects by kind.
    """
    sizes: Counter[str] = Counter()
    numbers: Counter[str] = Counter()
    seen: set[int] = set()
    waiting = list(roots)
    while waiting:
        one = waiting.pop()
        if id(one) in seen or isinstance(one, _SHARED):
            continue
        seen.add(id(one))
        kind = type(one).__qualname__
        sizes[kind] += sys.getsizeof(one)
        numbers[kind] += 1
        if isinstance(one, FunctionType):
            waiting += one.__closure__ or ()
        else:
            waiting += gc.get_referents(one)
    return sizes, numbers
