"""Traffic captured from the reference server and its deployed clients, as the tests replay it."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CAPTURE = Path(__file__).parent / "data" / "reference-datagrams.jsonl"


@dataclass(frozen=True)
class Captured:
    """One datagram of the capture."""

    case: str
    source: str
    destination: str
    raw: str

    @property
    def message(self) -> dict[str, Any]:
        return json.loads(self.raw)

    @property
    def kind(self) -> str:
        return self.message["message_type"]


def captured(case: str) -> list[Captured]:
    """The datagrams of one case, in their order."""
    datagrams = [datagram for datagram in ALL if datagram.case == case]
    assert datagrams, case
    return datagrams


def one(case: str, kind: str, to: str = "") -> dict[str, Any]:
    """The message of this kind in a case, the only one (to that receiver)."""
    (message,) = [
        datagram.message
        for datagram in captured(case)
        if datagram.kind == kind and to in ("", datagram.destination)
    ]
    return message


ALL = [
    Captured(row["case"], row["from"], row["to"], row["datagram"])
    for row in map(json.loads, CAPTURE.read_text("utf-8").splitlines())
]
