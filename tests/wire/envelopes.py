"""Messages written by hand, field by field, so that one of them can be wrong."""

from typing import Final

FIELDS: Final = {
    "id": '"2c1f3c5e-8a1b-4f6e-9d3a-0b7c5d2e1f40"',
    "message_type": '"Data"',
    "timestamp": "1795000000",
    "payload": '{"text":"hi, \\"you\\" [1]"}',
    "sequence_number": "7",
    "requires_ack": "true",
    "ack_for": "null",
}


def wire(**fields: str | None) -> bytes:
    """A valid message with other fields, in JSON; None leaves one out."""
    chosen = {name: text for name, text in (FIELDS | fields).items() if text is not None}
    return ("{" + ",".join(f'"{name}":{text}' for name, text in chosen.items()) + "}").encode()
