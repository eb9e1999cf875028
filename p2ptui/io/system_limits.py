"""Where this system allows a node less than it may need, and the command that fixes it."""

import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

from p2ptui.io.bind import RECEIVE_BUFFER_BYTES, SEND_BUFFER_BYTES

BYTES_FOR_EACH: Final = 2048
"""Buffer bytes per peer: one full datagram from each may come at the same time."""

SOCKETS_FOR_EACH: Final = 4
"""Per peer to which a direct path may be searched for; searches that guess ports take more, but are
few at a time.
"""

OWN_FILES: Final = 64
"""Other files that a node has open: its own sockets, logs, the link to a broker, scrapers."""

_BUFFERS: Final = (
    ("net.core.rmem_max", "receive", RECEIVE_BUFFER_BYTES),
    ("net.core.wmem_max", "send", SEND_BUFFER_BYTES),
)


def system_warnings(
    max_connections: int,
    most_sockets: int,
    setting: Callable[[str], int | None] | None = None,
    files: Callable[[], int | None] | None = None,
) -> list[str]:
    """The limits that are too low for a node, one line each.

    Args:
        max_connections: Peers at the same time.
        most_sockets: Sockets at a time that searches for direct paths may take; 0: none is
            searched.
        setting: Reads a kernel setting; None if there are none.
        files: How many files may be open; None if that is not limited.
    """
    setting, files = setting or _kernel_setting, files or _files_limit
    warnings = []
    wanted = OWN_FILES + min(most_sockets, SOCKETS_FOR_EACH * max_connections)
    allowed = files()
    if allowed is not None and allowed < wanted:
        warnings.append(
            f"this process may open {allowed} files and sockets, and may need {wanted} for"
            f" {max_connections} peers: raise it with ulimit -n {wanted}, or with"
            f" LimitNOFILE={wanted} in a systemd unit"
        )
    for name, what, asked in _BUFFERS:
        needed = min(asked, BYTES_FOR_EACH * max_connections)
        granted = setting(name)
        if granted is not None and granted < needed:
            warnings.append(
                f"the kernel's {what} buffer limit is {granted} bytes, too small for"
                f" {max_connections} peers at once: raise it with sysctl -w {name}={asked}, and in"
                " /etc/sysctl.d for good"
            )
    return warnings


def _kernel_setting(name: str) -> int | None:
    with suppress(OSError, ValueError):
        return int(Path("/proc/sys", *name.split(".")).read_text("ascii"))
    return None


def _files_limit() -> int | None:
    if sys.platform == "win32":
        return None
    import resource

    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return None if soft == resource.RLIM_INFINITY else soft
