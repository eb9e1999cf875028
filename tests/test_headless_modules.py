"""What a node without a screen does not load: each of these takes memory for as long as it runs."""

import json
import subprocess
import sys
from typing import Final

UNNEEDED: Final = (
    "textual",
    "rich",
    "tomli",
    "platformdirs",
    "difflib",
    "logging.handlers",
    "pickle",
    "email",
    "http",
    "urllib.request",
    "xml",
    "multiprocessing",
    "sqlite3",
    "cryptography.x509",
    "cryptography.fernet",
    "cryptography.hazmat.primitives.serialization.ssh",
    "p2ptui.tui",
    "p2ptui.checking",
    "p2ptui.config.render",
    "p2ptui.commands.session",
    "p2ptui.commands.send",
    "p2ptui.commands.receive",
    "prometheus_client",
    "p2ptui.metrics",
    "nats",
    "nkeys",
    "p2ptui.core.cluster",
    "p2ptui.io.nats_bus",
    "p2ptui.node.cluster",
)
"""Of the screen, of the commands, of what a user asks for once, and of a server among others."""

PROGRAM: Final = """
import asyncio, json, sys

from p2ptui.cli import _node_parser
from p2ptui.config.load import load_config
from p2ptui.headless import run_headless  # noqa: F401
from p2ptui.node import Node

_node_parser().parse_args(["--no-ui"])
overrides = {"server.address": "127.0.0.1:0", "security.ephemeral": True}


async def run():
    async with Node(load_config(None, {}, overrides)):
        print(json.dumps(sorted(sys.modules)))


asyncio.run(run())
"""


def test_a_node_without_a_screen_loads_nothing_else() -> None:
    told = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True, timeout=60
    )
    loaded = set(json.loads(told.stdout.splitlines()[-1]))
    assert "p2ptui.headless" in loaded
    assert loaded & set(UNNEEDED) == set()
