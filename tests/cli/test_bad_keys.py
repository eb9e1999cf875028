"""Keys that cannot be used: one clear line each, by every way in, and nothing is open instead."""

import errno
import os
import sys
from pathlib import Path

import pytest

from p2ptui.cli import main
from p2ptui.config.load import load_config
from p2ptui.errors import ConfigError
from p2ptui.io.key_files import KeyFileError, create_key_file, read_key_file
from p2ptui.places import user_file
from p2ptui.secure.identity import Identity
from p2ptui.secure.secret import KeyKind, Secret, write_key
from tests.installed import headless, run

KEY, SEED = Secret(bytes(range(60, 92))), Secret(bytes(range(32)))
KEY_TEXT, SEED_TEXT = write_key(KeyKind.NETWORK, KEY), write_key(KeyKind.SEED, SEED)

posix = pytest.mark.skipif(sys.platform == "win32", reason="modes and links are of POSIX")


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    for purpose in ("DATA", "STATE"):
        monkeypatch.setenv(f"XDG_{purpose}_HOME", str(tmp_path / purpose.lower()))
    monkeypatch.delenv("P2PTUI_NETWORK_KEY", raising=False)
    return tmp_path


def write(path: Path, content: str | bytes, mode: int = 0o600) -> None:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    path.chmod(mode)


def contents(right: str, wrong: str) -> dict[str, str | bytes]:
    """What may be in a file instead of a key."""
    return {
        "empty": "",
        "blank": "\n \n",
        "truncated": right[:40],
        "mistyped": right[:-1] + ("a" if right[-1] != "a" else "b"),
        "two of them": f"{right}\n{right}\n",
        "the other kind": wrong,
        "base64": "q83vEjRWeJCrze8SNFZ4kKvN7xI0VniQq83vEjRWeJA=",
        "binary": bytes(range(256)) * 40,
    }


MADE = {
    "folder": Path.mkdir,
    "loop": lambda path: path.symlink_to(path.name),
    "dangling": lambda path: path.symlink_to(path.with_name("gone")),
    "pipe": lambda path: os.mkfifo(path, 0o600),
}


def fill(path: Path, what: str, right: str, wrong: str) -> None:
    """Put a bad thing of some kind where a file with a key should be."""
    if what in MADE:
        MADE[what](path)
    else:
        write(path, contents(right, wrong).get(what, right))
        if what == "readable by others":
            path.chmod(0o644)


SAID = {
    "empty": "is empty",
    "blank": "is empty",
    "truncated": "too short",
    "mistyped": "damaged or mistyped",
    "two of them": "too long",
    "base64": "begins with p2ptui-",
    "binary": "begins with p2ptui-",
    "readable by others": "others can read or change it (mode 0644)",
    "folder": "is a folder",
    "loop": "leads back to itself",
    "dangling": "is a link to a file that is not there",
    "pipe": "is no ordinary file",
}
WAYS = {
    "node": ["--no-ui", "-a", "127.0.0.1:0"],
    "ping": ["ping", "127.0.0.1:9", "--timeout", "1"],
    "send": ["send", "127.0.0.1:9", "hello"],
    "receive": ["receive", "-a", "127.0.0.1:0"],
    "peers": ["peers", "127.0.0.1:9"],
}


def listing(folder: Path) -> dict[str, bytes]:
    """All that is in a folder, and what is in that."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else b""
        for path in folder.rglob("*")
        if path.is_symlink() or not path.is_fifo()
    }


def test_a_key_that_no_file_is_left_to_read_is_not_blamed_on_its_file(home, monkeypatch):
    path = home / "some.key"
    write(path, KEY_TEXT)
    opened = os.open

    def fail(name, *arguments, **options):
        if Path(name) == path:
            raise OSError(errno.EMFILE, "Too many open files")
        return opened(name, *arguments, **options)

    monkeypatch.setattr(os, "open", fail)
    with pytest.raises(KeyFileError) as refused:
        read_key_file(path, KeyKind.NETWORK)
    assert str(refused.value) == (
        f"{path}: cannot be read: too many files and sockets are open; raise the limit"
        " (ulimit -n), or run fewer programs"
    )


@posix
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("what", [*SAID, "the other kind"])
@pytest.mark.parametrize("option", ["--identity", "--network-key-file"])
def test_a_bad_key_file_is_one_line(capsys, home, option, what, way):
    is_identity = option == "--identity"
    right, wrong = (SEED_TEXT, KEY_TEXT) if is_identity else (KEY_TEXT, SEED_TEXT)
    path = home / "some.key"
    fill(path, what, right, wrong)
    before = listing(home)
    assert main([*WAYS[way], option, str(path)]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1
    assert said.err.startswith(f"p2ptui: {path}: ")
    other = "holds a network key, not" if is_identity else "holds the seed of an identity, not"
    assert SAID.get(what, other) in said.err
    assert ";" in said.err or "chmod" in said.err, "it says what to do"
    for key in (KEY_TEXT, SEED_TEXT):
        assert key[15:40] not in said.err
    assert listing(home) == before, "nothing is made, and nothing is written over"


@pytest.mark.parametrize("way", WAYS)
def test_a_network_key_that_is_not_there_is_not_made(capsys, home, way):
    path = home / "net.key"
    assert main([*WAYS[way], "--network-key-file", str(path)]) == 2
    assert "there is no such file; make one with: p2ptui key new" in capsys.readouterr().err
    assert not path.exists()


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("option", ["--identity", "--network-key-file"])
def test_an_empty_name_is_not_passed_over(capsys, way, option):
    """As of a shell's variable that is not set: the node would be more open, or somebody else."""
    assert main([*WAYS[way], option, ""]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "is empty: name a file, or leave it out" in error


@pytest.mark.parametrize("name", ["IDENTITY", "NETWORK_KEY_FILE"])
def test_an_empty_variable_is_not_passed_over(name):
    with pytest.raises(ConfigError, match="is empty: name a file, or leave it out"):
        load_config(None, {f"P2PTUI_SECURITY_{name}": ""}, {})


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("text", ["", " ", "\n"])
def test_an_empty_network_key_is_not_passed_over(capsys, monkeypatch, way, text):
    monkeypatch.setenv("P2PTUI_NETWORK_KEY", text)
    assert main(WAYS[way]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "P2PTUI_NETWORK_KEY is empty" in error


@pytest.mark.parametrize(
    "text",
    [
        KEY.reveal().hex(),
        "q83vEjRWeJCrze8SNFZ4kKvN7xI0VniQq83vEjRWeJA=",
        "q83vEjRWeJCrze8SNFZ4kKvN7xI0VniQq83vEjRWeJA",
    ],
)
def test_a_key_as_other_programs_write_it_is_refused_and_not_repeated(capsys, monkeypatch, text):
    assert main(["--no-ui", "--network-key-file", text]) == 2
    said = capsys.readouterr().err
    assert "was given a key (not repeated here)" in said
    assert text not in said
    monkeypatch.setenv("P2PTUI_NETWORK_KEY", text)
    assert main(["--no-ui"]) == 2
    said = capsys.readouterr().err
    assert "begins with p2ptui-net-" in said
    assert text not in said


@pytest.mark.parametrize("kind", ["toml", "json"])
@pytest.mark.parametrize(
    "option",
    [
        "security.identity",
        "security.mode",
        "security.allowed_ids",
        "security.network_key_file",
        "security.network_key",
        "security.ephemeral",
        "server.name",
        "server.address",
        "server.join",
        "server.max_connections",
        "logging.level",
        "ui.keys",
        "files.receive_into",
        f"security.{KEY_TEXT}",
        f"{KEY_TEXT}.mode",
    ],
)
@pytest.mark.parametrize("form", ["{}", "[{}]", "{{ a = {} }}", "{{ {} = 1 }}"])
def test_no_complaint_about_a_file_of_options_repeats_a_key(capsys, home, option, form, kind):
    section, _, name = option.partition(".")
    value = form.format(f'"{KEY_TEXT}"')
    text = f"[{section}]\n{name} = {value}\n"
    if kind == "json":
        value = value.replace(" =", ":").replace("{ a", '{ "a"')
        text = f'{{"{section}": {{"{name}": {value}}}}}'
    file = home / f"c.{kind}"
    file.write_text(text)
    for way in ("--check-config", "--print-config", "--no-ui"):
        assert main([way, "-a", "127.0.0.1:0", "--config", str(file)]) == 2
        said = capsys.readouterr()
        assert KEY_TEXT[15:40] not in said.out + said.err
        assert said.err.count("\n") == 1


@pytest.mark.parametrize("name", ["NAME", "MODE", "ADDRESS"])
def test_no_complaint_about_a_variable_repeats_a_key(name):
    section = "SECURITY" if name == "MODE" else "SERVER"
    with pytest.raises(ConfigError) as caught:
        load_config(None, {f"P2PTUI_{section}_{name}": KEY_TEXT}, {})
    assert KEY_TEXT[15:40] not in str(caught.value)


# Files that are fine, and cannot be used all the same.


def test_an_identity_in_use_is_one_line(home):
    path = home / "me.key"
    with headless(home, "--identity", str(path)) as node:
        second = run("--no-ui", "-a", "127.0.0.1:0", "--identity", str(path))
        command = run("ping", node.address, "--identity", str(path))
    for ended in (second, command):
        assert ended.returncode == 1
        assert ended.stderr.count("\n") == 1
        assert f"{path}: another running node uses this identity" in ended.stderr
        assert "leave --identity out" in ended.stderr


def test_a_bad_identity_of_the_user_is_not_replaced(home):
    """The node could start with another one, and would be another to all who know it."""
    path = user_file("data", "identity.key")
    path.parent.mkdir(parents=True)
    write(path, SEED_TEXT[:30])
    ended = run("--no-ui", "-a", "127.0.0.1:0")
    assert ended.returncode == 2
    assert ended.stderr.count("\n") == 1
    assert "too short" in ended.stderr
    assert path.read_text() == SEED_TEXT[:30]


def test_a_command_that_cannot_show_whose_it_is_says_so(home):
    path = user_file("data", "identity.key")
    path.parent.mkdir(parents=True)
    write(path, SEED_TEXT[:30])
    with headless(home, "--identity", str(home / "server.key")) as node:
        commands = (["ping", node.address, "-n", "1"], ["send", node.address, "x"])
        commands += (["peers", node.address],)
        for command in commands:
            ended = run(*command)
            assert ended.returncode == 0, ended.stderr
            assert ended.stderr.count("\n") == 1
            assert ended.stderr.startswith(f"p2ptui: {path}: ")
            assert "this command does not show whose it is" in ended.stderr
        quiet = run(*commands[0], env={"P2PTUI_SECURITY_EPHEMERAL": "true"})
        named = run(*commands[0], "--identity", str(path))
    assert (quiet.returncode, quiet.stderr) == (0, "")
    assert named.returncode == 2
    assert path.read_text() == SEED_TEXT[:30]


def test_both_a_key_and_a_file_the_nearer_one_counts(home):
    """On the command line, over the environment; in one source they contradict each other."""
    path = home / "net.key"
    create_key_file(path, KeyKind.NETWORK, KEY)
    environment = {"P2PTUI_NETWORK_KEY": write_key(KeyKind.NETWORK, Secret(b"x" * 32))}
    config = load_config(None, environment, {"security.network_key_file": str(path)})
    assert config.network_key is None
    assert config.security.network_key_file == str(path)
    ended = run(
        "--check-config",
        env=environment | {"P2PTUI_SECURITY_NETWORK_KEY_FILE": str(path)},
    )
    assert ended.returncode == 2
    assert "both give a network key; leave one out" in ended.stderr


# Network keys that differ, between running nodes.


def test_each_side_says_which_key_is_missing_or_differs(home):
    for name in ("one", "other"):
        key = Secret((name.encode() * 16)[:32])
        create_key_file(home / f"{name}.key", KeyKind.NETWORK, key)
    one, other = str(home / "one.key"), str(home / "other.key")
    (home / "logs").mkdir()
    with headless(home / "logs", "--network-key-file", one) as node:
        same = run("ping", node.address, "--network-key-file", one)
        differs = run("ping", node.address, "--network-key-file", other)
        without = run("ping", node.address)
        node.wait_for("refused .* it uses another network key")
        node.wait_for("refused .* it has not shown the network key")
    assert same.returncode == 0, same.stderr
    for ended, words in ((differs, "uses another network key"), (without, "wants its network key")):
        assert ended.returncode == 1
        assert ended.stderr.count("\n") == 1
        assert words in ended.stderr
        assert node.address in ended.stderr


def test_a_command_of_an_allowed_user_comes_in_without_the_key(home):
    """It takes keys of its own, beside the node of the same user, and a statement of that."""
    key = home / "net.key"
    create_key_file(key, KeyKind.NETWORK, KEY)
    create_key_file(user_file("data", "identity.key"), KeyKind.SEED, SEED)
    allowed = {"P2PTUI_SECURITY_ALLOWED_IDS": Identity(SEED).id, "P2PTUI_SECURITY_MODE": "require"}
    own = str(home / "server.key")
    (home / "logs").mkdir()
    with headless(
        home / "logs", "--network-key-file", str(key), "--identity", own, env=allowed
    ) as node:
        ended = run("ping", node.address)
        stranger = run("ping", node.address, env={"XDG_DATA_HOME": str(home / "elsewhere")})
    assert ended.returncode == 0, ended.stderr
    assert stranger.returncode == 1
    assert "network key" in stranger.stderr


@posix
@pytest.mark.parametrize("kind", KeyKind)
def test_a_file_of_another_user_is_refused_whatever_its_mode(home, monkeypatch, kind):
    """Root could read it, and so can its owner, who can put another key there, too."""
    path, key = home / "key", SEED if kind is KeyKind.SEED else KEY
    create_key_file(path, kind, key)
    owner = path.stat().st_uid
    assert read_key_file(path, kind) == key
    if owner == 0:
        owner = 12345
        os.chown(path, owner, -1)
    else:
        monkeypatch.setattr(os, "geteuid", lambda: owner + 1)
    with pytest.raises(KeyFileError, match=rf"key: belongs to another user \(uid {owner}\)"):
        read_key_file(path, kind)


@posix
@pytest.mark.parametrize("kind", KeyKind)
def test_a_credential_of_systemd_is_for_its_service_alone(home, monkeypatch, kind):
    """Its group may read it, it seems: an access control list shows so. Anywhere else it could."""
    path, key = home / "credentials" / "key", SEED if kind is KeyKind.SEED else KEY
    create_key_file(path, kind, key)
    path.chmod(0o440)
    with pytest.raises(KeyFileError, match="others can read or change it"):
        read_key_file(path, kind)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(path.parent))
    assert read_key_file(path, kind) == key
    for mode in (0o444, 0o460, 0o620):
        path.chmod(mode)
        with pytest.raises(KeyFileError, match="others can read or change it"):
            read_key_file(path, kind)
    path.chmod(0o440)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(home))  # it is not in there itself
    with pytest.raises(KeyFileError, match="others can read or change it"):
        read_key_file(path, kind)


@posix
def test_a_key_in_a_folder_that_this_user_may_not_enter(home):
    folder = home / "closed"
    create_key_file(folder / "key", KeyKind.NETWORK, KEY)
    folder.chmod(0o000)
    user = os.geteuid()
    if user == 0:
        os.seteuid(65_534)  # root may enter any
    try:
        with pytest.raises(KeyFileError, match="cannot be read: permission denied; let this user"):
            read_key_file(folder / "key", KeyKind.NETWORK)
    finally:
        os.seteuid(user)
        folder.chmod(0o700)
