"""A log under the real logrotate, in both of its styles: which lines are where afterwards."""

import io
import logging
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from p2ptui.config import LoggingOptions
from p2ptui.config.load import load_config
from p2ptui.logs import configure_logging, shutdown_logging
from tests.patience import PATIENCE_S

LOGROTATE = shutil.which("logrotate") or shutil.which("logrotate", path="/usr/sbin:/sbin")
CONFIGURATION = Path(__file__).parents[2] / "docs" / "deploy" / "logrotate"

pytestmark = pytest.mark.skipif(LOGROTATE is None, reason="needs logrotate")
log = logging.getLogger("p2ptui.test")


@pytest.fixture
def node_log(tmp_path: Path) -> Iterator[Path]:
    tmp_path.chmod(0o700)  # logrotate takes no folder that others may write to
    path = tmp_path / "node.log"
    open_log(path)
    yield path
    shutdown_logging()


def open_log(path: Path) -> None:
    """As at the start, and as SIGHUP has it done."""
    options = LoggingOptions(log_to_file=True, log_file_path=str(path))
    configure_logging(options, io.StringIO())


def rotate(path: Path, style: str) -> None:
    configuration = path.with_name("logrotate.conf")
    configuration.write_text(f"{path} {{\n rotate 2\n missingok\n {style}\n}}\n")
    configuration.chmod(0o600)
    state = path.with_name("state")
    ran = subprocess.run(
        [str(LOGROTATE), "--force", "--state", str(state), str(configuration)],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr


def said(path: Path) -> list[str]:
    return [line.rpartition(" ")[2] for line in path.read_text("utf-8").splitlines()]


def test_create_and_a_signal_lose_no_line(node_log: Path) -> None:
    log.info("first")
    rotate(node_log, "create")
    log.info("meanwhile")  # to the file that was moved away
    open_log(node_log)
    log.info("second")
    assert said(node_log.with_name("node.log.1")) == ["first", "meanwhile"]
    assert said(node_log) == ["second"]


def test_copytruncate_needs_no_signal_and_leaves_no_hole(node_log: Path) -> None:
    for number in range(100):
        log.info("before-%d", number)
    rotate(node_log, "copytruncate")
    log.info("second")
    rotate(node_log, "copytruncate")
    log.info("third")
    assert len(said(node_log.with_name("node.log.2"))) == 100
    assert said(node_log.with_name("node.log.1")) == ["second"]
    assert said(node_log) == ["third"]
    assert b"\0" not in node_log.read_bytes()


def test_what_is_rotated_is_what_the_node_is_told_to_write(tmp_path: Path) -> None:
    text = CONFIGURATION.read_text("utf-8")
    (rotated,) = re.findall(r"^(/\S+) \{$", text, re.MULTILINE)
    told = tmp_path / "config.toml"
    told.write_text("\n".join(re.findall(r"^#   (\S.*)$", text, re.MULTILINE)))
    options = load_config(told, {}, {}).logging
    assert options.log_to_file
    assert options.log_file_path == rotated
    assert options.max_log_file_size > LoggingOptions().max_log_file_size
    unit = CONFIGURATION.with_name("p2ptui.service").read_text("utf-8")
    assert f"LogsDirectory={Path(rotated).parent.name}\n" in unit


def test_the_configuration_that_is_offered_is_accepted(tmp_path: Path) -> None:
    text = CONFIGURATION.read_text("utf-8")
    assert "systemctl reload p2ptui.service" in text
    assert "kill-who" not in text  # before systemd 252 it had another name
    copy = tmp_path / "logrotate.conf"
    copy.write_text(text.replace("/var/log/p2ptui", str(tmp_path)))
    copy.chmod(0o600)
    command = [str(LOGROTATE), "--debug", "--state", str(tmp_path / "state"), str(copy)]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert ran.returncode == 0, ran.stderr
    assert "error:" not in ran.stderr
