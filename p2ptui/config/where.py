"""Where each value of a configuration comes from, for people."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from p2ptui.config.load import Setting, is_there, load_settings
from p2ptui.config.render import toml
from p2ptui.config.sections import OPTIONS, Config
from p2ptui.config.security_section import NETWORK_KEY_VARIABLE
from p2ptui.places import config_files
from p2ptui.text import shown_path

_HEADER: Final = re.compile(r"\s*\[\s*([\w.\s\"']+?)\s*\]")
_QUOTES: Final = str.maketrans("", "", "\"' \t")


def where_text(
    files: Sequence[Path], environ: Mapping[str, str], overrides: Mapping[str, object]
) -> str:
    """Which files were read, and of each option that is not as by default where it was set.

    Args:
        files: What `files_to_read` says.
        environ: As `load_config` takes it.
        overrides: Likewise.

    Raises:
        ConfigError: The configuration cannot be used.
    """
    settings = load_settings(files, environ, overrides)
    config = Config().with_values({name: setting.value for name, setting in settings.items()})
    lines = [_file_line(path, files) for path in dict.fromkeys([*config_files(), *files])]
    rows = [
        (f"{option.path} = {toml(option.shown(option.value_in(config)))}", option.path)
        for option in OPTIONS.options
        if option.value_in(config) != option.default
    ]
    if config.network_key is not None:
        rows.append(
            (f"the network key, which is never printed ({NETWORK_KEY_VARIABLE})", "network_key")
        )
    if rows:
        lines.append("")
    width = min(max((len(text) for text, _ in rows), default=0), 48)
    lines += [f"{text:<{width}}  {_source(settings.get(path))}" for text, path in rows]
    return "\n".join(lines) + "\n"


def _file_line(path: Path, read: Sequence[Path]) -> str:
    if path in read:
        return f"{shown_path(path)}: read"
    return f"{shown_path(path)}: {'not read' if is_there(path) else 'not there'}"


def _source(setting: Setting | None) -> str:
    if setting is None:
        return "because of server.join"  # the one default that depends on another option
    if isinstance(setting.source, Path):
        line = _line_of(setting.source, setting.written)
        return shown_path(setting.source) + (f":{line}" if line else "")
    return setting.written if setting.source == "environment" else setting.source


def _line_of(path: Path, written: str) -> int | None:
    """Where a TOML file sets this: the grammar has been checked, and tells no line."""
    if path.suffix.lower() != ".toml":
        return None
    section = ""
    for number, line in enumerate(path.read_text("utf-8-sig").splitlines(), 1):
        if header := _HEADER.match(line):
            section = header[1].translate(_QUOTES) + "."
        elif section + line.partition("=")[0].translate(_QUOTES) == written:
            return number
    return None
