"""Whether the installed p2ptui is the build that is meant, and two nodes of it meet.

    python .ci/try_installed.py compiled
    python .ci/try_installed.py pure

What is installed is tried with nothing but its own dependencies, on every platform: so this is no
test of pytest's.
"""

import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
from pathlib import Path

LONGEST_S = 60.0


def program() -> str:
    """The command beside this Python: no other one that may be in PATH."""
    found = shutil.which("p2ptui", path=sysconfig.get_path("scripts"))
    assert found is not None, "p2ptui is not installed"
    return found


def output_of(*command: str) -> str:
    """What a program prints, which must end well."""
    done = subprocess.run(
        command, capture_output=True, encoding="utf-8", timeout=LONGEST_S, check=False
    )
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout


def address_in(log: Path, server: "subprocess.Popen[bytes]") -> str:
    """Where a node listens, as soon as it says so."""
    end = time.monotonic() + LONGEST_S
    while True:
        text = log.read_text("utf-8", "replace")
        if found := re.search(r"is listening on (\S+),", text):
            return found[1]
        assert server.poll() is None, text
        assert time.monotonic() < end, text
        time.sleep(0.1)


def main() -> None:
    """The command line."""
    [meant] = sys.argv[1:]
    assert meant in ("compiled", "pure"), __doc__
    p2ptui = program()
    version = output_of(p2ptui, "--version").strip()
    assert version.endswith(" (compiled)") is (meant == "compiled"), f"{version}, but not {meant}"
    with tempfile.TemporaryDirectory() as temporary:
        log = Path(temporary) / "log"
        node = [
            p2ptui,
            "--no-ui",
            "--ephemeral",
            "-a",
            "127.0.0.1:0",
            "--enable-discovery",
            "false",
        ]
        with log.open("wb") as stderr:
            server = subprocess.Popen(node, stdout=subprocess.DEVNULL, stderr=stderr)
        try:
            pinged = output_of(p2ptui, "ping", address_in(log, server), "-n", "2")
        finally:
            server.terminate()
            server.wait(LONGEST_S)
    print(f"{version}\n{pinged}", end="")


if __name__ == "__main__":
    main()
