"""Updates everything that is generated from the command line's parsers.

`python -m p2ptui.commands.render`, at the top of the repository, writes docs/commands.md, the
manual page and the completion scripts. The scripts are made by shtab, in the extra `test`.
"""

import argparse
import re
from pathlib import Path
from typing import Final

from p2ptui.commands import command_parser
from p2ptui.commands.completion import SHELLS
from p2ptui.commands.help import parsers, topics
from p2ptui.commands.node_options import ALL_COMMANDS, node_parser
from p2ptui.manual.arguments import FILE, FOLDER, choices_of
from p2ptui.manual.reference import with_reference
from p2ptui.manual.roff import manual_page
from p2ptui.version import VERSION

REFERENCE: Final = "docs/commands.md"
MANUAL: Final = "docs/p2ptui.1"


_OF_EQUALS: Final = """
# bash parts words at an equals sign: --config=FILE is three of them.
_p2ptui() {
  local words=() word current=0 index=0
  local line  # the script above sets it
  for word in "${COMP_WORDS[@]}"; do
    if [[ $word == "=" ]]; then
      (( index == COMP_CWORD )) && words+=("") && current=$(( ${#words[@]} - 1 ))
    else
      words+=("$word")
      (( index == COMP_CWORD )) && current=$(( ${#words[@]} - 1 ))
    fi
    (( index += 1 ))
  done
  local COMP_WORDS=("${words[@]}") COMP_CWORD=$current
  _shtab_p2ptui
}

complete -o bashdefault -F _p2ptui p2ptui
"""


def completion_script(shell: str) -> str:
    """The script for a shell."""
    import shtab

    whole = node_parser()
    commands = whole.add_subparsers(title="commands", dest="command", metavar="COMMAND")
    for name, meaning in ALL_COMMANDS.items():
        command_parser(name, commands.add_parser(name, help=meaning, allow_abbrev=False))
        _prepare(commands.choices[name], shtab.FILE, shtab.DIRECTORY)
    _prepare(whole, shtab.FILE, shtab.DIRECTORY)
    (topic,) = (each for each in commands.choices["help"]._actions if each.dest == "topic")
    topic.choices = list(topics())
    if shell == "zsh":
        for parser in (whole, *commands.choices.values()):
            _escape_colons(parser)
    script = str(shtab.complete(whole, shell))
    return _with_own_names(script) + _OF_EQUALS if shell == "bash" else script


def _escape_colons(parser: argparse.ArgumentParser) -> None:
    """Escape colons for zsh, where a colon begins a command to run: HOST:PORT would run PORT."""
    for action in parser._actions:
        if action.option_strings and isinstance(action.metavar, str):
            action.metavar = action.metavar.replace(":", r"\:")


def _with_own_names(script: str) -> str:
    """Give a script's functions unique names: another program's script could replace them."""
    for name in re.findall(r"^(_\w+)\(\)", script, re.MULTILINE):
        if not name.startswith("_shtab_p2ptui"):
            own = f"_shtab_p2ptui_{name.removeprefix('_shtab').removeprefix('_')}"
            script = re.sub(rf"\b{name}\b", own, script)
    return script


def _prepare(parser: argparse.ArgumentParser, file: object, folder: object) -> None:
    for action in parser._actions:
        if action.metavar in FILE:
            action.complete = file  # type: ignore[attr-defined]
        elif action.metavar in FOLDER:
            action.complete = folder  # type: ignore[attr-defined]
        elif not isinstance(action, argparse._SubParsersAction):
            action.choices = choices_of(action) or None


def rendered(root: Path) -> dict[Path, str]:
    """The content that each file should have.

    Args:
        root: The top of the repository.
    """
    page = root / REFERENCE
    texts = {
        page: with_reference(page.read_text("utf-8"), parsers()),
        root / MANUAL: manual_page(parsers(), VERSION),
    }
    for shell in SHELLS:
        texts[root / "p2ptui" / "manual" / f"p2ptui.{shell}"] = completion_script(shell)
    return texts


def main() -> None:
    """Update the files."""
    for path, text in rendered(Path()).items():
        path.write_text(text, "utf-8", newline="\n")


if __name__ == "__main__":
    main()
