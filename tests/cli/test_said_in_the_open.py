"""What goes to a node without keys is not said as if it were sealed."""

import pytest

from tests.cli.test_commands import SERVER, world
from tests.cli.test_commands_under_seal import SealedWorld

__all__ = ["world"]


@pytest.fixture
def sealed(monkeypatch, capsys):
    return SealedWorld(monkeypatch, capsys)


WAYS = [(SERVER,), ("bob", "--join", SERVER)]


@pytest.mark.parametrize("to", WAYS)
def test_a_message_that_went_in_the_open_says_so(world, to):
    said = world.run("send", to[0], "hello", *to[1:])
    assert said.output.startswith("delivered in the open: ")


@pytest.mark.parametrize("to", WAYS)
def test_of_what_is_sealed_nothing_is_said(sealed, to):
    """Holds before as well."""
    for command in (("send", to[0], "hello", *to[1:]), ("ping", *to, "-n", "1")):
        said = sealed.run(*command)
        assert (said.code, said.errors) == (0, "")
        assert "in the open" not in said.output
