"""What a person reads about keys and trust: each thing once, and in words for people."""

import logging

import pytest

from p2ptui.cli import main
from p2ptui.core.events import PeerStatus, PeerStatusChanged
from p2ptui.core.policy import PeerRefused
from p2ptui.event_log import log_event
from p2ptui.places import user_file
from p2ptui.secure.known_nodes import DamagedError, KnownNodes
from p2ptui.text import about
from p2ptui.tui.help import verb_text
from p2ptui.verbs import VERBS

WHERE = ("127.0.0.1", 9000)


def test_a_place_is_named_once() -> None:
    place = "127.0.0.1:9000"
    assert about(place, f"{place} answers without a key") == f"{place} answers without a key"
    assert about(place, f"{place}: it is another") == f"{place}: it is another"
    assert about(place, "it is another") == f"{place}: it is another"
    assert about("127.0.0.1:900", f"{place} answers") == f"127.0.0.1:900: {place} answers"
    assert about(place, "") == ""


def test_the_log_names_the_place_of_a_failure_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    words = "127.0.0.1:9000 answers without a key, and had one before"
    log_event(PeerStatusChanged(None, WHERE, "", PeerStatus.FAILED, PeerStatus.HANDSHAKING, words))
    assert caplog.messages == [f"failed: {words}"]


def test_who_has_no_id_yet_is_no_node_called_unknown(caplog: pytest.LogCaptureFixture) -> None:
    log_event(PeerRefused(None, WHERE, "no key"))
    (line,) = caplog.messages
    assert line.startswith("refused a node that has not shown its id, at 127.0.0.1:9000: no key")


def test_what_is_damaged_is_said_without_a_programmers_word() -> None:
    with pytest.raises(DamagedError) as caught:
        KnownNodes.from_dict({"form": 1, "nodes": [{}], "addresses": {}})
    assert "Error" not in str(caught.value)


def test_a_first_use_is_told_how_an_identity_is_made(capsys: pytest.CaptureFixture[str]) -> None:
    path = user_file("data", "identity.key")
    if path is not None and path.exists():
        pytest.skip("somebody made one")
    assert main(["key", "show"]) == 1
    assert "start p2ptui once" in capsys.readouterr().err


@pytest.mark.parametrize("verb", ["ping", "send", "trust", "forget"])
def test_the_help_on_a_command_says_what_a_peer_may_be(verb: str) -> None:
    words = " ".join(verb_text(VERBS[verb], 80).plain.split())
    assert "PEER is " in words
    assert "the beginning of" in words
