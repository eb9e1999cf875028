"""A file as the payload of a message: its name, its exact bytes, and what became of it.

The content is in the message itself. A file that is larger than a message needs another way for its
content; its name, size and hash are told in the same form.
"""

import base64
import binascii
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from p2ptui.wire.codec import encode_exactly

FILE: Final = "file"
SIZE: Final = "size"
SHA256: Final = "sha256"
TEXT: Final = "text"
BASE64: Final = "base64"
RECEIPT_FOR: Final = "receipt_for"
KEPT: Final = "kept"
KEPT_AS: Final = "kept_as"
REASON: Final = "reason"

_NO_SIZE: Final = 2**63

_MARKS: Final = frozenset({FILE, SIZE, SHA256})
_OLD_FORM: Final = frozenset({FILE, BASE64})
"""What p2ptui 0.4 and older sent for a file that is not text."""


class BadFileError(ValueError):
    """A payload has the form of a file but contradicts itself."""


@dataclass(frozen=True, slots=True)
class FileMessage:
    """A file that came in one message and matches its stated size and hash."""

    name: str
    """As its sender wrote it: not safe to use as it is."""
    content: bytes
    sha256: str


@dataclass(frozen=True, slots=True)
class Receipt:
    """What the receiver did with a file."""

    sha256: str
    kept: bool
    kept_as: str = ""
    """The name under which it was kept."""
    reason: str = ""
    """Why it was not kept."""


def file_payload(name: str, content: bytes) -> dict[str, Any]:
    """The payload that carries a file.

    Text stays text where that is no longer than base64, so that programs that display messages can
    show it.

    Args:
        name: Its name, without folders.
        content: Its bytes.
    """
    payload: dict[str, Any] = {
        FILE: name,
        SIZE: len(content),
        SHA256: hashlib.sha256(content).hexdigest(),
    }
    text = _as_text(content)
    # Control characters become six bytes each.
    if text is not None and len(encode_exactly(text)) - 2 <= (len(content) + 2) // 3 * 4:
        return payload | {TEXT: text}
    return payload | {BASE64: base64.b64encode(content).decode("ascii")}


def _as_text(content: bytes) -> str | None:
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        return None


def is_file(payload: Any) -> bool:
    """Whether a payload has the form of a file; a plain string never has.

    `read_file` may still find that it contradicts itself.
    """
    if not isinstance(payload, Mapping) or not isinstance(payload.get(FILE), str):
        return False
    if payload.keys() == _OLD_FORM:
        return True
    return payload.keys() >= _MARKS and (TEXT in payload or BASE64 in payload)


def read_file(payload: Mapping[str, Any]) -> FileMessage:
    """Read a payload that has the form of a file.

    Raises:
        BadFileError: The content cannot be read, or does not match its size and hash.
    """
    content = _read_content(payload)
    size, digest = payload.get(SIZE, len(content)), hashlib.sha256(content).hexdigest()
    if type(size) is not int or not 0 <= size < _NO_SIZE:
        raise BadFileError("its size is no number of bytes")
    if size != len(content):
        raise BadFileError(f"it says {size} bytes, and has {len(content)}")
    told = payload.get(SHA256, digest)
    if not isinstance(told, str) or told.lower() != digest:
        raise BadFileError("its sha256 is another than it says")
    return FileMessage(payload[FILE], content, digest)


def _read_content(payload: Mapping[str, Any]) -> bytes:
    if TEXT in payload and BASE64 in payload:
        raise BadFileError("it has two contents, text and base64")
    key = TEXT if TEXT in payload else BASE64
    content = payload[key]
    if not isinstance(content, str):
        raise BadFileError(f"its {key} is no text")
    if key == TEXT:
        return content.encode("utf-8")
    try:
        data = base64.b64decode(content, validate=True)
    except (binascii.Error, ValueError):
        data = b""
    # Python accepts more than one spelling of the same bytes.
    if base64.b64encode(data).decode("ascii") != content:
        raise BadFileError("its base64 is invalid")
    return data


def receipt_payload(receipt: Receipt) -> dict[str, Any]:
    """The payload that tells a file's sender what became of it."""
    payload: dict[str, Any] = {RECEIPT_FOR: receipt.sha256, KEPT: receipt.kept}
    return payload | ({KEPT_AS: receipt.kept_as} if receipt.kept else {REASON: receipt.reason})


def read_receipt(payload: Any) -> Receipt | None:
    """Read a receipt; None if the payload is not one."""
    if not isinstance(payload, Mapping) or not isinstance(payload.get(RECEIPT_FOR), str):
        return None
    texts = [payload.get(key, "") for key in (KEPT_AS, REASON)]
    if not isinstance(payload.get(KEPT), bool) or not all(isinstance(text, str) for text in texts):
        return None
    return Receipt(payload[RECEIPT_FOR], payload[KEPT], *texts)
