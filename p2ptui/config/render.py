"""A configuration in writing: as TOML that loads again, and as tables for the documentation.

`python -m p2ptui.config.render config_example.toml docs/configuration.md`, at the top of
the repository, brings both files up to date.
"""

import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from p2ptui.config.option import Option, Shorthand
from p2ptui.config.sections import OPTIONS, Config
from p2ptui.config.security_section import NETWORK_KEY_VARIABLE

BEGIN_TABLES = "<!-- begin of what python -m p2ptui.config.render writes -->"
END_TABLES = "<!-- end of what python -m p2ptui.config.render writes -->"


def render_config(config: Config) -> str:
    """Write a configuration as TOML, each option under its meaning, bounds and unit.

    Args:
        config: What to write.

    Returns:
        A file's text; it loads to an equal configuration, but for passwords, which are masked.
    """
    blocks = ["# Every option of p2ptui. A line that is left out means the default.\n"]
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


def render_markdown() -> str:
    """Write every option as Markdown, a table for each section."""
    blocks = []
    for path, section in OPTIONS.sections.items():
        lines = [f"### `[{path}]`", "", f"{section.__doc__}", ""]
        lines += ["| option | default | accepts | meaning |", "| --- | --- | --- | --- |"]
        for option in OPTIONS.options:
            if option.section == path:
                names = ", ".join(f"`{name}`" for name in (option.name, *option.about.aliases))
                default = f"`{toml(option.default)}`"
                lines.append(_row(names, default, _accepts(option), option.about.meaning))
        for known in OPTIONS.by_path.values():
            if isinstance(known, Shorthand) and known.option.section == path:
                short = known.option
                lines.append(_row(f"`{short.name}`", "", _accepts(short), short.about.meaning))
        blocks.append("\n".join(lines) + "\n")
    return "\n".join(blocks)


def with_tables(page: str) -> str:
    """Put the tables of `render_markdown` between their marks in a page.

    Raises:
        ValueError: The page lacks a mark.
    """
    before, begin, rest = page.partition(BEGIN_TABLES)
    _, end, after = rest.partition(END_TABLES)
    if not begin or not end:
        raise ValueError(f"the page must hold {BEGIN_TABLES!r} and {END_TABLES!r}")
    return f"{before}{begin}\n\n{render_markdown()}\n{end}{after}"


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def _accepts(option: Option) -> str:
    return option.bounds + (f" ({option.about.unit})" if option.about.unit else "")


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
    """Bring files up to date: a .toml becomes the example, tables go into any other."""
    for path in map(Path, paths):
        is_example = path.suffix == ".toml"
        text = render_config(Config()) if is_example else with_tables(path.read_text("utf-8"))
        path.write_text(text, "utf-8", newline="\n")


if __name__ == "__main__":
    main(sys.argv[1:])
