"""The configuration that nobody has named: where it is looked for, and who wins over it."""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from p2ptui import headless, places
from p2ptui.cli import main
from p2ptui.commands import read_command
from p2ptui.config import Config
from p2ptui.config.load import files_to_read, load_config
from p2ptui.errors import ConfigError
from p2ptui.reloading import Reloading


@pytest.fixture
def of_all(monkeypatch, tmp_path) -> Path:
    """The file that all users share."""
    path = tmp_path / "etc" / "config.toml"
    path.parent.mkdir()
    monkeypatch.setenv("P2PTUI_SYSTEM_CONFIG", str(path))
    return path


@pytest.fixture
def of_user(monkeypatch, tmp_path) -> Path:
    """The user's."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "home"))
    path = tmp_path / "home" / "p2ptui" / "config.toml"
    path.parent.mkdir(parents=True)
    return path


@pytest.fixture
def started(monkeypatch):
    """Run `p2ptui`; the configuration with which a node would have run."""

    def start(*arguments: str, run=lambda _: None) -> Config:
        configs: list[Config] = []

        def run_headless(config: Config, **_: Any) -> int:
            configs.append(config)
            run(config)
            return 0

        monkeypatch.setattr(headless, "run_headless", run_headless)
        assert main(["--no-ui", *arguments]) == 0
        return configs[0]

    return start


def where(capsys, *arguments: str) -> str:
    assert main(["--print-config", "--where", *arguments]) == 0
    return capsys.readouterr().out


def test_the_users_file_is_stronger_than_that_of_all(of_all, of_user, started):
    of_all.write_text('[server]\nname = "all"\nmax_connections = 7\n')
    of_user.write_text('name = "user"\n')
    server = started().server
    assert (server.name, server.max_connections) == ("user", 7)


def test_environment_and_command_line_are_stronger(of_user, started, monkeypatch):
    of_user.write_text('name = "user"\nmax_connections = 3\nheartbeat_interval = 4\n')
    monkeypatch.setenv("P2PTUI_SERVER_MAX_CONNECTIONS", "5")
    server = started("--name", "line").server
    assert (server.name, server.max_connections, server.heartbeat_interval) == ("line", 5, 4)


def test_a_named_file_is_read_instead(of_all, of_user, started, tmp_path):
    of_all.write_text("max_connections = 7\n")
    of_user.write_text('name = "user"\n')
    named = tmp_path / "node.toml"
    named.write_text("heartbeat_interval = 4\n")
    server = started("--config", str(named)).server
    defaults = Config().server
    assert server.heartbeat_interval == 4
    assert (server.name, server.max_connections) == (defaults.name, defaults.max_connections)


def test_none_is_read_where_that_is_wanted(of_all, started):
    of_all.write_text("not toml")
    assert started("--no-config") == Config()


def test_one_or_none(capsys):
    assert main(["--no-config", "--config", "a.toml"]) == 2
    assert "not allowed with argument --no-config" in capsys.readouterr().err


def test_a_command_reads_them_too(of_all, capsys):
    of_all.write_text("network_idd = 1\n")
    assert main(["ping", "127.0.0.1:9"]) == 2
    assert capsys.readouterr().err.startswith(f"p2ptui: {of_all}: unknown key 'network_idd'; did")
    read_command("ping", ["127.0.0.1:9", "--no-config"], {})


def test_it_is_checked_as_any_other(of_user, capsys):
    of_user.write_text("[server]\nmax_connections = 0\n")
    assert main(["--check-config"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"p2ptui: {of_user}: server.max_connections = 0: must be ")


def test_a_file_that_may_not_be_read(of_all, monkeypatch, capsys):
    of_all.touch()
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert main(["--no-ui"]) == 2
    assert capsys.readouterr().err == (
        f"p2ptui: {of_all}: cannot be read: permission denied; to run without it: --no-config, or"
        " --config FILE\n"
    )


def test_a_folder_that_may_not_be_entered_is_for_others(of_all, of_user, monkeypatch, started):
    exists = Path.exists

    def look(path: Path, **options: bool) -> bool:
        if path == of_all:
            raise PermissionError(13, "Permission denied")
        return exists(path, **options)

    monkeypatch.setattr(Path, "exists", look)
    of_user.write_text('name = "user"\n')
    assert started().server.name == "user"


def test_a_folder_in_its_place(of_user, capsys):
    of_user.mkdir()
    assert main(["--check-config"]) == 2
    assert capsys.readouterr().err == f"p2ptui: {of_user}: cannot be read: Is a directory\n"


def test_where_each_value_comes_from(of_all, of_user, capsys, monkeypatch):
    of_all.write_text(
        'name = "all" # flat\n\n[server]\nmax_connections = 7\n[ logging ]\nlevel="warn"\n'
    )
    of_user.write_text('[nat_detection]\n# a comment\n"retry_count" = 2\n')
    monkeypatch.setenv("P2PTUI_SERVER_NETWORK_ID", "blue")
    monkeypatch.setenv("RUST_LOG", "debug")
    assert where(capsys, "--join", "192.0.2.1:8080") == (
        f"{of_all}: read\n"
        f"{of_user}: read\n"
        "\n"
        'server.address = "0.0.0.0:0"      because of server.join\n'
        f"server.max_connections = 7        {of_all}:4\n"
        'server.network_id = "blue"        P2PTUI_SERVER_NETWORK_ID\n'
        f'server.name = "all"               {of_all}:1\n'
        'server.join = ["192.0.2.1:8080"]  command line\n'
        'logging.level = "debug"           RUST_LOG\n'
        f"nat_detection.retry_count = 2     {of_user}:3\n"
    )


def test_where_nothing_is_set(of_all, of_user, capsys):
    assert where(capsys) == f"{of_all}: not there\n{of_user}: not there\n"
    of_user.write_text('name = "user"\n')
    assert where(capsys, "--no-config") == f"{of_all}: not there\n{of_user}: not read\n"


def test_where_names_the_named_file(of_all, of_user, capsys, tmp_path):
    named = tmp_path / "node.json"
    named.write_text('{"server": {"name": "json"}}')
    told = where(capsys, "-c", str(named))
    assert told.splitlines() == [
        f"{of_all}: not there",
        f"{of_user}: not there",
        f"{named}: read",
        "",
        f'server.name = "json"  {named}',
    ]


def test_where_shows_no_secret(of_user, capsys, monkeypatch):
    key = "p2ptui-net-giztinjwg44dsor3hq6t4p2aifbegrcfizduqskkjnge2tspkbiwh4h564"
    monkeypatch.setenv("P2PTUI_NETWORK_KEY", key)
    of_user.write_text('[cluster]\nservers = ["nats://me:hidden@192.0.2.1:4222"]\n')
    told = where(capsys)
    assert "P2PTUI_NETWORK_KEY" in told
    assert key not in told
    assert "hidden" not in told


def test_where_goes_with_print_config(capsys):
    assert main(["--where"]) == 2
    assert capsys.readouterr().err == "p2ptui: --where goes with --print-config; see p2ptui -h\n"


def test_each_time_they_are_read_anew(of_user):
    assert load_config(files_to_read(None), {}, {}).server.name == Config().server.name
    of_user.write_text('name = "later"\n')
    assert load_config(files_to_read(None), {}, {}).server.name == "later"


@pytest.fixture
def read_again(started):
    """Start a node; what it does then to read its configuration at a SIGHUP."""

    def start(*arguments: str) -> Callable[[], Config]:
        nodes: list[Reloading] = []
        started(*arguments, run=lambda config: nodes.append(Reloading(config)))
        assert nodes[0].read is not None
        assert Reloading(Config()).read is None, "it is of that node, and of no other"
        return nodes[0].read

    return start


def test_a_file_that_goes_away_is_missed_by_who_has_read_it(of_all, of_user, read_again):
    """Without it a running node would take the defaults, and let in whom it denies."""
    of_all.write_text("max_connections = 7\n")
    read = read_again()
    of_user.write_text('name = "later"\n')
    assert read().server.name == "later"  # a new one is read
    for path in (of_user, of_all):
        aside = path.rename(path.with_suffix(".aside"))
        for _ in range(2):
            with pytest.raises(ConfigError, match=f"{path}: was read before, and cannot be found"):
                read()
        aside.rename(path)
        assert read().server.max_connections == 7


def test_so_is_one_whose_folder_is_closed(of_all, read_again, monkeypatch):
    of_all.write_text("max_connections = 7\n")
    read = read_again()

    def refuse(path, **_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "exists", refuse)
    with pytest.raises(ConfigError, match=f"{of_all}: was read before, and cannot be found"):
        read()


def test_a_node_that_reads_none_misses_none(of_all, read_again):
    of_all.touch()
    read = read_again("--no-config")
    of_all.unlink()
    assert read() == Config()


def test_without_a_place_there_is_no_file(monkeypatch):
    monkeypatch.setenv("P2PTUI_SYSTEM_CONFIG", "")
    monkeypatch.setattr(places, "user_folder", lambda purpose: None)
    assert places.config_files() == []
    assert files_to_read(None) == []


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="the others have other folders")
def test_that_of_all_is_in_etc(monkeypatch):
    monkeypatch.delenv("P2PTUI_SYSTEM_CONFIG")
    assert places.config_files()[0] == Path("/etc/p2ptui/config.toml")


@pytest.mark.parametrize(("platform", "is_there"), [("win32", False), ("darwin", True)])
def test_elsewhere_it_is_where_administrators_alone_can_put_it(monkeypatch, platform, is_there):
    """Any user may make a folder in ProgramData, and would configure everybody's nodes."""
    import platformdirs

    monkeypatch.delenv("P2PTUI_SYSTEM_CONFIG")
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setattr(platformdirs, "site_config_dir", lambda name, **_: f"/shared/{name}")
    assert (Path("/shared/p2ptui/config.toml") in places.config_files()) is is_there


def test_a_mistyped_variable_is_still_found():
    with pytest.raises(ConfigError, match="did you mean 'P2PTUI_SYSTEM_CONFIG'"):
        load_config(None, {"P2PTUI_SYSTEM_CONFIGG": ""}, {})
