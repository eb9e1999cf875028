"""Real event loops, for tests of what is done with real sockets."""

import asyncio
import warnings
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

import pytest

from tests.patience import PATIENCE_S

Run: TypeAlias = Callable[[Callable[[], Awaitable[None]]], None]


@pytest.fixture(params=["plain", "uvloop"])
def run(request: pytest.FixtureRequest) -> Run:
    """Runs a coroutine on the loop of the parameter; a test that hangs fails."""
    factory: Any = asyncio.SelectorEventLoop
    if request.param == "uvloop":
        factory = pytest.importorskip("uvloop").new_event_loop

    def run(story: Callable[[], Any]) -> None:
        with asyncio.Runner(loop_factory=factory) as runner:
            try:
                runner.run(asyncio.wait_for(story(), PATIENCE_S))
            except BaseException:
                warnings.simplefilter("ignore", ResourceWarning)
                raise

    return run
