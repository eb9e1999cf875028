"""Print the script that completes this program's arguments in a shell."""

import argparse
from collections.abc import Mapping
from importlib.resources import files
from typing import Final

from p2ptui.commands import CommandParser, Work
from p2ptui.nearest import suggestion

RUNS_A_NODE: Final = False
READS_FILES: Final = False

SHELLS: Final = ("bash", "zsh", "fish")

_EPILOG: Final = """\
For bash, in ~/.bashrc:

  eval "$(p2ptui completion bash)"

For zsh, in ~/.zshrc, after compinit:

  eval "$(p2ptui completion zsh)"

For fish, once:

  p2ptui completion fish > ~/.config/fish/completions/p2ptui.fish
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `p2ptui completion`."""
    parser.epilog = _EPILOG
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("shell", metavar="|".join(SHELLS), help="the shell")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def prepare(
    options: argparse.Namespace, parser: CommandParser, _environ: Mapping[str, str]
) -> Work:
    """Check the arguments; the result prints the script."""
    shell: str = options.shell
    if shell not in SHELLS:
        near = suggestion(shell, SHELLS, is_quoted=False)
        hint = near or f"; choose one of {', '.join(SHELLS)}"
        parser.error(f"no completion for {shell!r}{hint}")
    return lambda: _run(options, shell)


async def _run(options: argparse.Namespace, shell: str) -> int:
    # Generated in advance, so that a shell can start without waiting for the whole program.
    script = files("p2ptui.manual").joinpath(f"p2ptui.{shell}").read_text("utf-8")
    if options.json:
        options.answer.tell({"shell": shell, "script": script})
    else:
        print(script, end="")
    return 0
