"""A network key in use is in nothing that a program shows: output, logs, reports, arguments."""

import base64
import io
import pickle
import re
import traceback
from pathlib import Path

import pytest
from rich.console import Console
from rich.traceback import Traceback

from p2ptui.core.policy import RULES
from p2ptui.io.key_files import create_key_file
from p2ptui.secure.noise import HandshakeState
from p2ptui.secure.secret import KeyKind, Secret, write_key
from tests.installed import headless, run
from tests.simulation import World

KEY = Secret(bytes(range(0x61, 0x81)))
TEXT = write_key(KeyKind.NETWORK, KEY)


def forms(key: Secret) -> list[str]:
    """How it could be written by anything: its own text, hexadecimal, base64, and raw."""
    raw = bytes(memoryview(key.reveal()))
    plain = repr(raw)[2:-1]
    return [
        write_key(KeyKind.NETWORK, key)[11:],
        raw.hex(),
        raw.hex(" "),
        raw.hex(":"),
        base64.b64encode(raw).decode()[:40],
        base64.urlsafe_b64encode(raw).decode()[:40],
        plain,
        raw.decode("latin-1"),
        str(list(raw))[1:-1],
    ]


def is_shown(text: str) -> list[str]:
    packed = re.sub(r"\s", "", text).lower()
    return [form for form in forms(KEY) if re.sub(r"\s", "", form).lower()[:32] in packed]


def test_what_is_looked_for_would_be_found():
    for form in forms(KEY):
        assert is_shown(f"before {form} after")
        assert is_shown(form.upper())
    assert not is_shown(write_key(KeyKind.NETWORK, Secret(b"x" * 32)))


@pytest.mark.parametrize("how", ["file", "environment"])
def test_real_programs_show_it_nowhere(tmp_path, how):
    """Two nodes, and each command, at the most talkative level, with a refusal among them."""
    path, other = tmp_path / "net.key", tmp_path / "other.key"
    create_key_file(path, KeyKind.NETWORK, KEY)
    create_key_file(other, KeyKind.NETWORK, Secret(b"x" * 32))
    logs = tmp_path / "logs"
    logs.mkdir()
    homes = {f"XDG_{name}_HOME": str(tmp_path / name) for name in ("DATA", "STATE", "CACHE")}
    env = homes | {"P2PTUI_LOG": "trace"}
    given = ["--network-key-file", str(path)] if how == "file" else []
    if how == "environment":
        env |= {"P2PTUI_NETWORK_KEY": TEXT}
    said = ""
    with headless(logs, *given, env=env) as server, headless(logs, *given, env=env) as client:
        for node in (server, client):
            proc = Path(f"/proc/{node.process.pid}/cmdline")
            said += proc.read_text() if proc.exists() else ""
        where = server.address
        for command in (
            ["ping", where, *given],
            ["ping", where, "--json", *given],
            ["send", where, "hello", *given],
            ["peers", where, "--json", *given],
            ["nat", "--server", where, "--join", where, "--markdown"],
            ["key", "show"],
            ["--print-config", *given],
            ["--check-config", *given],
        ):
            ended = run(*command, env=env)
            said += ended.stdout + ended.stderr
        refused = run("ping", where, "--network-key-file", str(other), env=env)
        assert RULES["network_key_differs"].there in refused.stderr
        said += refused.stderr
        server.wait_for("refused")
        for node in (server, client):
            node.stop()
            said += node.log()
    assert len(said) > 5000
    assert "hello" in said
    assert not is_shown(said)
    for folder in (tmp_path / name for name in ("DATA", "STATE", "CACHE")):
        for kept in (each for each in folder.rglob("*") if each.is_file()):
            assert not is_shown(kept.read_bytes().decode("latin-1")), kept


def reports(error: BaseException) -> str:
    """What every kind of crash report says of an error: with the names of each function."""
    made = traceback.TracebackException.from_exception(error, capture_locals=True)
    out = io.StringIO()
    shown = Traceback.from_exception(
        type(error), error, error.__traceback__, show_locals=True, locals_max_string=10**6
    )
    Console(file=out, width=300).print(shown)
    return "".join(made.format()) + out.getvalue()


@pytest.mark.parametrize("what", ["write_message", "read_message", "split"])
@pytest.mark.parametrize("which", range(4))
def test_a_crash_amid_a_key_exchange_does_not_show_it(monkeypatch, what, which):
    """As the screen reports one: each function with its names, from the loop down to Noise."""
    world = World()
    one, other = (world.host(keys=world.keys(network_key=KEY)) for _ in range(2))
    usual, seen = getattr(HandshakeState, what), [0]

    def fall(state, *arguments):
        seen[0] += 1
        if seen[0] > which:
            raise RuntimeError(f"{state!r} {arguments!r} {vars(state)!r}")
        return usual(state, *arguments)

    monkeypatch.setattr(HandshakeState, what, fall)
    try:
        one.connect(other)
        world.run_for(1)
    except RuntimeError as error:
        text = reports(error)
        assert "HandshakeState" in text
        assert not is_shown(text)
    else:
        assert seen[0] <= which, "nothing fell"


def test_the_parts_of_a_node_do_not_show_it():
    world = World()
    host = world.host(keys=world.keys(network_key=KEY))
    seals = host.endpoint._state.seals
    for shown in (seals.keys, vars(seals), seals.keys.psk, f"{seals.keys.psk}", [seals.keys.psk]):
        assert not is_shown(repr(shown))
        assert not is_shown(f"{shown}")
    with pytest.raises(TypeError):
        pickle.dumps(seals.keys)
