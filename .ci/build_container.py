"""Build the container image of docs/deploy/Containerfile, and try it.

    python .ci/build_container.py                   # on the base image that it names
    python .ci/build_container.py --base IMAGE      # on another one
    python .ci/build_container.py --debootstrap     # on one of Debian, made here

Two nodes are started in the ways that the Containerfile promises; one is pinged, its health is
checked, and it is stopped and started again on the same volume. This needs podman or docker, and
from Python only the standard library. The Debian base image needs debootstrap and root, but no
registry. Everything made is removed, except the images.
"""

import argparse
import json
import re
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any, Final

from steps import ROOT, run

IMAGE: Final = "p2ptui"
BASE: Final = "localhost/p2ptui-base"
SUITE: Final = "trixie"
"""Debian 13, whose Python is 3.13; Docker's `python` images are based on it as well."""
LONGEST_S: Final = 60.0
GRACE_S: Final = 10
"""The grace period that the Containerfile recommends for stopping a node."""

LISTENING: Final = re.compile(r"is listening on (\S+), .* id (\S+)")


def engine() -> str:
    """podman, or docker if there is no podman."""
    for name in ("podman", "docker"):
        if shutil.which(name):
            return name
    raise SystemExit("there is neither podman nor docker here: install one of them")


def make_base() -> str:
    """Make a base image without a registry: Debian and its Python, available as `python`.

    Returns:
        Its name.
    """
    work = Path(tempfile.mkdtemp(prefix="p2ptui-base-"))
    root, packed = work / "root", work / "root.tar"
    packages = "--include=python3-venv,python3-pip,ca-certificates"
    try:
        run("debootstrap", "--variant=minbase", packages, SUITE, str(root))
        (root / "usr/local/bin/python").symlink_to("/usr/bin/python3")
        # A proxy's certificate that this machine trusts is trusted by the build as well.
        trusted = Path("etc/ssl/certs/ca-certificates.crt")
        shutil.copy("/" / trusted, root / trusted)
        shutil.rmtree(root / "var/cache/apt/archives")
        run("tar", "-C", str(root), "-cf", str(packed), ".")
        run(engine(), "import", str(packed), BASE)
    finally:
        # If debootstrap was interrupted, this machine's /proc is still mounted there.
        for mounted in (root / "proc", root / "sys"):
            if mounted.is_mount():
                run("umount", str(mounted))
        run("rm", "-rf", "--one-file-system", str(work))
    return BASE


def build(base: str | None) -> dict[str, Any]:
    """Build the image.

    Returns:
        The engine's description of it.
    """
    # podman's own image format has no place for a health check.
    form = ("--format", "docker") if engine() == "podman" else ()
    other = ("--build-arg", f"BASE={base}") if base else ()
    file = str(ROOT / "docs/deploy/Containerfile")
    run(engine(), "build", *form, *other, "--network", "host", "-f", file, "-t", IMAGE, str(ROOT))
    image: dict[str, Any] = json.loads(run(engine(), "image", "inspect", IMAGE))[0]
    return image


def free_port() -> int:
    """A free TCP port on loopback."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port: int = taken.getsockname()[1]
        return port


class Node:
    """A container with a node, and a volume of its own."""

    def __init__(self, name: str, *options: str) -> None:
        self.name = f"p2ptui-try-{name}-{free_port()}"
        self._options = options

    def run(self, *arguments: str) -> None:
        """Start it for the first time."""
        metrics = f"P2PTUI_METRICS_ADDRESS=127.0.0.1:{free_port()}"
        taken = ("--network", "host", "-v", f"{self.name}:/var/lib/p2ptui", "-e", metrics)
        node = (IMAGE, "-a", "127.0.0.1:0", "--enable-discovery", "false", *arguments)
        run(engine(), "run", "-d", "--name", self.name, *taken, *self._options, *node)

    def log(self) -> str:
        """Its output so far."""
        return run(engine(), "logs", self.name)

    def says(self, pattern: str, times: int = 1) -> re.Match[str]:
        """Wait until this many lines of its log match; return the last match."""
        end = time.monotonic() + LONGEST_S
        while len(found := list(re.finditer(pattern, self.log()))) < times:
            assert time.monotonic() < end, f"{self.name} does not say {pattern}:\n{self.log()}"
            time.sleep(0.2)
        return found[-1]

    def stop(self) -> None:
        """Stop it as a service manager does; it must end cleanly, and by itself."""
        run(engine(), "stop", "-t", str(GRACE_S), self.name)
        state = json.loads(run(engine(), "container", "inspect", self.name))[0]["State"]
        assert state["ExitCode"] == 0, f"exit code {state['ExitCode']}:\n{self.log()}"
        assert "Traceback" not in self.log(), self.log()

    def remove(self) -> None:
        """Remove the container and its volume, whether they exist or not."""
        for command in (("rm", "-f", self.name), ("volume", "rm", self.name)):
            subprocess.run([engine(), *command], capture_output=True, check=False)


def try_it(health: list[str]) -> str:
    """Start, ask, ping, stop and start again.

    Args:
        health: The command of the health check.

    Returns:
        The output of the ping.
    """
    one = Node("one")
    two = Node("two", "--read-only", "--cap-drop", "all", "--security-opt", "no-new-privileges")
    try:
        one.run()
        address, own_id = one.says(LISTENING.pattern).groups()
        two.run("--join", address)
        two.says("INFO +joined")
        for node in (one, two):
            run(engine(), "exec", node.name, *health)
        ping = ("ping", address, "-n", "2")
        once = ("run", "--rm", "--network", "host", "--no-healthcheck", "--entrypoint", "p2ptui")
        told = run(engine(), *once, IMAGE, *ping)
        one.stop()
        two.says("it said goodbye: shutting down")
        two.stop()
        run(engine(), "start", one.name)
        assert one.says(LISTENING.pattern, times=2)[2] == own_id, one.log()
        one.stop()
    finally:
        one.remove()
        two.remove()
    return told


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--base", metavar="IMAGE", help="build on this image")
    which.add_argument("--debootstrap", action="store_true", help="make a base image here")
    options = parser.parse_args()
    began = time.monotonic()
    image = build(make_base() if options.debootstrap else options.base)
    check = image.get("Healthcheck") or image["Config"]["Healthcheck"]  # of podman, of docker
    [kind, *health] = check["Test"]
    assert kind == "CMD", f"{kind} is no command that can be executed"
    print(try_it(health), end="")
    took = time.monotonic() - began
    print(f"{IMAGE}: {image['Size'] / 1e6:.0f} MB, built and tried in {took:.0f} s")


if __name__ == "__main__":
    main()
