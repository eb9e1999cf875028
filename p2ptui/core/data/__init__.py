"""Data: what its payload means, how it is handled here, and how its sender is slowed down.

`content` is what a payload may mean, `service` reports and handles it; `receive_windows` tell
senders how much room the readers have.
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
