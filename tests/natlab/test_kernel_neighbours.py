"""Two machines of one LAN with the defaults, but that they listen at all addresses."""

import json
import subprocess
import time

from tests.natlab.laboratory import Laboratory
from tests.natlab.rules import Kind
from tests.natlab.traversal import ROOT
from tests.patience import PATIENCE_S

_NODE = """
import asyncio, json, sys
from p2ptui import Config, Node

async def main():
    options = {"address": "0.0.0.0:8080", "nat_detection": {"enable": False, "stun_servers": []}}
    async with Node(Config().with_options(**options)) as node:
        async with asyncio.timeout(float(sys.argv[1])):
            while not any(peer.status.value == "authenticated" for peer in node.peers):
                await asyncio.sleep(0.05)
        print(json.dumps([peer.address for peer in node.peers]), flush=True)
        await asyncio.sleep(2)  # the other one is to see it too

asyncio.run(main())
"""


def test_two_nodes_at_the_usual_port_meet(laboratory: Laboratory) -> None:
    nat = laboratory.nat(Kind.PORT_RESTRICTED)
    hosts = [nat.host(), nat.host()]
    running = [
        host.start(
            ["python", "-c", _NODE, str(PATIENCE_S / 2)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            cwd=ROOT,
        )
        for host in hosts
    ]
    began = time.monotonic()
    for node, other in zip(running, reversed(hosts), strict=True):
        out, errors = node.communicate(timeout=PATIENCE_S)
        assert node.returncode == 0, errors
        assert [other.address, 8080] in json.loads(out)
    assert time.monotonic() - began < PATIENCE_S
