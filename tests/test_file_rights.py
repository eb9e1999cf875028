"""Files of a configuration that others can change, and secrets in them that others can read."""

import logging
import os
import stat
import sys
from pathlib import Path

import pytest

from p2ptui import headless
from p2ptui.cli import main
from p2ptui.config.file_rights import file_warnings
from p2ptui.config.load import load_config

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="modes are of POSIX")

PASSWORD = '[cluster]\nservers = ["nats://me:hidden@127.0.0.1:4222"]\n'


def written(folder: Path, text: str, mode: int) -> Path:
    path = folder / "config.toml"
    path.write_text(text)
    path.chmod(mode)
    return path


def warned(path: Path, environ: dict[str, str] | None = None) -> list[str]:
    return file_warnings([path], load_config(path, environ or {}, {}))


def test_a_file_that_others_can_change(tmp_path):
    path = written(tmp_path, "", 0o646)
    assert warned(path) == [
        f"{path}: others can change it (mode 0646), and so what this node does: chmod go-w {path}"
    ]
    path.chmod(0o644)
    assert warned(path) == []


def test_a_password_that_others_can_read(tmp_path):
    path = written(tmp_path, PASSWORD, 0o644)
    (line,) = warned(path)
    assert line == (
        f"{path}: others can read the broker's password in it (mode 0644): move it to a file that"
        " cluster.credentials names, or to P2PTUI_CLUSTER_SERVERS"
    )
    elsewhere = {"P2PTUI_CLUSTER_SERVERS": "nats://me:hidden@127.0.0.1:4222"}
    assert "hidden" not in line
    path.chmod(0o600)
    assert warned(path) == []
    assert warned(written(tmp_path, "", 0o644), elsewhere) == []
    without = PASSWORD.replace("me:hidden@", "")
    assert warned(written(tmp_path, without, 0o644)) == []


@pytest.mark.parametrize("name", ["credentials", "tls_key"])
def test_a_secret_in_a_file_of_its_own(tmp_path, name):
    secret = tmp_path / "secret"
    secret.touch()
    secret.chmod(0o604)
    certificate = f'tls_cert = "{secret}"\n' if name == "tls_key" else ""
    text = f'[cluster]\nservers = ["tls://h:1"]\n{certificate}{name} = "{secret}"\n'
    path = written(tmp_path, text, 0o644)
    assert warned(path) == [
        f"cluster.{name}: others can read or change {secret} (mode 0604): chmod 600 {secret}"
    ]
    secret.chmod(0o600)
    assert warned(path) == []


@pytest.mark.parametrize(("group", "is_of_others"), [(1000, False), (100, True)])
def test_a_group_of_one_user_is_nobody_else(tmp_path, monkeypatch, group, is_of_others):
    """Many systems make such a group for each user, and let it write what he writes."""
    path = written(tmp_path, "", 0o600)
    config = load_config(path, {}, {})
    about = os.stat_result((stat.S_IFREG | 0o664, 0, 0, 1, 1000, group, 0, 0, 0, 0))
    monkeypatch.setattr(Path, "stat", lambda _path, **_: about)
    assert bool(file_warnings([path], config)) is is_of_others


def test_it_is_said_when_it_is_checked_and_when_a_node_starts(tmp_path, capsys, monkeypatch):
    path = written(tmp_path, "", 0o666)
    assert main(["-c", str(path), "--check-config"]) == 0
    assert f"p2ptui: {path}: others can change it" in capsys.readouterr().err
    seen = []
    monkeypatch.setattr(headless, "run_headless", lambda _, warnings: seen.extend(warnings) or 0)
    assert main(["-c", str(path), "--no-ui"]) == 0
    assert [line.partition(" (")[0] for line in seen] == [f"{path}: others can change it"]


def test_it_is_a_warning_of_the_log(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(headless, "configure_logging", lambda *_, **__: None)
    monkeypatch.setattr(headless, "Node", lambda *_, **__: 1 / 0)
    config = load_config(None, {}, {})
    with caplog.at_level(logging.INFO), pytest.raises(ZeroDivisionError):
        headless.run_headless(config, warnings=["a file: others can change it"])
    (record,) = [each for each in caplog.records if "others can" in each.getMessage()]
    assert (record.event, record.levelname) == ("config_warning", "WARNING")
