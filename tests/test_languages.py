"""The documents in Chinese keep step with those in English: same structure, same examples.

A page in `docs/zh-CN` translates the page of the same name in `docs`; README.md is the one at the
top. What is not prose must be the same in both: headings and their levels, code, tables, names of
options and commands, and where links lead.
"""

import re
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

from p2ptui.config import render
from p2ptui.config.option import Shorthand
from p2ptui.config.render import OPTIONS, with_tables
from p2ptui.config.translation import MissingTranslationError, Translation, translation_beside
from tests.test_docs import Block, blocks, by_name, run_example

ROOT = Path(__file__).parent.parent
CHINESE = ROOT / "docs" / "zh-CN"

PAGES = (
    "README",
    "quick-start",
    "overview",
    "protocol",
    "discovery",
    "routing",
    "server",
    "client",
    "configuration",
    "troubleshooting",
)
"""What a Chinese reader must find; other pages may be translated too."""


def english_of(page: Path) -> Path:
    """The page that a Chinese one translates."""
    return ROOT / "README.md" if page.name == "README.md" else ROOT / "docs" / page.name


TRANSLATED = sorted(path for path in CHINESE.glob("*.md") if path.name != "TERMS.md")
BOTH = [page for path in TRANSLATED for page in (path, english_of(path)) if page.is_file()]


def by_page(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


translated = pytest.mark.parametrize("page", TRANSLATED, ids=by_page)


class Code(NamedTuple):
    """A block of code, as far as both languages must have it alike."""

    language: str
    text: str


class Heading(NamedTuple):
    level: int
    slug: str
    """By which it can be linked to."""


class Parts(NamedTuple):
    """What a page is made of."""

    headings: tuple[Heading, ...]
    code: tuple[Code, ...]
    tables: tuple[tuple[int, int], ...]
    """Rows and columns of each."""
    names: Counter[str]
    """What is set as code in the text: options, commands, messages."""
    targets: tuple[str, ...]
    """Where links lead."""


FENCE = re.compile(r"^ *```([^\n]*)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
MAY_DIFFER = 0.02
"""Of the names on a page, how many may be there more or less often than in the other language."""
HAS_COMMENTS = {"sh", "bash", "python", "toml", "ini", "yaml", "systemd"}
COMMENT = re.compile(r"(^|(?<=\s))#(?!!).*$", re.MULTILINE)
HEADING = re.compile(r"^(#+) (.+)$", re.MULTILINE)
NAME = re.compile(r"(`+)(?!`)(.+?)(?<!`)\1(?!`)", re.DOTALL)
LINK = re.compile(r"\]\(([^)\s]+)\)")
TABLE = re.compile(r"(?:^ *\|.*\|$\n?)+", re.MULTILINE)


def code_in(text: str) -> Iterator[Code]:
    """Blocks of code, without what their comments say."""
    for language, block in FENCE.findall(text):
        kept = COMMENT.sub("#", block) if language.split(" ")[0] in HAS_COMMENTS else block
        yield Code(language, re.sub(r"[ \t]+#$", " #", kept, flags=re.MULTILINE))


def headings_in(prose: str) -> Iterator[Heading]:
    """Headings, with the anchors that GitHub gives them."""
    seen: Counter[str] = Counter()
    for marks, text in HEADING.findall(prose):
        shown = LINK.sub("", text.replace("[", "")).strip()
        slug = re.sub(r"[^\w\- ]", "", shown).lower().replace(" ", "-")
        yield Heading(len(marks), f"{slug}-{seen[slug]}" if seen[slug] else slug)
        seen[slug] += 1


@cache
def parts_of(path: Path) -> Parts:
    text = path.read_text("utf-8")
    prose = FENCE.sub("", text)
    names = Counter(" ".join(name.split()) for _, name in NAME.findall(prose))
    tables = (table.strip().splitlines() for table in TABLE.findall(NAME.sub("", prose)))
    return Parts(
        headings=tuple(headings_in(prose)),
        code=tuple(code_in(text)),
        tables=tuple((len(rows), rows[0].count("|") - 1) for rows in tables),
        names=names,
        targets=tuple(LINK.findall(NAME.sub("", prose))),
    )


def where_to(page: Path, target: str) -> tuple[str, int] | None:
    """Where a link leads, alike for both languages; None between a page and its translation.

    Returns:
        The page in English, or what else it is, and the place of a heading there.
    """
    if "://" in target or target.startswith("mailto:"):
        return None if f"docs/zh-CN/{page.name}" in target else (target, -1)
    name, _, anchor = target.partition("#")
    linked = (page.parent / name).resolve() if name else page
    assert linked.exists(), f"{by_page(page)} links to {target}, and there is no such file"
    slugs = [heading.slug for heading in parts_of(linked).headings] if anchor else []
    assert not anchor or anchor in slugs, f"{by_page(page)} links to {target}: no such heading"
    place = slugs.index(anchor) if anchor else -1
    is_chinese = linked.parent == CHINESE and linked.suffix == ".md"
    meant = english_of(linked) if is_chinese else linked
    own = english_of(page) if page.parent == CHINESE else page
    if meant == own and linked != page:
        return None
    return by_page(meant), place


# --- what there must be


@pytest.mark.parametrize("name", PAGES)
def test_a_page_that_must_be_there_in_chinese_is(name: str) -> None:
    page = CHINESE / f"{name}.md"
    if english_of(page).is_file():
        assert page.is_file(), f"{by_page(english_of(page))} has no translation {by_page(page)}"


@translated
def test_a_page_and_its_translation_begin_with_a_link_to_each_other(page: Path) -> None:
    for this, other in ((page, english_of(page)), (english_of(page), page)):
        first = this.read_text("utf-8").partition("\n")[0]
        linked = [(this.parent / target).resolve() for target in LINK.findall(first)]
        assert linked == [other], by_page(this)


@translated
def test_a_chinese_page_translates_an_english_one_and_is_in_chinese(page: Path) -> None:
    assert english_of(page).is_file()
    prose = NAME.sub("", FENCE.sub("", page.read_text("utf-8")))
    for paragraph in re.split(r"\n\s*\n", prose):
        words = re.findall(r"[A-Za-z]{2,}", LINK.sub("", paragraph))
        is_prose = len(words) >= 12 and not paragraph.lstrip().startswith(("|", "<", "!["))
        assert not is_prose or re.search(r"[\u4e00-\u9fff]", paragraph), paragraph


# --- what must be the same


@translated
def test_headings_are_the_same(page: Path) -> None:
    english = [heading.level for heading in parts_of(english_of(page)).headings]
    assert [heading.level for heading in parts_of(page).headings] == english


@translated
def test_code_is_the_same_but_for_comments(page: Path) -> None:
    assert parts_of(page).code == parts_of(english_of(page)).code


@translated
def test_tables_are_of_the_same_size(page: Path) -> None:
    assert parts_of(page).tables == parts_of(english_of(page)).tables


@translated
def test_the_same_options_commands_and_messages_are_named(page: Path) -> None:
    ours, english = parts_of(page).names, parts_of(english_of(page)).names
    assert sorted(english.keys() - ours.keys()) == [], "not named in Chinese"
    assert sorted(ours.keys() - english.keys()) == [], "not named in English"
    # One language may repeat a name where the other has a pronoun.
    differ = (ours - english) | (english - ours)
    assert differ.total() <= english.total() * MAY_DIFFER, differ


@translated
def test_links_lead_to_the_same_places(page: Path) -> None:
    def places(of: Path) -> Counter[tuple[str, int]]:
        found = (where_to(of, target) for target in parts_of(of).targets)
        return Counter(place for place in found if place is not None)

    assert places(page) == places(english_of(page))


@translated
def test_a_chinese_page_sends_its_readers_to_pages_in_chinese_where_there_are_some(
    page: Path,
) -> None:
    in_chinese = {english_of(other): other for other in TRANSLATED}
    for target in parts_of(page).targets[1:]:
        linked = (page.parent / target.partition("#")[0]).resolve()
        assert linked not in in_chinese, f"{by_page(page)} links to {target}, which is in Chinese"


# --- what must be true


EXAMPLES = [block for page in BOTH for block in blocks(page, "python")]


@pytest.mark.parametrize("block", EXAMPLES, ids=by_name)
def test_an_example_runs_in_both_languages(block: Block) -> None:
    run_example(block)


def test_the_chinese_reference_of_options_is_fresh_and_complete() -> None:
    path = CHINESE / "configuration.md"
    say = translation_beside(path)
    assert say is not None
    page = path.read_text("utf-8")
    assert page == with_tables(page, say), render.__doc__


def test_a_missing_translation_names_the_option() -> None:
    say = translation_beside(CHINESE / "configuration.md")
    assert say is not None

    def forgetful(text: str, where: str) -> str:
        knows = Translation({}) if where == "server.max_connections" else say
        return knows(text, where)

    with pytest.raises(MissingTranslationError, match=r"^server\.max_connections: options\.toml"):
        with_tables((CHINESE / "configuration.md").read_text("utf-8"), forgetful)


def test_the_reference_names_every_option_in_both_languages() -> None:
    for page in (CHINESE / "configuration.md", ROOT / "docs" / "configuration.md"):
        names = parts_of(page).names
        for path, known in OPTIONS.by_path.items():
            option = known.option if isinstance(known, Shorthand) else known
            assert path.rpartition(".")[2] in names or path in names, option.path


def test_a_translation_with_a_gap_translates_what_is_in_it() -> None:
    say = Translation({"a list of {}": "{} 的列表", "numbers": "数"})

    assert say("a list of numbers", "x") == "数 的列表"
    assert say("a list of 12", "x") == "12 的列表"
    assert say.used == {"a list of {}", "numbers"}


def test_english_pages_lie_beside_no_texts() -> None:
    assert translation_beside(ROOT / "docs" / "configuration.md") is None
