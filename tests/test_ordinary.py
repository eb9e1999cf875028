"""A file that is named never keeps its reader waiting, and takes no more memory than its limit."""

import os
from pathlib import Path

import pytest

from p2ptui.node.state_file import MAX_FILE_BYTES, StateFile
from p2ptui.ordinary import read_ordinary
from p2ptui.tui.history import MAX_HISTORY_BYTES, History
from p2ptui.tui.settings import MAX_SETTINGS_BYTES, Settings

pipes = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="named pipes are of POSIX systems")


def test_up_to_the_limit_it_is_read_whole(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"12345")
    assert read_ordinary(path, 5) == b"12345"
    with pytest.raises(OSError, match="it is larger than 4 bytes"):
        read_ordinary(path, 4)


@pipes
def test_a_pipe_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="it is a pipe or a device"):
        read_ordinary(tmp_path / "pipe", 5)


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="there are no such devices")
def test_a_device_is_refused_at_once() -> None:
    with pytest.raises(OSError, match="it is a pipe or a device"):
        read_ordinary(Path("/dev/zero"), 5)


@pipes
def test_what_the_program_remembers_may_be_a_pipe_or_too_large(tmp_path: Path) -> None:
    """It is as if there was nothing."""
    path = tmp_path / "file"
    os.mkfifo(path)
    assert StateFile("file", "nothing", path).read() is None
    assert History(path).entries == ()
    assert Settings(path).text("theme") == ""
    path.unlink()
    path.write_text('{"theme": "' + "x" * MAX_SETTINGS_BYTES + '"}')
    assert Settings(path).text("theme") == ""
    path.write_text('"' + "x" * MAX_FILE_BYTES + '"')
    assert StateFile("file", "nothing", path).read() is None
    path.write_text("x\n" * (MAX_HISTORY_BYTES // 2 + 1))
    assert History(path).entries == ()
