"""What others wrote, as processes of a test: found or skipped, and ended by their own id."""

import errno
import shutil
import socket
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from p2ptui import Config, Node

HOST, SECOND_HOST = "127.0.0.1", "127.0.0.2"
PACKAGES: Mapping[str, str] = {
    "turnserver": "coturn",
    "turnutils_natdiscovery": "coturn",
    "turnutils_stunclient": "coturn",
    "stun": "stun-client",
}
"""The Debian package of each program."""


def program(name: str) -> str:
    """The path of a program; skips the test where it is missing."""
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"{name} is missing; on Debian: apt-get install {PACKAGES[name]}")
    return path


def free_ports(count: int) -> list[int]:
    """UDP ports that are free on both addresses; skips the test where there are not two."""
    ports: list[int] = []
    with ExitStack() as stack:
        while len(ports) < count:
            first = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            first.bind((HOST, 0))
            port = first.getsockname()[1]
            second = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            try:
                second.bind((SECOND_HOST, port))
            except OSError as error:
                if error.errno != errno.EADDRINUSE:
                    pytest.skip(f"nothing can be bound at {SECOND_HOST} here: {error}")
                continue
            ports.append(port)
    return ports


@contextmanager
def running(command: list[str], directory: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A server as a child process, ended with the test."""
    with (directory / "output").open("wb") as output:
        process = subprocess.Popen(command, cwd=directory, stdout=output, stderr=output)
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def stun_node(port: int, alternate_port: int) -> Node:
    """A node that serves STUN at two addresses and two ports, and on its own socket."""
    options = {
        "enable": True,
        "address": f"{HOST}:{port}",
        "alternate_address": SECOND_HOST,
        "alternate_port": alternate_port,
    }
    return Node(
        Config().with_options(address=f"{HOST}:0", enable_discovery=False, stun_server=options)
    )
