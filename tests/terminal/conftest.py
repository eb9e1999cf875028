"""Each test has a terminal of its own, which ends with it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.terminal.terminal import TMUX, Terminal


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    if TMUX is None:
        pytest.skip("tmux is not installed: no real terminal to test in")
    with Terminal(tmp_path) as opened:
        yield opened
