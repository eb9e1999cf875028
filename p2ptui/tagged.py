"""What a line of the log is about, for programs: the name of what happened, and its fields."""

from typing import Any


def tagged(event: str, **fields: object) -> dict[str, Any]:
    """For `extra=` of a call to a logger; the log in JSON has it beside the sentence.

    Args:
        event: What happened, in snake case; it stays the same when the sentence is written anew.
        fields: What a program would otherwise have to read out of the sentence. None is left out.
    """
    known = {name: value for name, value in fields.items() if value is not None}
    return {"event": event, "fields": known}
