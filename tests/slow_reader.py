"""Two processes on this machine: one sends 50 MB, the other reads slowly; nothing may be missing.

    python -m tests.slow_reader --parts 72 --size 700000 --side-by-side 3 --pause 0.5

Every part that was told as delivered was read, with the same bytes, and the memory of both nodes
stays within what the options say.
"""

import argparse
import asyncio
import hashlib
import json
import resource
import subprocess
import sys
import time
from typing import Any, Final

from p2ptui import Config, Node
from p2ptui.core.events import DataReceived
from p2ptui.wire.address import format_address, parse_address

ALLOWANCE_BYTES: Final = 24 << 20
"""What the interpreter, its allocator and one decoded message may take beside the queues."""


def peak_bytes() -> int:
    """The most memory that this process has had."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def part(number: int, size: int) -> str:
    """A part of the text: it names itself, and compresses badly."""
    seed = hashlib.sha256(str(number).encode()).hexdigest()
    return (f"{number}:" + seed * (size // len(seed) + 1))[:size]


async def receive(pause_s: float) -> dict[str, Any]:
    """Be the slow reader; prints the address, and returns what came."""
    digest: dict[int, str] = {}
    async with Node(Config().with_options(address="127.0.0.1:0", enable_discovery=False)) as node:
        events = node.events()
        print(format_address(node.address), flush=True)
        before = peak_bytes()
        count = 0
        async for event in events:
            if not isinstance(event, DataReceived):
                continue
            if event.payload == "the end":
                break
            count += 1
            number = int(event.payload.partition(":")[0])
            digest[number] = hashlib.sha256(event.payload.encode()).hexdigest()
            await asyncio.sleep(pause_s)
        return {
            "received": count,
            "sha256": _digest_of(digest),
            "grown_bytes": peak_bytes() - before,
        }


async def send(target: str, parts: int, size: int, side_by_side: int) -> dict[str, Any]:
    """Send all parts, some at a time; what was told of them."""
    delivered: dict[int, str] = {}
    async with Node(Config().with_options(address="127.0.0.1:0", enable_discovery=False)) as node:
        await node.connect(parse_address(target))
        before = peak_bytes()
        waiting = iter(range(parts))

        async def send_some() -> None:
            for number in waiting:
                text = part(number, size)
                result = await node.send(parse_address(target), text)
                if result.delivered:
                    delivered[number] = hashlib.sha256(text.encode()).hexdigest()

        await asyncio.gather(*(send_some() for _ in range(side_by_side)))
        await node.send(parse_address(target), "the end")
        return {
            "delivered": len(delivered),
            "sha256": _digest_of(delivered),
            "grown_bytes": peak_bytes() - before,
        }


def _digest_of(parts: dict[int, str]) -> str:
    return hashlib.sha256(json.dumps(sorted(parts.items())).encode()).hexdigest()


def measure(parts: int, size: int, side_by_side: int, pause_s: float) -> dict[str, Any]:
    """Run both ends in processes of their own; what they tell."""
    me = [sys.executable, "-m", "tests.slow_reader", "--parts", str(parts), "--size", str(size)]
    began = time.monotonic()
    with subprocess.Popen(
        [*me, "--pause", str(pause_s), "--role", "receiver"], stdout=subprocess.PIPE, text=True
    ) as receiver:
        assert receiver.stdout is not None
        target = receiver.stdout.readline().strip()
        command = [*me, "--side-by-side", str(side_by_side), "--role", "sender", "--to", target]
        sender = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)
        there = json.loads(receiver.stdout.read())
    return {"sender": sender, "receiver": there, "seconds": round(time.monotonic() - began, 1)}


def judge(result: dict[str, Any], parts: int, config: Config) -> list[str]:
    """What is wrong with a result."""
    sender, receiver = result["sender"], result["receiver"]
    options = config.reliability
    wrong = []
    if sender["delivered"] != parts:
        wrong.append(f"{sender['delivered']} of {parts} were delivered")
    if receiver["received"] != sender["delivered"] or receiver["sha256"] != sender["sha256"]:
        wrong.append("what was delivered is not what was received")
    # A message waits as bytes, as an event, and while it is put together.
    bounds = {
        "sender": 2 * options.max_queued_bytes,
        "receiver": options.reader_bytes + 2 * options.reassembly_bytes_per_peer,
    }
    for role, bound in bounds.items():
        if result[role]["grown_bytes"] > bound + ALLOWANCE_BYTES:
            wrong.append(f"the {role} grew by {result[role]['grown_bytes'] / 1e6:.1f} MB")
    return wrong


def main() -> int:
    """The command line; 1 if something is wrong."""
    assert __doc__ is not None
    parser = argparse.ArgumentParser(
        prog="python -m tests.slow_reader", description=__doc__.partition("\n")[0]
    )
    parser.add_argument("--parts", type=int, default=72, help="messages (72)")
    parser.add_argument("--size", type=int, default=700_000, help="bytes of each (700,000)")
    parser.add_argument("--side-by-side", type=int, default=3, help="sent at a time (3)")
    parser.add_argument("--pause", type=float, default=0.5, help="after each read, seconds (0.5)")
    parser.add_argument("--role", choices=("receiver", "sender"), help=argparse.SUPPRESS)
    parser.add_argument("--to", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.role == "receiver":
        print(json.dumps(asyncio.run(receive(options.pause))))
        return 0
    if options.role == "sender":
        work = send(options.to, options.parts, options.size, options.side_by_side)
        print(json.dumps(asyncio.run(work)))
        return 0
    result = measure(options.parts, options.size, options.side_by_side, options.pause)
    print(json.dumps(result, indent=2))
    wrong = judge(result, options.parts, Config())
    print("\n".join(wrong) or "all that was delivered was received, within the bounds")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
