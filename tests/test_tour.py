"""The pages for newcomers show what really comes; see tests/tour.py."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.patience import PATIENCE_S
from tests.tour import LABORATORY, ROOT, blocks, differences, fits

PAGES = sorted(page for page in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")) if blocks(page))
CHINESE = ROOT / "docs" / "zh-CN"


def laboratory(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [LABORATORY, *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )


@pytest.fixture(scope="module")
def requires_namespaces() -> None:
    if sys.platform != "linux" or not shutil.which("bash"):
        pytest.skip("needs Linux and bash")
    tried = laboratory("port-restricted", "port-restricted", "true")
    if tried.returncode:
        pytest.skip(tried.stderr)


@pytest.mark.usefixtures("requires_namespaces")
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_shows_what_really_comes(page: Path) -> None:
    """On a busy machine a search may take longer than the page's command: it has a second try."""
    assert "".join(differences(page) and differences(page)) == ""


def test_the_readme_is_one_of_them() -> None:
    assert ROOT / "README.md" in PAGES


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_chinese_page_shows_the_same(page: Path) -> None:
    assert blocks(CHINESE / page.name) == blocks(page)


@pytest.mark.usefixtures("requires_namespaces")
def test_a_nat_that_does_not_exist_is_one_clear_line() -> None:
    ended = laboratory("hexagonal")
    assert ended.returncode == 2
    assert ended.stderr == "laboratory: a NAT is port-restricted or symmetric, not hexagonal\n"


@pytest.mark.usefixtures("requires_namespaces")
def test_what_was_started_in_the_laboratory_ends_with_it() -> None:
    """Its output is a pipe here, which anything left running would keep open."""
    nats = ("port-restricted", "port-restricted")
    started = "on alice sleep 1000 & on bob sh -c 'trap : TERM; sleep 1000; sleep 1000' & exit 3"
    assert laboratory(*nats, "sh", "-c", started).returncode == 3


@pytest.mark.parametrize(
    ("shown", "came", "same"),
    [
        ("1: 0.619 ms from 5.0.0.20:51090", "1: 21 ms from 5.0.0.10:8080 by relay", True),
        ("PING alice, relay", "PING alice, direct", True),
        ("delivered 171 bytes (direct)", "not delivered: 9 bytes (relay)", False),
        ("delivered 171 bytes (direct) in 1 ms", "delivered 9 bytes (relay)", True),
        ("NAT type   open (sure)", "NAT type open (sure)", True),
        ("NAT type   open (sure)", "NAT type open (weak)", False),
        ("id f46fda13", "id 344b13b6", True),
        ("id f46fda13", "id alice", False),
    ],
)
def test_what_differs_each_time_may_differ(shown: str, came: str, same: bool) -> None:
    assert fits([shown], [came]) is same


def test_dots_stand_for_any_lines() -> None:
    assert fits(["one", "...", "four"], ["one", "two", "three", "four"])
    assert not fits(["one", "...", "four"], ["one", "two", "three"])
    assert not fits(["one"], ["one", "two"])
