"""What is built holds what it should: no module of yesterday, and all that the tests need."""

import email
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from tests.patience import PATIENCE_S

ROOT = Path(__file__).parent.parent
COPIED = (
    *("p2ptui", "tests", "docs", "screenshots", ".build_backend", ".ci", ".github"),
    *("pyproject.toml", "README.md", "CHANGELOG.md", "LICENSE", "config_example.toml"),
)
NO_SOURCE = shutil.ignore_patterns("__pycache__", "*.pyc")

BUILD = """
import sys
sys.path.insert(0, ".build_backend")
import backend
print(getattr(backend, sys.argv[1])(sys.argv[2]))
"""


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """A copy of the sources as they are, with what an older version of them left behind."""
    checkout = tmp_path_factory.mktemp("checkout")
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, checkout / name, ignore=NO_SOURCE)
        else:
            shutil.copy(source, checkout)
    for folder in ("lib", "lib.linux-x86_64-cpython-311", "bdist.linux-x86_64"):
        stale = checkout / "build" / folder / "p2ptui" / "yesterday.py"
        stale.parent.mkdir(parents=True)
        stale.write_text("raise ImportError('this module was taken away')\n")
    return checkout


def build(checkout: Path, function: str, into: Path, **environment: str) -> Path:
    """Call the build backend as an installer does."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GITHUB_")}
    ran = subprocess.run(
        [sys.executable, "-c", BUILD, function, str(into)],
        cwd=checkout,
        env=kept | environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr[-2000:]
    return into / ran.stdout.splitlines()[-1]


def package_files(root: Path) -> set[str]:
    """The files of the package, by their names below its folder's parent."""
    files = (path for path in (root / "p2ptui").rglob("*") if path.is_file())
    return {path.relative_to(root).as_posix() for path in files if path.suffix != ".pyc"}


def packed(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return {name for name in archive.namelist() if ".dist-info/" not in name}


def test_a_wheel_holds_the_modules_of_now_and_nothing_else(checkout, tmp_path):
    assert packed(build(checkout, "build_wheel", tmp_path)) == package_files(ROOT)


def test_a_source_distribution_holds_what_its_tests_need_and_builds(checkout, tmp_path):
    archive = build(checkout, "build_sdist", tmp_path)
    with tarfile.open(archive) as opened:
        opened.extractall(tmp_path, filter="data")
    unpacked = archive.with_name(archive.name.removesuffix(".tar.gz"))

    meant = {
        path.relative_to(checkout).as_posix()
        for name in COPIED
        for path in (checkout / name, *(checkout / name).rglob("*"))
        if path.is_file() and path.suffix != ".pyc"
    }
    there = {p.relative_to(unpacked).as_posix() for p in unpacked.rglob("*") if p.is_file()}
    assert meant <= there
    assert not [name for name in there if "__pycache__" in name]
    wheel = build(unpacked, "build_wheel", tmp_path)
    assert packed(wheel) == package_files(ROOT)


def test_every_tracked_file_is_in_the_source_distribution(checkout):
    ran = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    if ran.returncode:
        pytest.skip("not a git checkout")
    tracked = {line.split("/")[0] for line in ran.stdout.splitlines()}
    assert tracked - {".gitignore"} <= set(COPIED)


IGNORED = ROOT / "docs" / "deploy" / "Containerfile.dockerignore"
"""Of a build with the Containerfile beside it, for podman and docker alike."""


def test_the_build_of_a_container_sees_what_the_package_is_built_of(tmp_path):
    seen = re.findall(r"^!(\S+)$", IGNORED.read_text("utf-8"), re.MULTILINE)
    context, into = tmp_path / "context", tmp_path / "wheel"
    context.mkdir()
    into.mkdir()
    for name in seen:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, context / name, ignore=NO_SOURCE)
        else:
            shutil.copy(ROOT / name, context)
    wheel = build(context, "build_wheel", into)
    assert packed(wheel) == package_files(ROOT)
    with zipfile.ZipFile(wheel) as archive:
        assert any(name.endswith("/LICENSE") for name in archive.namelist())


def description(wheel: Path) -> str:
    """What the package index shows of a wheel."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        message = email.message_from_bytes(archive.read(name))
    assert message["Description-Content-Type"] == "text/markdown"
    return message.get_payload(decode=True).decode()


LINKS = re.compile(r"(!?)\[[^]]*\]\(([^)\s]+)\)")


def test_the_package_index_shows_links_and_pictures_that_work(checkout, tmp_path):
    wheel = build(checkout, "build_wheel", tmp_path, GITHUB_REPOSITORY="somebody/p2ptui")
    version = wheel.name.split("-")[1]

    links = LINKS.findall(description(wheel))

    assert len(links) > 40
    for mark, target in links:
        kind = "raw" if mark else "blob"
        there = target.removeprefix(f"https://github.com/somebody/p2ptui/{kind}/v{version}/")
        assert (ROOT / there.partition("#")[0]).exists(), target


def test_where_the_repository_is_not_known_no_link_leads_nowhere(checkout, tmp_path):
    text = description(build(checkout, "build_wheel", tmp_path))

    assert "what an attacker can do" in text.lower()
    assert [link for link in LINKS.findall(text) if "://" not in link[1]] == []
    assert "<!--" not in text


READ_ONLY = """
import sys
sys.path.insert(0, ".build_backend")
import backend
backend.is_writable = lambda: False  # root may write everywhere
print(getattr(backend, sys.argv[1])(*sys.argv[2:]))
"""


def test_a_wheel_is_built_of_a_checkout_that_is_read_only(checkout, tmp_path):
    copy, into = tmp_path / "checkout", tmp_path / "wheel"
    into.mkdir()
    shutil.copytree(checkout, copy)
    names = sorted(path.relative_to(copy).as_posix() for path in copy.rglob("*"))
    for path in (*copy.rglob("*"), copy):
        path.chmod(0o555 if path.is_dir() else 0o444)
    for hook in (
        ["get_requires_for_build_wheel"],
        ["prepare_metadata_for_build_wheel", str(into)],
        ["build_wheel", str(into)],
    ):  # each in a process of its own, as pip does it
        ran = subprocess.run(
            [sys.executable, "-B", "-c", READ_ONLY, *hook],
            cwd=copy,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )
        assert ran.returncode == 0, ran.stderr[-2000:]
    assert packed(into / ran.stdout.splitlines()[-1]) == package_files(ROOT)
    assert names == sorted(path.relative_to(copy).as_posix() for path in copy.rglob("*"))
    for path in (copy, *copy.rglob("*")):
        path.chmod(0o755)
