"""docs/api.md is what the docstrings say, and these say something of everything that is public."""

import griffe
import pytest

import p2ptui
from tests import api_reference

PAGE = api_reference.ROOT / "docs" / "api.md"
PACKAGE = api_reference.load()
NAMES = [name for chapter in api_reference.CHAPTERS for name in chapter.names]


def test_the_page_is_what_the_docstrings_say():
    is_fresh = api_reference.render(PACKAGE) == PAGE.read_text("utf-8")
    assert is_fresh, "run: python -m tests.api_reference docs/api.md"


def test_every_public_name_of_the_package_is_in_it():
    named = {name.rpartition(".")[2] for name in NAMES}
    assert set(p2ptui.__all__) - {"__version__"} <= named


def test_every_event_and_every_error_is_in_it():
    events = PACKAGE["core.events.Event"].value
    told = {str(name) for name in (*events.iterate(flat=True),) if str(name)[:1].isalpha()}
    told |= {str(name) for name in PACKAGE["core.events.News"].value.iterate(flat=True)}
    told = {name for name in told if name.isidentifier()} - {"News"}
    machinery = {
        *("CallFinished", "DatagramDue", "NatFactsWanted", "SocketsWanted", "FlowProbeWanted"),
        *("SocketsDone", "StunReplyDue"),
    }
    named = {name.rpartition(".")[2] for name in NAMES}
    assert "DataReceived" in told
    assert told - machinery <= named
    errors = {name for name, one in PACKAGE["errors"].classes.items() if name.endswith("Error")}
    assert errors <= named


@pytest.mark.parametrize("name", NAMES)
def test_everything_has_words(name: str):
    one = PACKAGE[name]
    assert isinstance(one, griffe.Class)
    assert one.docstring is not None
    for member in api_reference.members(one):
        if isinstance(member, griffe.Function):
            assert member.docstring is not None, member.path
        else:
            assert api_reference.meaning(member, one), member.path


def test_what_is_hidden_exists():
    for path in api_reference.HIDDEN:
        (home,) = [name for name in NAMES if name.endswith(f".{path.partition('.')[0]}")]
        assert path.partition(".")[2] in PACKAGE[home].all_members
