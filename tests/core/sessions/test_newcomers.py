"""Newcomers at addresses in use: who may end or change a session, and by which places."""

import ast
from pathlib import Path

import p2ptui
from tests.simulation import World

CHANGES = {
    # Begins a session anew, or takes what is said of a peer for true.
    "restart": {"core/sessions/lifecycle.py", "core/sessions/responder.py"},
    "describe": {
        "core/sessions/handshake.py",
        "core/sessions/lifecycle.py",
        "core/sessions/responder.py",
    },
    # Moves one to another address.
    "move": {"core/sessions/other_ways.py", "core/sessions/takeover.py"},
    # Takes its proof away.
    "forget_proof": {"core/sessions/handshake.py"},
    # Holds a newcomer until it shows that it is there.
    "hold": {"core/sessions/responder.py", "core/sessions/takeover.py"},
}


def calls_of(name: str) -> set[str]:
    package = Path(p2ptui.__file__).parent
    found = set()
    for path in (package / "core").glob("**/*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if not (isinstance(node, ast.Attribute) and node.attr == name):
                continue
            owner = ast.unparse(node.value)
            if owner.rpartition(".")[2].lstrip("_") in OWNERS:
                found.add(path.relative_to(package).as_posix())
    return found


OWNERS = {"self", "lifecycle", "facts", "purse", "newcomers", "claim"}


def test_who_may_change_a_session_is_named_here() -> None:
    for name, modules in CHANGES.items():
        found = calls_of(name) - {"core/sessions/newcomers.py"}
        found -= {path for path in found if not path.startswith("core/sessions/")}
        assert found == modules, name


def test_a_request_from_an_address_in_use_goes_by_the_newcomers() -> None:
    """Of the responder's ways to let somebody in, each is after that look, or after the sign."""
    source = Path(p2ptui.__file__).parent / "core/sessions/responder.py"
    tree = ast.parse(source.read_text("utf-8"))
    functions = {
        function.name
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef)
        and any(
            isinstance(node, ast.Attribute) and node.attr == "_accept"
            for node in ast.walk(function)
        )
    }
    assert functions == {"handle_request", "_let_in", "_answer_other_way"}
    (handle,) = (
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef) and node.name == "handle_request"
    )
    names = [node.attr for node in ast.walk(handle) if isinstance(node, ast.Attribute)]
    text = ast.unparse(handle)
    assert "_is_beside" in names
    assert text.index("_is_beside") < text.index("_accept")


def test_a_newcomer_that_shows_nothing_is_forgotten() -> None:
    world = World()
    server, client, pen = world.host(), world.host(), world.puppet()
    client.outcome(client.connect(server))
    world.run_for(1)
    peer = server.peer(client)
    assert peer is not None
    message = pen.handshake_request(capabilities=["retransmit"])["payload"]
    request = pen.spec_message("HandshakeRequest", message, requires_ack=True, sequence_number=5)
    pen.address = client.address
    pen.send(request, server)
    world.run_for(1)
    assert server.endpoint.sizes()["newcomers"] == 1
    assert peer.session.challenged
    world.run_for(10)
    assert server.endpoint.sizes()["newcomers"] == 0
    assert not peer.session.challenged
