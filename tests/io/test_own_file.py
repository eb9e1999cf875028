"""What others can write is not believed."""

import errno
import json
import sys
from pathlib import Path

import pytest

from p2ptui.errors import LocalError
from p2ptui.io.own_file import read_own_file, write_trouble
from p2ptui.node.known_nodes_store import KnownNodesStore
from p2ptui.secure.identity import PublicKeys
from p2ptui.secure.known_nodes import KnownNodes, Met, Trust

NOW = 1_795_000_000.0
MET = Met(PublicKeys(bytes(32), bytes(32)).id, PublicKeys(bytes(32), bytes(32)), "alice")

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="modes are of POSIX")


@pytest.mark.parametrize("mode", [0o600, 0o644, 0o400])
def test_what_its_user_alone_can_write_is_read(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"content")
    path.chmod(mode)
    assert read_own_file(path, 4) == b"cont"


@pytest.mark.parametrize("mode", [0o666, 0o620, 0o602, 0o660])
def test_known_nodes_that_others_can_write_are_not_believed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, mode: int
) -> None:
    path = tmp_path / "known_nodes.json"
    known = KnownNodes()
    known.note(MET, NOW)
    known.trust("alice", None, NOW)
    path.write_text(json.dumps(known.to_dict()))
    path.chmod(mode)
    before = path.read_bytes()
    store = KnownNodesStore(lambda: NOW, path)
    judgement = store.known.judge(MET)
    assert judgement.trust is Trust.NEW
    assert "may have been met before" in judgement.advice
    (line,) = caplog.messages
    assert line.startswith(f"{path}: cannot be read: others can change it (mode {mode:04o})")
    assert "chmod 600" in line
    with pytest.raises(LocalError):
        store.trust("alice")
    assert path.read_bytes() == before
    assert path.stat().st_mode & 0o777 == mode
    path.chmod(0o600)
    assert KnownNodesStore(lambda: NOW, path).known.judge(MET).trust is Trust.VERIFIED


def test_a_folder_that_is_missing_is_what_is_wrong(tmp_path: Path) -> None:
    """Permission is denied for the folder above: of the file alone that would say nothing."""
    denied, full = PermissionError(errno.EACCES, "denied"), OSError(errno.ENOSPC, "full")
    assert write_trouble(tmp_path / "file", denied) == "denied"
    assert write_trouble(tmp_path / "no" / "file", full) == "full"
    assert write_trouble(tmp_path / "no" / "file", denied) == (
        f"its folder {tmp_path / 'no'} does not exist, and cannot be made: denied"
    )
