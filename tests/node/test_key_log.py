"""The keys of sessions, for whoever debugs captures: written where that is asked for, and only
there."""

import asyncio
import logging
import os
import stat
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from p2ptui import Config, Node
from p2ptui.cli import main
from p2ptui.config.load import load_config
from p2ptui.core.sealing import Seals
from p2ptui.errors import ConfigError, LocalError
from p2ptui.io.key_files import create_key_file, read_key_file
from p2ptui.io.key_log import KeyLog, KeyLogError
from p2ptui.node.own_identity import FILE_NAME
from p2ptui.places import user_file
from p2ptui.secure.identity import Identity
from p2ptui.secure.secret import KeyKind, Secret
from p2ptui.secure.transport import REKEY_AFTER_S
from p2ptui.wire.address import format_address
from tests.node.test_secured import capture
from tests.town import Town
from tests.virtual_loop import run_virtual

TEXT = "nobody else reads this line"

posix = pytest.mark.skipif(sys.platform == "win32", reason="files have other rights there")


def logged(town: Town, name: str, path: Path, **how: Any) -> Node:
    """A node that writes the keys of its sessions."""
    wall = asyncio.get_running_loop().time
    return town.make_from(town.configured(name), wall=wall, key_log=path, **how)


def lines_of(path: Path) -> list[list[str]]:
    lines = path.read_text("ascii").splitlines()
    return [line.split() for line in lines if not line.startswith("#")]


def open_frame(frame: bytes, lines: list[list[str]]) -> bytes | None:
    """What a tool for captures does: what is inside, by the lines of a log; None without its key.

    Written from the documentation alone, and with none of the product's own code.
    """
    number = frame[1:5].hex()
    nonce = bytes(4) + frame[5:13][::-1]
    for label, own, other, _, _, sent_by, received_by in lines:
        assert label == "P2PTUI_SESSION"
        for bears, key in ((other, sent_by), (own, received_by)):
            if bears == number:
                try:
                    aead = ChaCha20Poly1305(bytes.fromhex(key))
                    return aead.decrypt(nonce, frame[13:], frame[:13])
                except InvalidTag:
                    continue
    return None


def test_a_capture_is_opened_by_the_lines_of_one_end(tmp_path: Path) -> None:
    path = tmp_path / "keys.log"

    async def story() -> tuple[str, str, list[bytes]]:
        async with Town() as town:
            wire = capture(town)
            one, other = logged(town, "one", path), await town.start("other")
            await one.start()
            assert one.key_log == path
            assert other.key_log is None
            peer = await one.connect(format_address(other.address))
            await one.send(peer.node_id, TEXT)
            await other.send(one.id, TEXT[::-1])
            return one.id, other.id, wire

    own_id, other_id, wire = run_virtual(story())
    lines = lines_of(path)
    assert len(lines) == 1, "one for each session"
    assert lines[0][3:5] == [own_id, other_id]
    sealed = [data for data in wire if data[:1] == b"\xe0"]
    inside = [open_frame(data, lines) for data in sealed]
    assert None not in inside
    assert any(TEXT.encode() in data for data in inside if data)
    assert any(TEXT[::-1].encode() in data for data in inside if data)
    assert not any(TEXT.encode() in data for data in wire)


def test_new_keys_are_a_line_each_and_the_file_is_appended(tmp_path: Path) -> None:
    path = tmp_path / "keys.log"

    async def story() -> list[bytes]:
        async with Town() as town:
            wire = capture(town)
            one, other = logged(town, "one", path), logged(town, "other", path)
            await one.start()
            await other.start()
            peer = await one.connect(format_address(other.address))
            await asyncio.sleep(REKEY_AFTER_S + 60)
            await one.send(peer.node_id, TEXT)
            return wire

    wire = run_virtual(story())
    lines = lines_of(path)
    assert len(lines) == 4, "two pairs of keys, as each end has them"
    assert {tuple(line[5:]) for line in lines} == {tuple(line[:4:-1]) for line in lines}
    inside = [open_frame(data, lines) for data in wire if data[:1] == b"\xe0"]
    assert None not in inside
    assert any(TEXT.encode() in data for data in inside if data)


@posix
def test_only_its_user_can_read_it(tmp_path: Path) -> None:
    path = tmp_path / "keys.log"
    former = os.umask(0)
    try:
        KeyLog(path).close()
    finally:
        os.umask(former)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.chmod(0o644)
    before = path.read_bytes()
    with pytest.raises(KeyLogError, match=r"others can read it.*chmod 600"):
        KeyLog(path)
    assert path.read_bytes() == before


@posix
def test_what_is_no_file_of_its_own_is_refused(tmp_path: Path) -> None:
    (tmp_path / "aim").touch(0o600)
    (tmp_path / "link").symlink_to(tmp_path / "aim")
    os.mkfifo(tmp_path / "pipe", 0o600)
    for name in ("link", "pipe", "", "no/such/folder", "/dev/null"):
        with pytest.raises(KeyLogError) as refused:
            KeyLog(tmp_path / name)
        assert "\n" not in str(refused.value)
        assert "session keys" in str(refused.value)


@pytest.mark.parametrize("held", ["p2ptui-seed-abc\n", "some notes", "\n"])
def test_what_holds_something_else_is_left_as_it_is(tmp_path: Path, held: str) -> None:
    path = tmp_path / "keys.log"
    path.write_text(held, "ascii")
    path.chmod(0o600)
    with pytest.raises(KeyLogError, match=r"something else than session keys.*--key-log"):
        KeyLog(path)
    assert path.read_text("ascii") == held


def test_an_empty_file_and_a_log_of_before_are_written_to(tmp_path: Path) -> None:
    path = tmp_path / "keys.log"
    path.touch(0o600)
    KeyLog(path).close()
    before = path.read_bytes()
    KeyLog(path).close()
    assert path.read_bytes() == before * 2


@posix
@pytest.mark.parametrize("which", ["identity", "network", "usual", "linked"])
def test_a_key_in_use_is_never_written_to(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], which: str
) -> None:
    identity, network = tmp_path / "bob.key", tmp_path / "net.key"
    create_key_file(network, KeyKind.NETWORK, Secret(b"k" * 32))
    linked = tmp_path / "other.key"
    if which == "linked":
        create_key_file(identity, KeyKind.SEED, Secret(b"s" * 32))
        os.link(identity, linked)
    usual = user_file("data", FILE_NAME)
    assert usual is not None
    path = {"identity": identity, "network": network, "usual": usual, "linked": linked}[which]
    arguments = ["--no-ui", "-a", "127.0.0.1:0", "--network-key-file", str(network)]
    arguments += ["--ephemeral"] if which == "usual" else ["--identity", str(identity)]
    before = usual.read_bytes() if usual.exists() else None
    assert main([*arguments, "--key-log", str(path)]) != 0
    (line,) = capsys.readouterr().err.splitlines()[-1:]
    assert str(path) in line
    assert "--key-log" in line
    if which == "usual":
        after = usual.read_bytes() if usual.exists() else None
        assert after == before, "an empty one would keep the next node from starting"
        return
    kind = KeyKind.NETWORK if which == "network" else KeyKind.SEED
    read_key_file(path, kind)


def test_a_node_whose_keys_cannot_be_written_does_not_start(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "missing" / "keys.log"
    arguments = ["--no-ui", "--ephemeral", "-a", "127.0.0.1:0", "--key-log", str(path)]
    assert main(arguments) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "session keys cannot be written there" in line
    assert "--key-log" in line


def test_a_node_in_the_open_has_none_to_write(tmp_path: Path) -> None:
    async def story() -> None:
        async with Town() as town:
            with pytest.raises(LocalError, match=r"speaks in the open.*--key-log"):
                await logged(town, "one", tmp_path / "keys.log", secured=False).start()

    run_virtual(story())
    assert not (tmp_path / "keys.log").exists()


def test_it_is_told_loudly(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "keys.log"

    async def story() -> tuple[str, ...]:
        async with Town() as town:
            node = logged(town, "one", path)
            await node.start()
            return node.own_identity.notices

    with caplog.at_level(logging.WARNING):
        notices = run_virtual(story())
    (told,) = [record.message for record in caplog.records if str(path) in record.message]
    assert "whoever has that file can read them" in told
    assert told in notices, "the screen shows these"


def test_a_full_disk_is_told_once_and_ends_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "keys.log"

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    async def story() -> None:
        async with Town() as town:
            one = logged(town, "one", path)
            await one.start()
            monkeypatch.setattr(KeyLog, "_write", fail)
            for name in ("other", "third"):
                other = await town.start(name)
                peer = await one.connect(format_address(other.address))
                assert (await one.send(peer.node_id, TEXT)).delivered

    run_virtual(story())
    told = [record.message for record in caplog.records if "any more" in record.message]
    assert len(told) == 1
    assert lines_of(path) == []


def test_it_is_closed_with_the_node(tmp_path: Path) -> None:
    async def story() -> KeyLog | None:
        async with Town() as town:
            one = logged(town, "one", tmp_path / "keys.log")
            await one.start()
            return one._key_log

    log = run_virtual(story())
    assert log is not None
    assert log._file is None


def test_neither_the_identity_nor_the_networks_key_is_in_it(tmp_path: Path) -> None:
    path, network = tmp_path / "keys.log", Secret(b"k" * 32)

    async def story() -> list[bytes]:
        async with Town() as town:
            nodes = [logged(town, name, path) for name in ("one", "other")]
            found: list[bytes] = [network.reveal()]
            for node in nodes:
                node._config = msgspec.structs.replace(node._config, network_key=network)
                await node.start()
                identity = node.own_identity.identity
                assert isinstance(identity, Identity)
                found += [identity.x_private_bytes.reveal()]
            await nodes[0].connect(format_address(nodes[1].address))
            await asyncio.sleep(1)
            return found

    secrets = run_virtual(story())
    text = path.read_text("ascii")
    assert len(lines_of(path)) == 2
    assert not any(secret.hex() in text for secret in secrets)


@pytest.mark.parametrize("name", ["security.key_log", "logging.key_log"])
def test_no_file_of_options_turns_it_on(tmp_path: Path, name: str) -> None:
    """It may be one that others have written."""
    section, _, key = name.partition(".")
    file = tmp_path / "config.toml"
    file.write_text(f'[{section}]\n{key} = "keys.log"\n')
    with pytest.raises(ConfigError, match="key_log"):
        load_config(file, {}, {})


@pytest.mark.parametrize("name", ["SSLKEYLOGFILE", "P2PTUI_KEY_LOG", "P2P_KEY_LOG"])
def test_no_variable_turns_it_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    path = tmp_path / "keys.log"
    monkeypatch.setenv(name, str(path))
    noted: list[object] = []
    enter = Seals.enter
    monkeypatch.setattr(
        Seals,
        "enter",
        lambda seals, *a, **k: noted.append(seals.keys.on_session_keys) or enter(seals, *a, **k),
    )

    async def story() -> None:
        async with Town() as town:
            one, other = await town.start("one"), await town.start("other")
            await one.connect(format_address(other.address))

    run_virtual(story())
    assert noted
    assert set(noted) == {None}
    assert not path.exists()


def test_the_options_of_a_node_say_nothing_of_it() -> None:
    assert not [name for name in Config.__struct_fields__ if "key_log" in name]
