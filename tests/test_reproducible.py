"""Two builds of the same sources have the same hash, wherever, whenever and by whoever made."""

import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from tests.patience import PATIENCE_S
from tests.test_packaging import BUILD, COPIED, NO_SOURCE, ROOT

WHEN = 1_700_000_000


def checkout(at: Path, *, seen: float, mode: int) -> Path:
    """A copy of the sources, as somebody else has it: other times, other rights."""
    at.mkdir(parents=True)
    for name in COPIED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, at / name, ignore=NO_SOURCE)
        else:
            shutil.copy(ROOT / name, at)
    for path in at.rglob("*"):
        os.utime(path, (seen, seen))
        if path.is_file():
            path.chmod(mode | (path.stat().st_mode & 0o100))
    return at


def built(function: str, at: Path, into: Path, when: int | None = WHEN, umask: int = 0o022) -> Path:
    environ = {name: value for name, value in os.environ.items() if name != "SOURCE_DATE_EPOCH"}
    ran = subprocess.run(
        [sys.executable, "-c", BUILD, function, str(into)],
        cwd=at,
        env=environ if when is None else environ | {"SOURCE_DATE_EPOCH": str(when)},
        umask=umask,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr[-2000:]
    return into / ran.stdout.splitlines()[-1]


def hash_of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def folder(path: Path) -> Path:
    path.mkdir()
    return path


def test_two_builds_have_the_same_hash(tmp_path: Path) -> None:
    one = checkout(tmp_path / "one", seen=1_600_000_000, mode=0o644)
    other = checkout(tmp_path / "another" / "place", seen=1_650_000_000, mode=0o600)
    first, second, third = (folder(tmp_path / name) for name in ("1", "2", "3"))

    sdist = built("build_sdist", one, first)
    again = built("build_sdist", other, second, umask=0o077)
    assert sdist.name == again.name
    assert hash_of(sdist) == hash_of(again)

    wheel = built("build_wheel", one, first)
    assert hash_of(wheel) == hash_of(built("build_wheel", other, second, umask=0o077))

    # The files of a source distribution bear the time: nobody has to know it.
    with tarfile.open(sdist) as opened:
        opened.extractall(tmp_path, filter="data")
    unpacked = tmp_path / sdist.name.removesuffix(".tar.gz")
    assert hash_of(wheel) == hash_of(built("build_wheel", unpacked, third, when=None))


def test_the_time_is_that_of_the_commit(tmp_path: Path) -> None:
    if shutil.which("git") is None:
        pytest.skip("no git")
    sys.path.insert(0, str(ROOT / ".build_backend"))
    try:
        from reproducible import source_date
    finally:
        sys.path.pop(0)
    before = Path.cwd()
    os.chdir(tmp_path)
    try:
        subprocess.run(["git", "init", "-q"], check=True)
        identity = ["-c", "user.name=a", "-c", "user.email=a@example"]
        environ = {**os.environ, "GIT_COMMITTER_DATE": f"{WHEN} +0000"}
        commit = ["git", *identity, "commit", "-q", "--allow-empty", "-m", "x"]
        subprocess.run(commit, env=environ, check=True)
        with pytest.MonkeyPatch.context() as patch:
            patch.delenv("SOURCE_DATE_EPOCH", raising=False)
            assert source_date() == WHEN
            patch.setenv("SOURCE_DATE_EPOCH", "1234567890")
            assert source_date() == 1_234_567_890
            patch.setenv("SOURCE_DATE_EPOCH", "yesterday")
            with pytest.raises(SystemExit, match="SOURCE_DATE_EPOCH = 'yesterday'"):
                source_date()
    finally:
        os.chdir(before)
