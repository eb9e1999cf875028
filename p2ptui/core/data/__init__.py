"""Data: what its payload means, what is done with it here, and how its sender is slowed.

`content` is what a payload may mean, `service` tells that and acts on it; `receive_windows` tell
senders what readers have room for.
"""

from p2ptui.core.data.content import DataContent, DataKind
from p2ptui.core.data.receive_windows import BUSY_INTERVAL_S, ReceiveWindows
from p2ptui.core.data.service import (
    DataService,
    encode_data,
    frame_routes,
    read_data,
)

__all__ = [
    "BUSY_INTERVAL_S",
    "DataContent",
    "DataKind",
    "DataService",
    "ReceiveWindows",
    "encode_data",
    "frame_routes",
    "read_data",
]
