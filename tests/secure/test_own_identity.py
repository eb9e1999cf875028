"""Which identity a node takes: one running node a file, and nothing silently new, open or lost."""

import asyncio
import errno
import logging
import os
import random
import subprocess
import sys
import threading
from pathlib import Path

import msgspec
import pytest

from p2ptui import Config, Node
from p2ptui.config import SecurityOptions
from p2ptui.errors import ConfigError, LocalError
from p2ptui.io.key_files import KeyFileError, KeyFileExistsError, create_key_file, read_key_file
from p2ptui.node.own_identity import FILE_NAME, choose_identity, network_key_of
from p2ptui.places import user_file
from p2ptui.secure.identity import Identity, read_statement
from p2ptui.secure.secret import KeyKind, Secret, write_key
from tests.virtual_loop import run_virtual

OWN_ID = "0123abcd-0000-4000-8000-000000000001"
NOW = 1_795_000_000.0
SEED = Secret(bytes(range(32)))
RNG = random.SystemRandom()
HERE = Config().with_options(address="127.0.0.1:0", enable_discovery=False)

as_other_user = pytest.mark.skipif(
    sys.platform == "win32" or os.geteuid() == 0, reason="needs a user who may not do everything"
)
posix = pytest.mark.skipif(sys.platform == "win32", reason="modes are of POSIX")


@pytest.fixture
def data(tmp_path, monkeypatch) -> Path:
    """A directory for data of the test's own; where the identity's file is in it."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    path = user_file("data", FILE_NAME)
    if tmp_path not in path.parents:
        pytest.skip("the platform keeps data elsewhere")
    return path


def taken(config: Config = HERE):
    return choose_identity(config, RNG)


def of_command(signed_by: str = "") -> Config:
    """As a command's node has it, beside that of its user."""
    return HERE.with_values({"security.ephemeral": True, "signed_by": signed_by})


def named(path: Path) -> Config:
    return HERE.with_options(identity=str(path))


def test_an_identity_lasts(data):
    first = taken()
    first.release()
    again = taken()
    again.release()
    assert first.id == again.id == first.identity.id
    assert not first.is_ephemeral
    assert first.statement(NOW) is None
    assert list(data.parent.iterdir()) == [data]


@posix
def test_only_its_user_can_read_it(data):
    old = os.umask(0)
    try:
        taken().release()
    finally:
        os.umask(old)
    assert data.stat().st_mode & 0o777 == 0o600
    assert data.parent.stat().st_mode & 0o777 == 0o700


def test_a_second_node_takes_an_identity_of_its_own_and_says_whose_it_is(data):
    first, second = taken(), taken()
    assert second.is_ephemeral
    assert second.id != first.id
    statement = second.statement(NOW)
    assert read_statement(statement.to_text(), second.id, NOW).signer.id == first.id
    (line,) = second.notices
    assert first.id in line
    assert second.id in line
    first.release()
    third = taken()
    assert third.id == first.id
    third.release()


def test_another_process_takes_another(data):
    program = (
        "import random; from p2ptui import Config;"
        "from p2ptui.node.own_identity import choose_identity as c;"
        "own = c(Config(), random.SystemRandom()); print(own.id, own.is_ephemeral)"
    )
    first = taken()
    said = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert said.stdout.split()[1] == "True"
    first.release()
    said = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert said.stdout.split() == [first.id, "False"]


def test_many_that_begin_at_once_agree_on_one_file(data):
    owns = []
    threads = [threading.Thread(target=lambda: owns.append(taken())) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(owns) == 12
    lasting = [own for own in owns if not own.is_ephemeral]
    assert len(lasting) == 1
    assert Identity(read_key_file(data, KeyKind.SEED)).id == lasting[0].id
    assert list(data.parent.iterdir()) == [data]
    for own in owns:
        own.release()


def test_an_ephemeral_node_is_new_each_time_and_leaves_no_file(data):
    config = HERE.with_options(ephemeral=True)
    ids = {taken(config).id for _ in range(3)}
    assert len(ids) == 3
    assert not data.exists()
    assert taken(config).statement(NOW) is None


def test_who_asks_to_be_ephemeral_shows_nobody_whose_the_node_is(data):
    lasting = taken()
    own = taken(HERE.with_options(ephemeral=True))
    assert own.is_ephemeral
    assert own.statement(NOW) is None
    assert own.statement_bytes(NOW) == b""
    assert own.signer_id == own.unsigned == ""
    lasting.release()


def test_a_command_is_shown_as_its_users(data, tmp_path):
    lasting = taken()
    own = taken(of_command())
    assert read_statement(own.statement(NOW).to_text(), own.id, NOW).signer.id == lasting.id
    other = taken(named(tmp_path / "other.key"))
    assert taken(of_command(str(tmp_path / "other.key"))).signer_id == other.id
    lasting.release()
    other.release()


def test_a_bad_file_costs_a_command_its_statement_alone(data, caplog):
    data.parent.mkdir(parents=True)
    data.write_text("what is this")
    data.chmod(0o600)
    own = taken(of_command())
    assert own.unsigned.startswith(f"{data}: does not hold")
    with caplog.at_level(logging.WARNING, "p2ptui"):
        assert own.statement(NOW) is None
        assert own.statement(NOW) is None
    (line,) = caplog.messages
    assert str(data) in line
    assert data.read_text() == "what is this"


def test_a_named_file_is_made_and_says_so(data, tmp_path):
    path = tmp_path / "other" / "me.key"
    first = taken(named(path))
    first.release()
    again = taken(named(path))
    assert again.id == first.id
    assert str(path) in first.notices[0]
    assert again.notices == ()
    assert not data.exists()
    with pytest.raises(LocalError, match="another running node"):
        taken(named(path))
    again.release()


SEED_TEXT = write_key(KeyKind.SEED, SEED)
BAD = {
    "empty": ("", "is empty"),
    "truncated": (SEED_TEXT[:40], "too short"),
    "damaged": (SEED_TEXT.replace(SEED_TEXT[20], "a" if SEED_TEXT[20] != "a" else "b", 1), ""),
    "long": (SEED_TEXT * 1000, "too long"),
    "a network key": (write_key(KeyKind.NETWORK, SEED), "holds a network key"),
    "another kind": ("-----BEGIN OPENSSH PRIVATE KEY-----\n", "begins with p2ptui-seed-"),
    "binary": ("\0\xff" * 40, "begins with p2ptui-seed-"),
}


@pytest.mark.parametrize("name", BAD)
@pytest.mark.parametrize("how", ["usual", "named"])
def test_a_bad_file_is_one_line_and_stays(data, tmp_path, name, how):
    content, said = BAD[name]
    path = data if how == "usual" else tmp_path / "me.key"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode("latin-1"))
    path.chmod(0o600)
    with pytest.raises(KeyFileError) as caught:
        taken(HERE if how == "usual" else named(path))
    line = str(caught.value)
    assert "\n" not in line
    assert line.startswith(f"{path}: ")
    assert said in line
    assert "move it away" in line
    assert SEED_TEXT[-20:] not in line
    assert path.read_bytes() == content.encode("latin-1")
    assert [entry.name for entry in path.parent.iterdir() if entry.is_file()] == [path.name]


@posix
@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o620, 0o660])
def test_a_file_that_others_can_read_is_refused(data, mode):
    create_key_file(data, KeyKind.SEED, SEED)
    data.chmod(mode)
    with pytest.raises(KeyFileError, match=rf"mode {mode:04o}.*chmod 600"):
        taken()
    assert data.stat().st_mode & 0o777 == mode


@posix
def test_other_things_of_that_name_are_refused(data):
    data.parent.mkdir(parents=True)
    data.mkdir()
    with pytest.raises(KeyFileError, match="is a folder"):
        taken()
    data.rmdir()
    data.symlink_to(data.parent / "gone")
    with pytest.raises(KeyFileError, match="is a link to a file that is not there"):
        taken()
    assert not (data.parent / "gone").exists()
    data.unlink()
    data.symlink_to(data.name)
    with pytest.raises(KeyFileError, match="cannot be read"):
        taken()
    data.unlink()
    os.mkfifo(data, 0o600)
    with pytest.raises(KeyFileError, match="no ordinary file"):
        taken()


def test_a_link_to_an_identity_is_followed(data, tmp_path):
    create_key_file(tmp_path / "real.key", KeyKind.SEED, SEED)
    data.parent.mkdir(parents=True)
    data.symlink_to(tmp_path / "real.key")
    own = taken()
    assert own.id == Identity(SEED).id
    own.release()


@as_other_user
def test_a_file_that_cannot_be_read_is_refused(data):
    create_key_file(data, KeyKind.SEED, SEED)
    data.chmod(0)
    with pytest.raises(KeyFileError, match="permission denied"):
        taken()


def test_where_nothing_can_be_written_the_node_is_ephemeral_and_says_so(data, monkeypatch):
    def refuse(*_, **__):
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(Path, "mkdir", refuse)  # as modes would, also for who may do everything
    own = taken()
    assert own.is_ephemeral
    (line,) = own.notices
    assert line.startswith(f"{data}: cannot be written: Read-only file system: this node takes")
    assert "\n" not in line


def test_a_folder_that_is_a_file_is_an_error(data):
    data.parent.parent.mkdir(parents=True, exist_ok=True)
    data.parent.write_text("")
    with pytest.raises(KeyFileError, match="cannot be read"):
        taken()


def test_without_a_home_the_node_is_ephemeral_and_says_so(monkeypatch):
    monkeypatch.setattr("platformdirs.user_data_dir", lambda *_, **__: "~/share")
    own = taken()
    assert own.is_ephemeral
    assert "no home directory" in own.notices[0]


def test_a_named_file_that_cannot_be_made_is_an_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(KeyFileError, match="cannot be"):
        taken(named(tmp_path / "file" / "me.key"))


def test_a_configured_id_has_no_keys(data):
    own = taken(HERE.with_options(node_id=OWN_ID))
    assert own.identity is None
    assert own.id == OWN_ID
    assert not data.exists()


def test_a_node_with_a_configured_id_says_in_one_line_that_it_is_open(data, caplog):
    async def story():
        async with Node(HERE.with_options(node_id=OWN_ID)) as node:
            assert node.id == OWN_ID

    asyncio.run(story())
    (line,) = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert "server.node_id is set, so this node has no keys and is open" in line.getMessage()


@pytest.mark.parametrize(
    "options",
    [
        {"identity": "x"},
        {"ephemeral": True},
        {"security.mode": "require"},
        {"allowed_ids": [OWN_ID]},
        {"network_key_file": "x"},
    ],
)
def test_a_configured_id_goes_with_no_keys(options):
    with pytest.raises(ConfigError, match=r"server\.node_id is set"):
        Config().with_options(node_id=OWN_ID, **options)


def test_a_configured_id_goes_with_no_network_key(tmp_path):
    with pytest.raises(ConfigError, match=r"server\.node_id is set.* P2PTUI_NETWORK_KEY"):
        msgspec.structs.replace(HERE.with_options(node_id=OWN_ID), network_key=SEED)


def test_a_named_identity_is_not_ephemeral():
    with pytest.raises(ConfigError, match="leave one out"):
        Config().with_options(identity="x", ephemeral=True)


# A node that is asked to be open.


@pytest.mark.parametrize(
    "config",
    [
        HERE.with_options(identity="x"),
        HERE.with_options(**{"security.mode": "require"}),
        HERE.with_options(allowed_ids=[Identity(SEED).id]),
        HERE.with_options(network_key_file="missing"),
        Config(network_key=SEED),
    ],
)
def test_no_node_is_more_open_than_was_asked(data, config):
    with pytest.raises(LocalError, match="takes a node with keys"):
        choose_identity(config, RNG, secured=False)
    assert not data.exists()


def test_an_open_node_takes_any_id_and_makes_no_key(data):
    first, second = (choose_identity(HERE, RNG, secured=False) for _ in range(2))
    assert first.identity is second.identity is None
    assert first.id != second.id
    assert not data.exists()


# The network's key.


def test_a_network_key_is_read_from_its_file(tmp_path):
    path = tmp_path / "net.key"
    config = HERE.with_options(network_key_file=str(path))
    with pytest.raises(KeyFileError, match="p2ptui key new"):
        network_key_of(config)
    create_key_file(path, KeyKind.NETWORK, SEED)
    assert network_key_of(config) == SEED
    with pytest.raises(KeyFileExistsError):
        create_key_file(path, KeyKind.NETWORK, Secret(bytes(32)))
    assert network_key_of(config) == SEED
    path.write_text(SEED_TEXT)
    with pytest.raises(KeyFileError, match="holds the seed of an identity, not a network key"):
        network_key_of(config)


# Whole nodes.


async def test_a_node_has_the_id_of_its_identity(data):
    async with Node(HERE) as node, Node(HERE) as second:
        assert node.id == node.info.id == node.own_identity.identity.id
        assert node.own_identity.network_key is None
        assert second.own_identity.is_ephemeral
        first_id = node.id
    async with Node(HERE) as again:
        assert again.id == first_id


async def test_a_node_that_cannot_start_leaves_its_identity_to_others(data):
    async with Node(HERE) as node:
        taken_id = node.id
        host, port = node.address
    async with Node(HERE.with_options(ephemeral=True)) as other:
        host, port = other.address
        with pytest.raises(LocalError):
            await Node(HERE.with_options(address=f"{host}:{port}")).start()
        async with Node(HERE) as node:
            assert node.id == taken_id


def test_a_simulated_node_has_the_id_of_its_randomness(data):
    from tests.town import Town

    async def met() -> list[str]:
        town = Town()
        return [choose_identity(HERE, random.Random(n), simulated=True).id for n in (1, 2, 1)], town

    (one, two, again), _ = run_virtual(met())
    assert one == again != two
    assert not data.exists()


def test_options_are_where_they_were_said_to_be():
    assert SecurityOptions().mode == "prefer"
    assert SecurityOptions().allowed_ids == ()
