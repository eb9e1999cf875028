"""A configuration in writing: as TOML that loads again, and as tables for the documentation.

`python -m p2ptui.config.render config_example.toml docs/configuration.md
docs/zh-CN/configuration.md`, at the top of the repository, brings these files up to date.
"""

import inspect
import sys
import textwrap
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from p2ptui.config.cluster_section import CLUSTER_RULES, CLUSTER_WARNINGS
from p2ptui.config.nat_sections import STUN_RULES
from p2ptui.config.option import Option, Rule, Shorthand
from p2ptui.config.sections import ASCENDING, OPTIONS, RULES, WARNINGS, Config
from p2ptui.config.security_section import (
    KEY_RULES,
    KEY_WARNINGS,
    NETWORK_KEY_VARIABLE,
    OPEN_BY_ID,
)
from p2ptui.text import between

Language: TypeAlias = Callable[[str, str], str]
"""Says an English text, which an option or a section has, in another language."""

BEGIN_TABLES = "<!-- begin of what python -m p2ptui.config.render writes -->"
END_TABLES = "<!-- end of what python -m p2ptui.config.render writes -->"


def render_config(config: Config) -> str:
    """Write a configuration as TOML, each option under its meaning, bounds and unit.

    Args:
        config: What to write.

    Returns:
        A file's text; it loads to an equal configuration, but for passwords, which are masked.
    """
    blocks = ["# Every option of p2ptui. Lines you leave out keep their defaults.\n"]
    for path, section in OPTIONS.sections.items():
        lines = ["", f"# {section.__doc__}", f"[{path}]"]
        for option in OPTIONS.options:
            if option.section == path:
                meaning = option.about.meaning
                lines += textwrap.wrap(meaning, 98, initial_indent="# ", subsequent_indent="# ")
                value = toml(option.shown(option.value_in(config)))
                lines.append(f"{option.name} = {value}  # {_accepts(option)}")
        if path == "security" and config.network_key is not None:
            lines.append(f"# {NETWORK_KEY_VARIABLE} is set; the key is never printed.")
        blocks.append("\n".join(lines) + "\n")
    return "".join(blocks)


def config_json(config: Config) -> dict[str, Any]:
    """A configuration as a JSON file has it, which loads to an equal one, but for passwords.

    Args:
        config: What to write.
    """
    tree: dict[str, Any] = {}
    for option in OPTIONS.options:
        section = tree
        for name in option.section.split("."):
            section = section.setdefault(name, {})
        section[option.name] = option.shown(option.value_in(config))
    return tree


def in_english(text: str, _where: str) -> str:
    """A text as it is in the code."""
    return text


def render_markdown(say: Language = in_english) -> str:
    """Write every option as Markdown, a table for each section, and the rules between options.

    Args:
        say: The language.
    """
    heads = ("option", "default", "accepts", "meaning")
    blocks = []
    for path, section in OPTIONS.sections.items():
        lines = [f"### `[{path}]`", "", say(str(section.__doc__), f"[{path}]"), ""]
        lines += [_row(*(say(head, "the head of a table") for head in heads))]
        lines += [_row(*["---"] * len(heads))]
        for option in OPTIONS.options:
            if option.section == path:
                names = ", ".join(f"`{name}`" for name in (option.name, *option.about.aliases))
                default = f"`{toml(option.default)}`"
                lines.append(_option_row(option, names, default, say))
        for known in OPTIONS.by_path.values():
            if isinstance(known, Shorthand) and known.option.section == path:
                lines.append(_option_row(known.option, f"`{known.option.name}`", "", say))
        blocks.append("\n".join(lines) + "\n")
    return "\n".join([*blocks, *(f"{text}\n" for text in _rules(say))])


def _rules(say: Language) -> Iterator[str]:
    """The rules between options, as the functions state them that check them."""
    where = "the rules between options"
    yield say("### Rules between options", where)
    yield say("A configuration that breaks one of these is refused:", where)
    ascending = [f"`{low}` must not exceed `{high}`." for low, high in ASCENDING]
    refused: tuple[Rule, ...] = (*RULES, *STUN_RULES, *KEY_RULES, *CLUSTER_RULES)
    yield "\n".join(f"- {say(text, where)}" for text in (*ascending, *map(_stated, refused)))
    yield say(
        "These are accepted, and the node and `--check-config` give a warning about each:", where
    )
    warned: tuple[Rule, ...] = (*WARNINGS, *KEY_WARNINGS, *CLUSTER_WARNINGS)
    by_id = f"`server.node_id`{OPEN_BY_ID.removeprefix('server.node_id')}."
    yield "\n".join(f"- {say(text, where)}" for text in (*map(_stated, warned), by_id))


def _stated(rule: Rule) -> str:
    """A rule in one line."""
    return " ".join((inspect.getdoc(rule) or "").partition("\n\n")[0].split())


def with_tables(page: str, say: Language = in_english) -> str:
    """Put what `render_markdown` writes between its marks in a page.

    Raises:
        ValueError: The page lacks a mark.
    """
    return between(page, BEGIN_TABLES, END_TABLES, render_markdown(say))


def _option_row(option: Option, names: str, default: str, say: Language) -> str:
    meaning = say(option.about.meaning, option.path)
    return _row(names, default, _accepts(option, say), meaning)


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def _accepts(option: Option, say: Language = in_english) -> str:
    unit = option.about.unit
    return say(f"{option.bounds} ({unit})" if unit else option.bounds, option.path)


def toml(value: object) -> str:
    """Write the value of an option."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return '"' + "".join(map(_toml_character, value)) + '"'
    if isinstance(value, tuple):
        return "[" + ", ".join(map(toml, value)) + "]"
    if isinstance(value, dict):
        pairs = ", ".join(f"{toml(key)} = {toml(part)}" for key, part in value.items())
        return f"{{ {pairs} }}" if pairs else "{}"
    return repr(value)


def _toml_character(character: str) -> str:
    if character in '"\\':
        return f"\\{character}"
    # Unseen characters are escaped, so that printing a configuration is harmless.
    return character if character.isprintable() else f"\\U{ord(character):08x}"


def main(paths: Sequence[str]) -> None:
    """Bring files up to date: a .toml becomes the example, tables go into any other, in the
    language of the texts that lie beside it."""
    # Of a checkout, and no node's.
    from p2ptui.config.translation import MissingTranslationError, translation_beside

    texts: dict[Path, str] = {}
    for path in map(Path, paths):
        if path.suffix == ".toml":
            texts[path] = render_config(Config())
            continue
        say = translation_beside(path) or in_english
        try:
            texts[path] = with_tables(path.read_text("utf-8"), say)
        except MissingTranslationError as error:
            raise SystemExit(str(error)) from None
    for path, text in texts.items():  # all or none: they are compared with each other
        path.write_text(text, "utf-8", newline="\n")


if __name__ == "__main__":
    main(sys.argv[1:])
