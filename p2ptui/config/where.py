"""Where each value of a configuration comes from, for people."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from p2ptui.config.load import MAX_CONFIG_BYTES, Setting, is_there, load_settings
from p2ptui.config.render import toml
from p2ptui.config.sections import OPTIONS, Config
from p2ptui.ordinary import read_ordinary
from p2ptui.places import config_files
from p2ptui.text import shown_path

_HEADER: Final = re.compile(r"\s*\[\s*([\w.\s\"']+?)\s*\]")
_WIDEST: Final = 48
_NOT_PRINTED: Final = "(never printed)"
_QUOTES: Final = str.maketrans("", "", "\"' \t")


class FileState(StrEnum):
    """What became of a file where a configuration may be."""

    READ = "read"
    NOT_READ = "not read"
    """Another one was named, or none is wanted."""
    NOT_THERE = "not there"


@dataclass(frozen=True, slots=True)
class Origin:
    """An option that is not as by default, and where it was set."""

    option: str
    value: Any
    """As people may see it."""
    source: str


@dataclass(frozen=True, slots=True)
class Where:
    """Where a configuration comes from.

    Args:
        files: Those that were looked for, the weakest first.
        options: Those that differ from their defaults.
    """

    files: Mapping[Path, FileState]
    options: Sequence[Origin]

    def as_text(self) -> str:
        """For people."""
        lines = [f"{shown_path(path)}: {state}" for path, state in self.files.items()]
        rows = [(f"{one.option} = {toml(one.value)}", one.source) for one in self.options]
        if rows:
            lines.append("")
        width = min(max((len(text) for text, _ in rows), default=0), _WIDEST)
        lines += [f"{text:<{width}}  {source}" for text, source in rows]
        return "\n".join(lines) + "\n"

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        return {
            "files": [{"path": str(path), "state": state} for path, state in self.files.items()],
            "options": [asdict(one) for one in self.options],
        }


def trace_config(
    files: Sequence[Path], environ: Mapping[str, str], overrides: Mapping[str, object]
) -> Where:
    """Find out where each value of a configuration comes from.

    Args:
        files: What `files_to_read` says.
        environ: As `load_config` takes it.
        overrides: Likewise.

    Raises:
        ConfigError: The configuration cannot be used.
    """
    settings = load_settings(files, environ, overrides)
    config = Config().with_values({name: setting.value for name, setting in settings.items()})
    options = [
        Origin(
            option.path,
            option.shown(option.value_in(config)),
            _source(settings.get(option.path)),
        )
        for option in OPTIONS.options
        if option.value_in(config) != option.default
    ]
    if config.network_key is not None:
        options.append(Origin("network_key", _NOT_PRINTED, _source(settings["network_key"])))
    looked_for = dict.fromkeys([*config_files(), *files])
    return Where({path: _state(path, files) for path in looked_for}, options)


def _state(path: Path, read: Sequence[Path]) -> FileState:
    if path in read:
        return FileState.READ
    return FileState.NOT_READ if is_there(path) else FileState.NOT_THERE


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
    text = read_ordinary(path, MAX_CONFIG_BYTES).decode("utf-8-sig")
    for number, line in enumerate(text.splitlines(), 1):
        if header := _HEADER.match(line):
            section = header[1].translate(_QUOTES) + "."
        elif section + line.partition("=")[0].translate(_QUOTES) == written:
            return number
    return None
