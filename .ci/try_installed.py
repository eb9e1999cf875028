"""Check that the installed p2ptui is the intended build, and that two of its nodes can meet.

    python .ci/try_installed.py compiled
    python .ci/try_installed.py pure
    python .ci/try_installed.py pure dist/p2ptui        # another program than the installed one

The installed program is tried with only its own dependencies, on every platform, so this does not
use pytest.
"""

import re
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
import time
from pathlib import Path

LONGEST_S = 60.0


def program() -> str:
    """The command beside this Python, rather than any other in PATH."""
    found = shutil.which("p2ptui", path=sysconfig.get_path("scripts"))
    assert found is not None, "p2ptui is not installed"
    return found


def output_of(*command: str) -> str:
    """The output of a program, which must succeed."""
    done = subprocess.run(
        command, capture_output=True, encoding="utf-8", timeout=LONGEST_S, check=False
    )
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout


def address_in(log: Path, server: "subprocess.Popen[bytes]") -> str:
    """The address at which a node listens, as soon as its log shows it."""
    end = time.monotonic() + LONGEST_S
    while True:
        text = log.read_text("utf-8", "replace")
        if found := re.search(r"is listening on (\S+),", text):
            return found[1]
        assert server.poll() is None, text
        assert time.monotonic() < end, text
        time.sleep(0.1)


def stop(server: "subprocess.Popen[bytes]", log: Path) -> None:
    """Stop a node as a service manager does; it must end cleanly."""
    if sys.platform == "win32":
        # The node has its own process group, so this reaches it and not this process.
        server.send_signal(signal.CTRL_BREAK_EVENT)
    else:
        server.terminate()
    code = server.wait(LONGEST_S)
    text = log.read_text("utf-8", "replace")
    assert code == 0, f"stopped with exit code {code}: {text}"
    assert "Traceback" not in text, text


def main() -> None:
    """The command line."""
    meant, *other = sys.argv[1:]
    assert meant in ("compiled", "pure"), __doc__
    p2ptui = other[0] if other else program()
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
        group = subprocess.CREATE_NEW_PROCESS_GROUP if sys.platform == "win32" else 0
        with log.open("wb") as stderr:
            server = subprocess.Popen(
                node, stdout=subprocess.DEVNULL, stderr=stderr, creationflags=group
            )
        try:
            pinged = output_of(p2ptui, "ping", address_in(log, server), "-n", "2")
            stop(server, log)
        finally:
            if server.poll() is None:
                server.kill()
                server.wait(LONGEST_S)
    print(f"{version}\n{pinged}stopped cleanly")


if __name__ == "__main__":
    main()
