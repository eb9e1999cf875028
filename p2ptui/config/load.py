"""Where a configuration comes from: command line over environment over file over default."""

import json
import os
import re
import typing
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple, NoReturn

from p2ptui.config.option import Named, Option
from p2ptui.config.sections import OPTIONS, Config, LogLevel
from p2ptui.config.security_section import NETWORK_KEY_VARIABLE
from p2ptui.errors import ConfigError
from p2ptui.nearest import nearest
from p2ptui.ordinary import read_ordinary
from p2ptui.places import SYSTEM_CONFIG_VARIABLE, config_files
from p2ptui.secure.secret import KeyKind, KeyTextError, read_key
from p2ptui.text import typed

ENVIRONMENT_PREFIX = "P2PTUI_"

MAX_CONFIG_BYTES: Final = 1 << 20
"""Of a file; the example with every option has less than 20,000."""

_LEVELS = typing.get_args(LogLevel)
_TRUE = {"true", "1", "yes", "on"}
_FALSE = {"false", "0", "no", "off"}

_VARIABLES = {ENVIRONMENT_PREFIX + path.replace(".", "_").upper(): path for path in OPTIONS.by_path}
_NO_OPTIONS = (NETWORK_KEY_VARIABLE, SYSTEM_CONFIG_VARIABLE)
_NAMES = (*_VARIABLES, *_NO_OPTIONS)
_KEY_AND_FILE = ("network_key", "security.network_key_file")
_FILES_WITH_KEYS = ("security.identity", "security.network_key_file")
_WORDS = ("server.name", "server.network_id", "cluster.name", "files.receive_from")
"""What people call things; other texts are names of files, or ASCII."""
_SECTION_PREFIXES = tuple(
    f"{ENVIRONMENT_PREFIX}{section.replace('.', '_').upper()}_" for section in OPTIONS.sections
)
# Kubernetes and Docker describe a service called "p2ptui-server" to every neighbour in
# variables that look like ours; they are nobody's typing mistake.
_SERVICE_LINK = re.compile(r"_SERVICE_(HOST|PORT)|_PORT_\d+_(TCP|UDP|SCTP)")


def files_to_read(
    named: Path | Sequence[Path] | None, read_before: Sequence[Path] = ()
) -> Sequence[Path]:
    """The files of a configuration, the weakest first.

    Args:
        named: What the user has named, which may be nothing at all: no other is read then. None:
            he has named none, and those of the platform's folders are read that are there.
        read_before: What this process has read already, and must find again: a node that goes on
            without such a file would let in whom it denies.

    Raises:
        ConfigError: One of those cannot be read.
    """
    if named is not None:
        return (named,) if isinstance(named, Path) else named
    found = [path for path in config_files() if is_there(path)]
    for path in read_before:
        if path not in found:
            raise ConfigError(
                f"{path}: was read before, and cannot be found now; put it back, or restart the"
                " node to run without it"
            )
    for path in found:
        if not os.access(path, os.R_OK):
            raise ConfigError(
                f"{path}: cannot be read: permission denied; to run without it: --no-config, or"
                " --config FILE"
            )
    return found


def is_there(path: Path) -> bool:
    """Whether there is such a file; one in a folder that this user may not enter is not for him."""
    try:
        return path.exists()
    except OSError:
        return False


class Setting(NamedTuple):
    """The value of an option, and where it comes from."""

    value: Any
    source: Path | str
    """A file, or `environment` or `command line`."""
    written: str
    """The option's name there."""


def load_config(
    path: Path | Sequence[Path] | None,
    environ: Mapping[str, str],
    overrides: Mapping[str, object],
) -> Config:
    """Read a configuration from everywhere that may set an option.

    Args:
        path: A file, TOML or JSON by its ending; several, the weakest first; or None.
        environ: The environment: `P2PTUI_<SECTION>_<KEY>`, `P2PTUI_LOG` or else `RUST_LOG` for
            the log level, and `P2PTUI_NETWORK_KEY`.
        overrides: What the command line sets, by `section.key`.

    Returns:
        Each option from the strongest source that sets it: command line, environment,
        file, default.

    Raises:
        ConfigError: A file that cannot be read, an unknown key, a value that is not
            accepted, or values that do not go together.
    """
    paths = () if path is None else (path,) if isinstance(path, Path) else path
    settings = load_settings(paths, environ, overrides)
    return Config().with_values({name: setting.value for name, setting in settings.items()})


def load_settings(
    paths: Sequence[Path],
    environ: Mapping[str, str],
    overrides: Mapping[str, object],
) -> dict[str, Setting]:
    """What is set, by option path, and where; see `load_config`.

    Raises:
        ConfigError: As there, but for values that do not go together.
    """
    layers: list[tuple[Path | str, Named]] = [
        *((each, OPTIONS.settle_named(read_file(each), f"{each}: ")) for each in paths),
        ("environment", _read_environment(environ)),
        ("environment", _read_log_level(environ)),
        ("command line", OPTIONS.settle_named(overrides, "command line: ")),
    ]
    settings: dict[str, Setting] = {}
    for source, layer in layers:
        if isinstance(source, str):
            _refuse_no_file(layer, source)
        if "logging.level" in layer:
            # A level is stronger than the verbosity that a weaker source asks for.
            settings.pop("logging.verbose_logging", None)
            settings.pop("server.verbose_logging", None)
        for one, other in (_KEY_AND_FILE, _KEY_AND_FILE[::-1]):
            if one in layer:
                settings.pop(other, None)  # a network has one key: the stronger source's
        for name, (written, value) in layer.items():
            settings[name] = Setting(value, source, written)
    return settings


def read_file(path: Path) -> dict[str, Any]:
    """Read a configuration file into sections and keys, without a look at their meaning.

    Raises:
        ConfigError: It is missing, unreadable, of another kind, or not valid.
    """
    parsers = {".toml": _parse_toml, ".json": _parse_json}
    parse = parsers.get(path.suffix.lower())
    if parse is None:
        raise ConfigError(f"{path}: unknown kind of file; its name must end in .toml or .json")
    try:
        if path.is_fifo():
            raise ConfigError(f"{path}: it is a pipe; whoever reads one may wait for ever")
        # utf-8-sig: some editors put a byte order mark in front.
        text = read_ordinary(path, MAX_CONFIG_BYTES).decode("utf-8-sig")
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"{path}: line {line}: not UTF-8 text") from None
    try:
        return parse(text, path)
    except (ValueError, RecursionError) as error:
        # Beyond the grammar: a number of thousands of digits, nesting without end.
        raise ConfigError(f"{path}: cannot be read: {error}") from None


def _parse_toml(text: str, path: Path) -> dict[str, Any]:
    import tomli  # most nodes have no such file

    try:
        return tomli.loads(text)
    except tomli.TOMLDecodeError as error:
        reason = str(error)
        at = re.search(r" \(at line (\d+), column \d+\)$", reason)
        line = at[1] if at else text.count("\n") + 1
        reason = reason[: at.start()] if at else reason
        raise ConfigError(f"{path}: line {line}: not valid TOML: {reason}") from None


def _parse_json(text: str, path: Path) -> dict[str, Any]:
    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        table: dict[str, Any] = {}
        for key, value in pairs:
            if key in table:
                raise ConfigError(f"{path}: key {key!r} is given twice")
            table[key] = value
        return table

    def refuse(constant: str) -> NoReturn:
        raise ConfigError(f"{path}: {constant} is not a number in JSON")

    try:
        table = json.loads(text, object_pairs_hook=unique, parse_constant=refuse)
    except json.JSONDecodeError as error:
        raise ConfigError(f"{path}: line {error.lineno}: not valid JSON: {error.msg}") from None
    if not isinstance(table, dict):
        raise ConfigError(f"{path}: must be a JSON object of options")
    return table


def _read_environment(environ: Mapping[str, str]) -> Named:
    return OPTIONS.settle_entries(_variables(environ), "environment: ") | _read_network_key(environ)


def _read_network_key(environ: Mapping[str, str]) -> Named:
    if NETWORK_KEY_VARIABLE not in environ:
        return {}
    try:
        key = read_key(KeyKind.NETWORK, environ[NETWORK_KEY_VARIABLE])
    except KeyTextError as error:
        raise ConfigError(
            f"environment: {NETWORK_KEY_VARIABLE} {error}; make one with: p2ptui key new"
        ) from None
    return {_KEY_AND_FILE[0]: (NETWORK_KEY_VARIABLE, key)}


def _refuse_no_file(layer: Named, source: str) -> None:
    """Who names a file by something that is empty means to have one: a node without it would be
    more open than that, or somebody else."""
    for path in _FILES_WITH_KEYS:
        # A command takes an identity of its own, whatever file the configuration names.
        is_ephemeral = (
            path == "security.identity" and _value_in(layer, "security.ephemeral") is True
        )
        if _value_in(layer, path) == "" and not is_ephemeral:
            raise ConfigError(f"{source}: {path} is empty: name a file, or leave it out")


def _value_in(layer: Named, path: str) -> object:
    return layer[path][1] if path in layer else None


def _variables(environ: Mapping[str, str]) -> Iterator[tuple[str, str, object]]:
    for name, text in environ.items():
        if name in _VARIABLES:
            path = _VARIABLES[name]
            known = OPTIONS.by_path[path]
            yield name, path, _value(text, known if isinstance(known, Option) else known.option)
        elif name in _NO_OPTIONS:
            continue
        elif name.startswith(ENVIRONMENT_PREFIX) and not _is_service_link(name, text):
            # Other variables of this prefix are not ours to judge, unless they look mistyped.
            is_ours = name.startswith(_SECTION_PREFIXES)
            import difflib  # most variables are other programs'

            close = difflib.get_close_matches(name, _NAMES, 1, 0.0 if is_ours else 0.85)
            if not close:
                continue
            # What all of them begin with makes none of them alike.
            bare = {known.removeprefix(ENVIRONMENT_PREFIX): known for known in _NAMES}
            key = name.removeprefix(ENVIRONMENT_PREFIX)
            in_sections = [known for known in bare if known.endswith(f"_{key}")]
            near = in_sections[0] if len(in_sections) == 1 else nearest(key, bare)
            hint = f"did you mean {bare[near]!r}?" if near else f"the nearest one is {close[0]!r}"
            raise ConfigError(f"environment: unknown variable {name!r}; {hint}")


def _is_service_link(name: str, text: str) -> bool:
    return _SERVICE_LINK.search(name) is not None or "://" in text


def _value(text: str, option: Option) -> object:
    """A variable's text as the option's type; as it is, for the check to refuse, if it is none."""
    text = text.strip()
    parts = [part.strip() for part in text.split(",")] if text else []
    try:
        if option.type is int:
            return int(text)
        if option.type is float:
            return float(text)
        if option.type == tuple[int, int]:
            return [int(part) for part in parts]
    except ValueError:
        return text
    if option.type == tuple[str, ...]:
        return parts
    if option.path in _WORDS:
        return typed(text)
    if option.type == dict[str, str]:
        # A list of keys holds commas, so that entries are parted by something else.
        pairs = [part.partition("=") for part in text.split(";") if part.strip()]
        return {name.strip(): value.strip() for name, _, value in pairs}
    if option.type is bool:
        return True if text.lower() in _TRUE else False if text.lower() in _FALSE else text
    return text.lower() if option.choices else text


def _read_log_level(environ: Mapping[str, str]) -> Named:
    """The level from `P2PTUI_LOG`, or else from `RUST_LOG`, which existing set-ups have."""
    own = environ.get("P2PTUI_LOG", "").strip().lower()
    if own:
        return OPTIONS.settle_entries([("P2PTUI_LOG", "logging.level", own)], "environment: ")
    # A filter of the Rust programs: "warn,p2p_server=debug". Theirs, so never an error.
    directives = [part.strip().lower() for part in environ.get("RUST_LOG", "").split(",")]
    plain = [part for part in directives if "=" not in part]
    of_targets = [part.rpartition("=")[2].strip() for part in directives]
    levels = [level for level in (*plain, *of_targets) if level in _LEVELS]
    return {"logging.level": ("RUST_LOG", levels[0])} if levels else {}
