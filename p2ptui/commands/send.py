"""Send a message, a file or standard input to a node, and say whether it arrived."""

import argparse
import asyncio
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO, Final, TypeVar

from p2ptui.commands import CommandParser, Work, file_name, positive_seconds
from p2ptui.commands.session import (
    DEFAULT_TIMEOUT_S,
    TargetSpec,
    add_target_arguments,
    command_config,
    milliseconds,
    open_target,
    read_way,
    require_reach,
)
from p2ptui.commands.target import Deadline, Target, tell_changes
from p2ptui.config import Config
from p2ptui.core.data import encode_data
from p2ptui.core.events import DataReceived, SendResult, SendStatus
from p2ptui.errors import LocalError, MessageTooLargeError, P2PError
from p2ptui.node.subscription import Subscription
from p2ptui.text import printable, seconds_words
from p2ptui.wire.codec import encode_envelope, encode_exactly
from p2ptui.wire.exact import read_json
from p2ptui.wire.files import BASE64, SHA256, SIZE, Receipt, file_payload, is_file, read_receipt
from p2ptui.wire.message import NULL, Capability, Envelope, MessageType

T = TypeVar("T")

_KEEPS_NONE: Final = "; it does not keep files"

_LEFT: Final = (SendStatus.DELIVERED, SendStatus.UNCONFIRMED)

ECHO_PATIENCE_S: Final = 2.0
"""How long to wait for an echo, in addition to three times as long as the message took."""

_EMPTY: Final = Envelope("0" * 36, MessageType.DATA, 10**10 - 1, NULL, 2**32 - 1, True, None)
ENVELOPE_BYTES: Final = len(encode_envelope(_EMPTY)) - len(bytes(NULL))
"""The most that a message's other fields take of the limit."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `p2ptui send`."""
    add_target_arguments(parser)
    parser.add_argument(
        "text", metavar="TEXT", nargs="*", help="the message; - reads standard input"
    )
    parser.add_argument("--file", type=file_name, metavar="F", help="send a file instead")
    parser.add_argument("--name", metavar="NAME", help="the name of the sending node")
    parser.add_argument(
        "--timeout",
        type=positive_seconds,
        default=DEFAULT_TIMEOUT_S,
        metavar="S",
        help="seconds until it must have arrived (10)",
    )
    parser.add_argument("--json-payload", action="store_true", help="the message is JSON")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def prepare(options: argparse.Namespace, parser: CommandParser, environ: Mapping[str, str]) -> Work:
    """Check the arguments, and read the payload; the result sends it, and prints.

    Raises:
        LocalError: The payload cannot be read.
        MessageTooLargeError: It does not fit.
    """
    if bool(options.text) == (options.file is not None):
        parser.error("give either a text, - or --file F")
    config = command_config(options, environ)
    spec = read_way(options, parser)
    options.answer.tell({"target": options.target, "delivered": False})
    for server in spec.servers:
        require_reach(server, parser)
    limit = config.server.max_message_size
    # Read outside of the event loop, where Ctrl-C ends a read of standard input at once.
    payload = _read_payload(options, parser, limit)
    size = len(encode_data(payload)) + ENVELOPE_BYTES
    if size > limit:
        if not options.json_payload and is_file(payload) and BASE64 in payload:
            raise _too_large_as_file(payload, size, limit)
        raise _too_large(f"{size}", limit)
    return lambda: _run(options, config, spec, payload)


async def _run(options: argparse.Namespace, config: Config, spec: TargetSpec, payload: Any) -> int:
    deadline = Deadline(options.timeout)
    async with open_target(config, spec, deadline, tells_changes=False) as target:
        options.answer.tell({"target": options.target, "delivered": False} | target.trust_fields)
        target.require_meant()
        tell_changes(target.node)
        loop = asyncio.get_running_loop()
        events = target.node.events()
        began = loop.time()
        result = await target.send(payload, deadline.left_s)
        path, trust = target.path.value, target.trust_fields
        how = "" if target.is_sealed else "in the open: "
        echo = receipt = None
        of_file = is_file(payload) and SHA256 in payload
        is_answered = of_file and Capability.FILES in target.capabilities
        if is_answered and result.status in _LEFT:
            receipt = await _wait_for_receipt(events, target, payload[SHA256], deadline.left_s)
        elif options.json and result.status in _LEFT and target.echoes:
            patience_s = min(ECHO_PATIENCE_S + 3 * (loop.time() - began), deadline.left_s)
            echo = await _wait_for_echo(events, target, patience_s)
    options.answer.tell(
        _report(options, result, echo, trust) | (_report_receipt(receipt) if of_file else {})
    )
    if not options.json and result.delivered:
        kept = _kept_words(receipt, is_answered) if of_file else ""
        _print_delivered(target, path, how, result, kept)
    name = printable(target.name, 64)
    if result.status is SendStatus.UNCONFIRMED:
        print(
            f"sent {how}{result.size_bytes} bytes to {name}, unconfirmed: {result.reason}",
            file=sys.stderr if options.json else sys.stdout,
        )
    elif not result.delivered:
        raise P2PError(result.failure_words(name))
    if is_answered:
        _require_kept(name, receipt, options.timeout)
    return 0


def _require_kept(name: str, receipt: Receipt | None, timeout_s: float) -> None:
    if receipt is None:
        within = seconds_words(timeout_s)
        raise P2PError(f"{name} did not say within {within} whether it kept the file")
    if not receipt.kept:
        raise P2PError(f"{name} did not keep the file: {receipt.reason}")


def _too_large(size: str, limit: int) -> MessageTooLargeError:
    return MessageTooLargeError(
        f"the message is {size} bytes, the limit is {limit} (max_message_size); send it in parts"
    )


def _too_large_as_file(payload: Any, size: int, limit: int) -> MessageTooLargeError:
    """The error for a file that is small enough itself."""
    fit = (limit - size + len(payload[BASE64])) // 4 * 3
    return MessageTooLargeError(
        f"the message is {size} bytes, the limit is {limit} (max_message_size); the file has"
        f" {payload[SIZE]} bytes, and one of at most {fit} fits: send it in parts"
    )


def _read_payload(options: argparse.Namespace, parser: CommandParser, limit: int) -> Any:
    name = ""
    if options.file is not None:
        path = Path(options.file)
        if not options.file:
            parser.error("--file needs the name of a file")
        name, data = path.name, _read_file(path, limit)
    elif options.text == ["-"]:
        name, data = "-", _read_standard_input(limit)
    else:
        data = " ".join(options.text).encode("utf-8", "surrogateescape")
    if options.json_payload:
        return _read_json(data, parser)
    text = _as_text(data)
    if text is not None and options.file is None:
        return text
    if not name:
        parser.error("the text is not UTF-8; send it as a file, or through standard input")
    # A file name may contain bytes that are not UTF-8.
    name = os.fsencode(name).decode("utf-8", "replace")
    return file_payload(name, data)


def _as_text(data: bytes) -> str | None:
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return None
    return None if "\0" in text else text


def _read_json(data: bytes, parser: CommandParser) -> Any:
    try:
        payload = read_json(data)
        encode_exactly(payload)
    except (ValueError, RecursionError) as error:
        parser.error(f"the payload is not JSON that can be sent: {error}")
    return payload


def _read_file(path: Path, limit: int) -> bytes:
    try:
        size = path.stat().st_size
        if size > limit:
            raise _too_large(str(size), limit)
        with path.open("rb") as file:
            return _read_at_most(file, limit)
    except (OSError, ValueError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or error
        raise LocalError(f"cannot read {path}: {reason}") from None


def _read_standard_input(limit: int) -> bytes:
    if sys.stdin is None:
        raise LocalError("cannot read standard input: it is closed")
    try:
        return _read_at_most(sys.stdin.buffer, limit)
    except (OSError, ValueError) as error:
        raise LocalError(f"cannot read standard input: {error}") from None


def _read_at_most(stream: BinaryIO, limit: int) -> bytes:
    # A pipe has no size; one byte too many shows that its content does not fit.
    data = stream.read(limit + 1)
    if len(data) > limit:
        raise _too_large(f"more than {limit}", limit)
    return data


async def _wait_for_echo(events: Subscription, target: Target, patience_s: float) -> Any:
    def read(event: DataReceived) -> Any:
        return event.payload if event.is_echo else None

    answer = await _wait_for_answer(events, target, read, patience_s)
    return None if answer is None else answer.get("echo")


async def _wait_for_receipt(
    events: Subscription, target: Target, sha256: str, patience_s: float
) -> Receipt | None:
    def read(event: DataReceived) -> Receipt | None:
        receipt = None if event.is_echo else read_receipt(event.payload)
        return receipt if receipt is not None and receipt.sha256 == sha256 else None

    return await _wait_for_answer(events, target, read, patience_s)


async def _wait_for_answer(
    events: Subscription,
    target: Target,
    read: Callable[[DataReceived], T | None],
    patience_s: float,
) -> T | None:
    async def answer() -> T | None:
        async for event in events:
            if isinstance(event, DataReceived) and event.node_id == target.node_id:
                found = read(event)
                if found is not None:
                    return found
        return None

    try:
        return await asyncio.wait_for(answer(), patience_s)
    except TimeoutError:
        return None


def _report(
    options: argparse.Namespace, result: SendResult, echo: Any, trust: dict[str, Any]
) -> dict[str, Any]:
    report = {
        "target": options.target,
        "delivered": result.delivered,
        "attempts": result.attempts,
        "rtt_ms": milliseconds(result.rtt_s),
        "bytes": result.size_bytes,
        "echo": echo,
        **trust,
    }
    if not result.delivered:
        report |= {"status": result.status.value, "may_have_arrived": result.may_have_arrived}
        report |= {"reason": result.reason}
    return report


def _report_receipt(receipt: Receipt | None) -> dict[str, Any]:
    if receipt is None:
        return {"kept": None, "kept_as": None}
    return {
        "kept": receipt.kept,
        "kept_as": receipt.kept_as or None,
        "reason": receipt.reason or None,
    }


def _kept_words(receipt: Receipt | None, is_answered: bool) -> str:
    """What became of a delivered file; the error says why it was not kept."""
    if receipt is not None and receipt.kept:
        return f", kept as {printable(receipt.kept_as, 255)}"
    if receipt is not None:
        return ", but the file was not kept"
    return ", but it is not known whether the file was kept" if is_answered else _KEEPS_NONE


def _print_delivered(target: Target, path: str, how: str, result: SendResult, kept: str) -> None:
    time = "" if result.rtt_s is None else f" in {result.rtt_s * 1000:.3f} ms"
    name = printable(target.name, 64)
    print(f"delivered {how}{result.size_bytes} bytes to {name} ({path}){time}{kept}")
