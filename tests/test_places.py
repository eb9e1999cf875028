"""A user without a home: nothing is remembered or written elsewhere, and all else works."""

import re
import sys
from pathlib import Path

import pytest

from p2ptui import places
from p2ptui.config import LoggingOptions
from p2ptui.errors import ConfigError
from p2ptui.logs import configure_logging, shutdown_logging
from p2ptui.nat.port_memory import Learnt
from p2ptui.node.port_store import PortStore
from p2ptui.places import user_file
from p2ptui.tui.history import History
from p2ptui.tui.settings import Settings, history_path, settings_path

ROOT = Path(__file__).parent.parent
FOLDERS = ("user_state_dir", "user_config_dir", "user_log_dir")


def unknown(*_, **__):
    raise RuntimeError("could not determine the home directory for '~/.local/state'")


def left_as_it_is(*_, **__):
    return "~/.local/state/p2ptui"


@pytest.fixture(params=[unknown, left_as_it_is], ids=["is an error", "leaves the tilde"])
def homeless(request, monkeypatch, tmp_path):
    """As platformdirs tells it, in its versions of today and of before."""
    for name in FOLDERS:
        monkeypatch.setattr(f"platformdirs.{name}", request.param)
    monkeypatch.chdir(tmp_path)
    yield
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("purpose", ["state", "config", "log"])
def test_with_a_home_there_is_a_file_in_it(purpose):
    path = user_file(purpose, "name")
    assert path.is_absolute()
    assert path.name == "name"
    assert "p2ptui" in path.parts


@pytest.mark.parametrize("purpose", ["state", "config", "log"])
def test_without_a_home_there_is_no_file(homeless, purpose):
    assert user_file(purpose, "name") is None


def test_ports_are_remembered_in_the_session(homeless):
    store = PortStore()
    assert store.recall("198.51.100.1", 5.0) is None
    store.remember("198.51.100.1", Learnt(at=5.0, samples=8, weights={"sequential": 0.9}))
    assert store.recall("198.51.100.1", 6.0).samples == 8


def test_the_screen_remembers_in_the_session(homeless):
    history, settings = History(history_path()), Settings(settings_path())
    history.add("help")
    settings.remember("theme", "nord")
    assert history.previous("") == "help"
    assert settings.text("theme") == "nord"


def test_a_log_file_has_to_be_named(homeless):
    options = LoggingOptions(log_to_file=True)
    with pytest.raises(ConfigError) as caught:
        configure_logging(options)
    shutdown_logging()
    assert str(caught.value) == (
        "logging.log_to_file: there is no home directory to keep the log in;"
        " name a file with logging.log_file_path"
    )


def test_no_other_module_looks_for_the_home():
    homes = re.compile(r"platformdirs|Path\.home\(|getpass|import pwd|environ\[.HOME.\]")
    users = [
        path.relative_to(ROOT)
        for path in (ROOT / "p2ptui").rglob("*.py")
        if homes.search(path.read_text("utf-8"))
    ]
    assert users == [Path(places.__file__).relative_to(ROOT)]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the others have other folders")
@pytest.mark.parametrize("purpose", ["config", "data", "state"])
@pytest.mark.parametrize(
    "environment",
    [
        {"HOME": "/home/alice"},
        {"HOME": "/home/alice", "XDG_CONFIG_HOME": "/c", "XDG_DATA_HOME": "/d"},
        {"HOME": "/home/alice", "XDG_STATE_HOME": ""},
        {"XDG_CONFIG_HOME": "/c", "XDG_DATA_HOME": "/d", "XDG_STATE_HOME": "/s"},
    ],
)
def test_the_usual_folders_are_known_without_help(monkeypatch, purpose, environment):
    for name in ("HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    import platformdirs

    right = Path(getattr(platformdirs, f"user_{purpose}_dir")("p2ptui", appauthor=False))
    monkeypatch.delitem(sys.modules, "platformdirs")
    assert places.user_folder(purpose) == right
    assert "platformdirs" not in sys.modules
