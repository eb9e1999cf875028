"""A peer-to-peer node over UDP: `Node` runs it, `Config` describes it.

async with Node(Config().with_options(address="127.0.0.1:0")) as node:
    peer = await node.connect("192.0.2.1:8080")
    result = await node.send(peer, {"text": "hello"})
"""

import importlib
from typing import TYPE_CHECKING, Any, Final

from p2ptui.version import VERSION

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
