"""Tags log lines for programs: the event's name, and its fields."""

from typing import Any


def tagged(event: str, **fields: object) -> dict[str, Any]:
    """The value for `extra=` of a logging call; the JSON log contains it beside the message.

    Args:
        event: What happened, in snake case; it stays the same when the message is reworded.
        fields: What a program would otherwise have to parse out of the message. None is left out.
    """
    known = {name: value for name, value in fields.items() if value is not None}
    return {"event": event, "fields": known}
