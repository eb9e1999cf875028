"""Saves the message log to a file: JSON lines, or text."""

import asyncio
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from p2ptui.errors import LocalError
from p2ptui.text import counted, printable
from p2ptui.tui.records import Record

JSON_ENDINGS: Final = (".json", ".jsonl", ".ndjson")

AT_ONCE: Final = 200
"""Records written before packets and keys are let through."""


def line_of(record: Record, *, as_json: bool) -> str:
    """One record as one line."""
    if as_json:
        return json.dumps(record.as_dict()) + "\n"
    at = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(record.time))
    words = (at, record.direction, record.peer or record.address, record.kind, record.summary)
    return " ".join(filter(None, words)) + "\n"


async def save_records(records: Sequence[Record], name: str) -> str:
    """Write records to a new file, as JSON lines or text depending on its extension.

    Args:
        records: In order.
        name: The file; `~` is the home directory.

    Returns:
        What was done, and where the file is.

    Raises:
        LocalError: The file exists, or cannot be written.
    """
    as_json = name.lower().endswith(JSON_ENDINGS)
    try:
        path = _resolved(name)
        with open(path, "x", encoding="utf-8") as file:  # noqa: ASYNC230 - in small parts
            for start in range(0, len(records), AT_ONCE):
                for record in records[start : start + AT_ONCE]:
                    file.write(line_of(record, as_json=as_json))
                await asyncio.sleep(0)
    except FileExistsError:
        raise LocalError(f"{name} exists already, and was not changed; give another name") from None
    except (OSError, RuntimeError, ValueError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or error
        raise LocalError(f"cannot save to {name}: {reason}") from None
    kind = "JSON lines" if as_json else "text"
    return f"saved {counted(len(records), 'record')} as {kind} to {printable(str(path), 400)}"


def _resolved(name: str) -> Path:
    return Path(name).expanduser().resolve()
