"""The stored pictures show the screen as it is now, in three sizes and two themes."""

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.screenshots import COMMAND, FOLDER

SIZES = {"wide": "200x60", "overview": "120x40", "narrow": "80x24"}
PICTURES = (
    *(prefix + name for prefix in ("", "light-") for name in SIZES),
    "changed",
    "detail",
    "filter",
    "help",
    "nat",
)

pytestmark = pytest.mark.skipif(
    sys.platform == "win32", reason="Windows cannot set the time zone of a process"
)


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("screenshots")
    # A process of its own, so that nothing that another test did is on the pictures.
    ran = subprocess.run(
        [sys.executable, "-m", "tests.screenshots", str(folder)],
        cwd=FOLDER.parent,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert ran.returncode == 0, ran.stderr[-2000:]
    return folder


def text_of(path: Path) -> str:
    """The words on a picture."""
    texts = re.findall(r"<text[^>]*>([^<]*)</text>", path.read_text("utf-8"))
    return " ".join(texts).replace("&#160;", " ")


@pytest.mark.parametrize("name", PICTURES)
def test_a_stored_picture_shows_the_screen_as_it_is(name: str, fresh: Path) -> None:
    stored = FOLDER / f"{name}.svg"
    assert stored.exists(), f"{stored.name} is missing; make it with: {COMMAND}"
    # Compared outside the assert: a difference of 100 kB is not worth printing.
    same = stored.read_text("utf-8") == (fresh / stored.name).read_text("utf-8")
    assert same, f"{stored.name} is stale; look at what changed, then run: {COMMAND}"


def test_there_are_no_other_pictures(fresh: Path) -> None:
    for folder in (FOLDER, fresh):
        assert {path.stem for path in folder.glob("*.svg")} == set(PICTURES)


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("overview", lambda text: "bob" in text and "203.0.113.7:8080" in text),
        ("detail", lambda text: "tide gauge" in text and "requires_ack" in text),
        ("filter", lambda text: "sensor" in text and not {"→", "⇒"} & set(text)),
        ("changed", lambda text: "carol is not the carol of before" in text),
        ("help", lambda text: "connect ADDR" in text),
        ("nat", lambda text: "port-restricted-cone: sure" in text and "Diagnose" in text),
    ],
)
def test_a_picture_shows_what_it_is_named_for(
    name: str, shown: Callable[[str], bool], fresh: Path
) -> None:
    assert shown(text_of(fresh / f"{name}.svg"))


def test_the_readme_shows_pictures_that_exist() -> None:
    readme = (FOLDER.parent / "README.md").read_text("utf-8")
    shown = re.findall(r"\]\(screenshots/([\w-]+)\.svg\)", readme)
    assert {"overview", "nat", "narrow", "light-overview"} <= set(shown)
    assert set(shown) <= set(PICTURES)
