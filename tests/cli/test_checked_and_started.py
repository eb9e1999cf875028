"""`--check-config` and a start say the same: what one refuses the other does, in the same words."""

import os
import re
import sys
from pathlib import Path

import pytest

from p2ptui.cli import main
from p2ptui.io.key_files import create_key_file
from p2ptui.secure.secret import KeyKind, Secret
from tests.installed import headless, run

HERE = ("-a", "127.0.0.1:0", "--enable-discovery", "false")
ID = "0123abcd-0000-4000-8000-000000000001"

linux = pytest.mark.skipif(
    sys.platform != "linux", reason="modes, and a /proc where nothing is made"
)


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    for purpose in ("DATA", "STATE", "CONFIG"):
        monkeypatch.setenv(f"XDG_{purpose}_HOME", str(tmp_path / purpose.lower()))
    monkeypatch.delenv("P2PTUI_NETWORK_KEY", raising=False)
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("x")
    create_key_file(tmp_path / "net.key", KeyKind.NETWORK, Secret(b"k" * 32))
    (tmp_path / "open.key").write_bytes((tmp_path / "net.key").read_bytes())
    (tmp_path / "open.key").chmod(0o644)
    return tmp_path


REFUSED = {
    "a log file in no folder": '[logging]\nlog_to_file = true\nlog_file_path = "{}/file/f.log"',
    "a log file that is a folder": '[logging]\nlog_to_file = true\nlog_file_path = "{}/folder"',
    "an identity that is a folder": '[security]\nidentity = "{}/folder"',
    "an identity in no folder": '[security]\nidentity = "{}/file/me.key"',
    "an identity of another kind": '[security]\nidentity = "{}/net.key"',
    "no network key": '[security]\nnetwork_key_file = "{}/none.key"',
    "a network key for all": '[security]\nnetwork_key_file = "{}/open.key"',
    "files into nothing": '[files]\nreceive_into = "{}/none"',
    "files into a file": '[files]\nreceive_into = "{}/file"',
    "an id of keys": '[server]\nnode_id = "0123abcd-0000-8000-8000-000000000001"',
    "a cluster without keys": f'[server]\nnode_id = "{ID}"\n[cluster]\nservers = ["nats://h:1"]',
    "a cluster's file": '[cluster]\nservers = ["tls://h:1"]\ntls_ca = "{}/none.pem"',
}

WARNED = {
    "metrics for all": ('[metrics]\naddress = "0.0.0.0:0"', "anyone who can reach that address"),
    "no place for an identity": ("", "this node takes a new id each time"),
    "an id without keys": (f'[server]\nnode_id = "{ID}"', "has no keys and is open"),
    "a key and no need of it": ('[security]\nnetwork_key_file = "{}/net.key"', "in the open"),
    "a late heartbeat": ("[server]\nheartbeat_interval = 90", "quiet peers will be lost"),
}


def listing(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


@linux
@pytest.mark.parametrize("what", REFUSED)
def test_what_a_start_refuses_the_check_refuses(capsys, home, what):
    file = home / "node.toml"
    file.write_text(REFUSED[what].replace("{}", str(home)) + "\n")
    before = listing(home)
    lines = []
    for way in ("--check-config", "--no-ui"):
        assert main(["--config", str(file), *HERE, way]) == 2
        said = capsys.readouterr()
        assert said.out == ""
        assert said.err.count("\n") == 1
        lines.append(said.err)
    assert lines[0] == lines[1]
    assert listing(home) == before, "nothing is made"


@linux
@pytest.mark.parametrize("what", WARNED)
def test_what_a_start_warns_of_the_check_warns_of(home, what):
    text, words = WARNED[what]
    file = home / "node.toml"
    file.write_text(text.replace("{}", str(home)) + "\n")
    env = {"XDG_DATA_HOME": "/proc/nowhere"} if what == "no place for an identity" else {}
    (home / "logs").mkdir()
    checked = run("--config", str(file), *HERE, "--check-config", env=env)
    with headless(home / "logs", "--config", str(file), env=env) as node:
        pass
    assert checked.returncode == 0, checked.stderr
    told = {line.removeprefix("p2ptui: ") for line in checked.stderr.splitlines()}
    warned = set(re.findall(r" WARN +(.*)", node.log()))
    assert {without_port(line) for line in told} == {without_port(line) for line in warned}
    assert any(words in line for line in told)


def without_port(line: str) -> str:
    return re.sub(r":\d+ have no", ": have no", line)


@linux
def test_a_check_makes_nothing_and_minds_no_running_node(home):
    """An identity and a log that are not there yet are fine, and so are those in use."""
    identity, log = home / "deep" / "me.key", home / "logs" / "node.log"
    file = home / "node.toml"
    file.write_text(
        f'[security]\nidentity = "{identity}"\n[logging]\nlog_to_file = true\n'
        f'log_file_path = "{log}"\n'
    )
    before = listing(home)
    assert run("--config", str(file), *HERE, "--check-config").returncode == 0
    assert listing(home) == before
    (home / "out").mkdir()
    with headless(home / "out", "--config", str(file)):
        length = os.path.getsize(log)
        again = run("--config", str(file), *HERE, "--check-config")
        assert (again.returncode, again.stderr) == (0, "")
        assert os.path.getsize(log) == length
