"""What others may do with the files of a configuration, where that is more than its user meant."""

import stat
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from p2ptui.config.broker_url import split_broker
from p2ptui.config.load import read_file
from p2ptui.config.sections import OPTIONS, Config
from p2ptui.text import shown_path

_READ: Final = stat.S_IRGRP | stat.S_IROTH
_WRITE: Final = stat.S_IWGRP | stat.S_IWOTH


def file_warnings(files: Sequence[Path], config: Config) -> list[str]:
    """Files that others can change, and secrets that they can read, one line each.

    Args:
        files: Those of the configuration.
        config: What it says.
    """
    found = []
    for path in files:
        where = shown_path(path)
        if mode := _mode_for_others(path, _WRITE):
            found.append(
                f"{where}: others can change it (mode {mode}), and so what this node does: chmod"
                f" go-w {where}"
            )
        if _has_password(config) and (mode := _mode_for_others(path, _READ)) and _sets_it(path):
            found.append(
                f"{where}: others can read the broker's password in it (mode {mode}): move it to a"
                " file that cluster.credentials names, or to P2PTUI_CLUSTER_SERVERS"
            )
    secrets = {"credentials": config.cluster.credentials, "tls_key": config.cluster.tls_key}
    for name, named in secrets.items():
        if named and (mode := _mode_for_others(Path(named), _READ | _WRITE)):
            where = shown_path(named)
            found.append(
                f"cluster.{name}: others can read or change {where} (mode {mode}): chmod 600"
                f" {where}"
            )
    return found


def _mode_for_others(path: Path, rights: int) -> str:
    """The mode of a file to which others have any of these rights; empty if they have none."""
    try:
        about = path.stat()
    except OSError:
        return ""  # whoever reads it says so
    if about.st_gid == about.st_uid:
        rights &= ~stat.S_IRWXG  # a group of this user alone, as many systems make one
    has_some = sys.platform != "win32" and about.st_mode & rights
    return f"{stat.S_IMODE(about.st_mode):04o}" if has_some else ""


def _has_password(config: Config) -> bool:
    return any(split_broker(url).username is not None for url in config.cluster.servers)


def _sets_it(path: Path) -> bool:
    return "cluster.servers" in OPTIONS.settle_named(read_file(path), f"{path}: ")
