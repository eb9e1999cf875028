"""A peer-to-peer node over UDP: `Node` runs it, `Config` describes it.

async with Node(Config().with_options(address="127.0.0.1:0")) as node:
    peer = await node.connect("192.0.2.1:8080")
    result = await node.send(peer, {"text": "hello"})
"""

# These two are loaded already whenever Python runs a module: nobody's file is.
import os
import sys


def _leave_current_folder() -> None:
    """Import nothing more from the current folder, where a file of somebody else may lie: `-m` puts
    it before all others, `-P` does not. Where p2ptui itself is in it, as in a checkout, it
    stays."""
    try:
        here = os.getcwd()
    except OSError:
        return
    if sys.path[:1] == [here] and os.path.dirname(__path__[0]) != here:
        del sys.path[0]


def _is_run() -> bool:
    """Whether this is `python -m p2ptui`, which looks for `__main__` here now."""
    arguments = getattr(sys, "argv", [])
    if arguments[:1] != ["-m"]:
        return False
    module = sys.orig_argv[-len(arguments)]  # right before what is left for it
    return module.removeprefix("-m").partition(".")[0] == __name__


if _is_run():
    _leave_current_folder()

import importlib  # noqa: E402 - only now from where nobody else writes
from typing import TYPE_CHECKING, Any, Final  # noqa: E402

from p2ptui.version import VERSION  # noqa: E402

__version__ = VERSION

if TYPE_CHECKING:
    from p2ptui.config import Config
    from p2ptui.node import Node, PeerView, Stats

__all__ = ["Config", "Node", "PeerView", "Stats", "__version__"]

_HOMES: Final = {
    "Config": "p2ptui.config",
    "Node": "p2ptui.node",
    "PeerView": "p2ptui.node",
    "Stats": "p2ptui.node",
}


def __getattr__(name: str) -> Any:
    # The node imports the event loop, and a configuration all its options; a command that only
    # prints the version or the help does not wait for that.
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'p2ptui' has no attribute {name!r}")
