"""What secure sessions cost a command that needs none: nothing of `cryptography` is loaded."""

import subprocess
import sys

import pytest

from tests.patience import PATIENCE_S

MODULES = ["p2ptui", "p2ptui.cli", "p2ptui.secure", "p2ptui.secure.noise", "p2ptui.secure.retry"]


def loaded_after(code):
    ran = subprocess.run(
        [sys.executable, "-c", f"import sys\n{code}\nprint('cryptography' in sys.modules)"],
        capture_output=True,
        encoding="utf-8",
        timeout=PATIENCE_S,
        check=True,
    )
    return ran.stdout.split()[-1] == "True"


@pytest.mark.parametrize("module", MODULES)
def test_importing_it_loads_no_cryptography(module):
    assert not loaded_after(f"import {module}")


def test_the_first_key_loads_it():
    assert loaded_after("from p2ptui.secure import StaticKeys; StaticKeys.generate()")


@pytest.mark.parametrize(
    "arguments",
    [
        ["--version"],
        ["--help"],
        ["--print-config"],
        ["--check-config"],
        ["ping", "--help"],
        ["ping"],
        ["key", "new"],
        ["--nonsense"],
    ],
    ids=" ".join,
)
def test_a_command_that_takes_no_key_loads_no_cryptography(arguments):
    ran = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "p2ptui", *arguments],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        timeout=PATIENCE_S,
        check=False,
    )
    loaded = [line.rpartition("|")[2].strip() for line in ran.stderr.splitlines()]
    assert "p2ptui.cli" in loaded
    assert [name for name in loaded if name.partition(".")[0] == "cryptography"] == []


MEETING = """
import asyncio
from p2ptui import Config, Node

def loaded():
    return {name for name in sys.modules if name.partition(".")[0] == "cryptography"}

async def meet():
    options = Config().with_options(
        address="127.0.0.1:0", enable_discovery=False, ephemeral=True
    )
    async with Node(options) as one, Node(options) as other:
        before = loaded()
        peer = await one.connect(other.address)
        assert peer.secured and before
        assert (await one.send(other.id, "hello")).delivered
        print(sorted(loaded() - before))

asyncio.run(meet())
"""


def test_a_node_has_loaded_all_of_it_when_it_starts():
    ran = subprocess.run(
        [sys.executable, "-c", "import sys\n" + MEETING],
        capture_output=True,
        encoding="utf-8",
        timeout=PATIENCE_S,
        check=True,
    )
    assert ran.stdout == "[]\n"


OPEN = """
import asyncio
from p2ptui import Config, Node

async def start():
    options = Config().with_options(address="127.0.0.1:0", enable_discovery=False)
    async with Node(options, secured=False):
        pass

asyncio.run(start())
"""


def test_an_open_node_loads_none_of_it():
    assert not loaded_after(OPEN)
