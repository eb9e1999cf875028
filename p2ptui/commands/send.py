"""Send a message, a file or standard input to a node, and say whether it arrived."""

import argparse
import asyncio
import base64
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from p2ptui.commands import CommandParser, positive_seconds
from p2ptui.commands.session import (
    DEFAULT_TIMEOUT_S,
    Target,
    add_target_arguments,
    command_config,
    first_hop,
    milliseconds,
    open_node,
    print_json,
    reach,
)
from p2ptui.core.endpoint import encode_data
from p2ptui.core.events import DataReceived, SendResult, SendStatus
from p2ptui.errors import LocalError, MessageTooLargeError, P2PError
from p2ptui.node.subscription import Subscription
from p2ptui.text import printable

ECHO_PATIENCE_S: Final = 1.0
"""How long an echo is waited for, beside half again as long as the message took."""

ENVELOPE_BYTES: Final = 256
"""What a message's other fields take of the limit, at most."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What `p2ptui send` takes."""
    add_target_arguments(parser)
    parser.add_argument(
        "text", metavar="TEXT", nargs="*", help="the message; - reads standard input"
    )
    parser.add_argument("--file", type=Path, metavar="F", help="send a file instead")
    parser.add_argument(
        "--timeout",
        type=positive_seconds,
        default=DEFAULT_TIMEOUT_S,
        metavar="S",
        help="seconds in which it must arrive (10)",
    )
    parser.add_argument("--json-payload", action="store_true", help="the message is JSON")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


async def run(
    options: argparse.Namespace, parser: CommandParser, environ: Mapping[str, str]
) -> int:
    """Send, print, and tell by the exit code whether it arrived."""
    if bool(options.text) == (options.file is not None):
        parser.error("give either a text, - or --file F")
    config = command_config(options, environ)
    limit = config.server.max_message_size
    payload = _read_payload(options, parser, limit)
    size = len(encode_data(payload)) + ENVELOPE_BYTES
    if size > limit:
        raise MessageTooLargeError(_too_large(size, limit))
    server = await first_hop(options, parser)
    async with open_node(config, server) as node:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + options.timeout
        target = await reach(node, options, server, options.timeout)
        events = node.events()
        began = loop.time()
        result = await target.send(payload, max(deadline - loop.time(), 0.001))
        took = loop.time() - began
        patience = min(ECHO_PATIENCE_S + 1.5 * took, max(deadline - loop.time(), 0.0))
        echo = await _wait_for_echo(events, target, patience) if target.is_peer else None
    _print_result(options, target, result, echo)
    return 0 if result.status in (SendStatus.DELIVERED, SendStatus.UNCONFIRMED) else 1


def _too_large(size: int, limit: int) -> str:
    return f"the message is {size} bytes, the limit is {limit} (max_message_size); send it in parts"


def _read_payload(options: argparse.Namespace, parser: CommandParser, limit: int) -> Any:
    if options.file is not None:
        name, data = options.file.name, _read_file(options.file, limit)
    elif options.text == ["-"]:
        # One byte more than fits tells that it does not.
        name, data = "-", sys.stdin.buffer.read(limit + 1)
    else:
        name, data = "", " ".join(options.text).encode("utf-8", "surrogateescape")
    if len(data) > limit:
        raise MessageTooLargeError(_too_large(len(data), limit).replace("is", "is over", 1))
    if options.json_payload:
        try:
            return json.loads(data, parse_constant=_refuse_constant)
        except (ValueError, RecursionError) as error:
            parser.error(f"the payload is not JSON: {error}")
    try:
        text = data.decode()
    except UnicodeDecodeError:
        text = "\0"
    if "\0" not in text or not name:
        return text
    return {"file": name, "base64": base64.b64encode(data).decode()}


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} has no JSON form")


def _read_file(path: Path, limit: int) -> bytes:
    try:
        size = path.stat().st_size
        if size > limit:
            raise MessageTooLargeError(_too_large(size, limit))
        with path.open("rb") as file:
            return file.read(limit + 1)
    except OSError as error:
        raise LocalError(f"cannot read {path}: {error.strerror or error}") from None


async def _wait_for_echo(events: Subscription, target: Target, patience_s: float) -> Any:
    async def echo() -> Any:
        async for event in events:
            if (
                isinstance(event, DataReceived)
                and event.is_echo
                and event.node_id == target.node_id
            ):
                return event.payload.get("echo")
        return None

    try:
        return await asyncio.wait_for(echo(), patience_s)
    except TimeoutError:
        return None


def _print_result(
    options: argparse.Namespace, target: Target, result: SendResult, echo: Any
) -> None:
    if options.json:
        print_json(
            {
                "target": options.target,
                "node_id": target.node_id,
                "delivered": result.delivered,
                "status": result.status.value,
                "attempts": result.attempts,
                "rtt_ms": milliseconds(result.rtt_s),
                "bytes": result.size_bytes,
                "echo": echo,
                "reason": result.reason,
            }
        )
        return
    name = printable(target.name, 64)
    if result.delivered:
        time = "" if result.rtt_s is None else f" in {result.rtt_s * 1000:.3f} ms"
        print(f"delivered {result.size_bytes} bytes to {name} ({target.path.value}){time}")
    elif result.status is SendStatus.UNCONFIRMED:
        print(f"sent {result.size_bytes} bytes to {name}, unconfirmed: {result.reason}")
    else:
        raise P2PError(f"not delivered to {name}: {result.reason}")
