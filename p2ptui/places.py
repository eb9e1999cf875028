"""Where this program keeps what it remembers, and looks for its configuration: in the platform's
folders.

A user without a home directory, as services and containers often have, has no such folders. Then
nothing is remembered beyond the session, and everything else works.
"""

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Literal

Purpose = Literal["state", "config", "log", "data"]

SYSTEM_CONFIG_VARIABLE: Final = "P2PTUI_SYSTEM_CONFIG"
"""Names the system-wide configuration file, if a package keeps it elsewhere; empty: there is
none.
"""

_NAME: Final = "p2ptui"
_CONFIG_FILE: Final = "config.toml"

_XDG: Final[Mapping[str, str]] = {
    "config": ".config",
    "data": ".local/share",
    "state": ".local/state",
}


def user_folder(purpose: Purpose) -> Path | None:
    """This program's folder, which may not exist yet.

    Args:
        purpose: What is kept there.

    Returns:
        An absolute path, or None if there is no home directory to keep it in.
    """
    plain = _plain_folder(purpose)
    if plain is not None:
        return plain
    import platformdirs  # not always needed, and slow to load

    find = getattr(platformdirs, f"user_{purpose}_dir")
    try:
        folder = Path(find(_NAME, appauthor=False))
    except RuntimeError:  # versions from 4.10 on say so; those before leave the "~" as it is
        return None
    return folder if folder.is_absolute() else None


def _plain_folder(purpose: Purpose) -> Path | None:
    """The same, if environment variables alone determine it (XDG Base Directory Specification);
    otherwise None. A short command needs no more than this.
    """
    if purpose not in _XDG or not sys.platform.startswith("linux") or "platformdirs" in sys.modules:
        return None
    base = os.environ.get(f"XDG_{purpose.upper()}_HOME", "")
    if not base:
        home = os.environ.get("HOME", "")
        base = f"{home}/{_XDG[purpose]}" if home else ""
    return Path(base) / _NAME if base.startswith("/") and base == base.strip() else None


def user_file(purpose: Purpose, name: str) -> Path | None:
    """A file in that folder, or None if there is no home directory to keep it in."""
    folder = user_folder(purpose)
    return None if folder is None else folder / name


def config_files() -> list[Path]:
    """Where the configuration is looked for by default: the file with the lower priority first.

    Returns:
        The system-wide file, and the user's, as far as such places exist.
    """
    found = (_system_config(), user_file("config", _CONFIG_FILE))
    return [path for path in found if path is not None]


def _system_config() -> Path | None:
    named = os.environ.get(SYSTEM_CONFIG_VARIABLE)
    if named is not None:
        return Path(named) if named else None
    if sys.platform == "win32":
        return None  # in ProgramData any user can create such a folder, and write to it for others
    if sys.platform != "darwin":
        return Path("/etc") / _NAME / _CONFIG_FILE
    import platformdirs

    return Path(platformdirs.site_config_dir(_NAME, appauthor=False)) / _CONFIG_FILE
