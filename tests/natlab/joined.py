"""A node that has joined a server, and diagnoses its NAT: `python -m tests.natlab.joined`.

Arguments: `SERVER [--with SERVER] [STUN...]`. It prints one line of JSON: the report, and whether
a message to the server arrived before the diagnosis and after it.
"""

import argparse
import asyncio
import json
from typing import Any

from p2ptui import Config, Node
from p2ptui.errors import P2PError

PATIENCE_S = 5.0


async def _arrives(node: Node, server: str) -> bool:
    try:
        return (await node.send(server, "hello", timeout_s=PATIENCE_S)).delivered
    except P2PError:
        return False


async def diagnose(server: str, stun: list[str], named: list[str]) -> dict[str, Any]:
    """Join, diagnose, and see whether the server is still there."""
    config = Config().with_options(address="0.0.0.0:0", enable_discovery=False)
    async with Node(config) as node:
        await node.connect(server)
        before = await _arrives(node, server)
        options = {"filter_with": named} if named else {}
        report = await node.diagnose_nat(stun, **options)
        after = await _arrives(node, server)
    return {"report": report.as_json(), "before": before, "after": after}


def main() -> None:
    """Run it once."""
    parser = argparse.ArgumentParser()
    parser.add_argument("server")
    parser.add_argument("--with", dest="named", action="append", default=[])
    parser.add_argument("stun", nargs="*")
    options = parser.parse_args()
    print(json.dumps(asyncio.run(diagnose(options.server, options.stun, options.named))))


if __name__ == "__main__":
    main()
