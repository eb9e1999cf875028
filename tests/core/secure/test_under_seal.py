"""Tests of the core that were written for the open dialect, played by nodes with keys.

Whatever a session does it does under seal as well. All of a file can be run that way by
`pytest --secured`; here are those that say most in little time.
"""

import pytest

from tests.core import test_moving, test_reroutes
from tests.core.relay import test_patience
from tests.core.sessions import test_asked_elsewhere, test_full_tables
from tests.core.traversal import test_chosen_paths, test_refusals, test_searches, test_versions
from tests.simulation import World

FILES = (
    test_asked_elsewhere,
    test_chosen_paths,
    test_full_tables,
    test_moving,
    test_patience,
    test_refusals,
    test_reroutes,
    test_searches,
    test_versions,
)

OPEN = {
    # Under seal the side that was asked has its session half a round trip later, with message 3:
    # the caller's result comes before that.
    "test_a_session_goes_on_within_two_round_trips",
    "test_after_a_long_sleep_the_handshake_begins_at_once",
    "test_as_many_sockets_as_may_be_opened",
    "test_the_direct_path_is_found_without_the_relay",
    "test_the_path_of_a_predicted_port",
    "test_without_a_relay_there_is_a_direct_path_or_none",
    # A secured session that goes on elsewhere ends later, or not at all.
    "test_an_unknown_id_after_the_node_left_is_told",
    # Counted from when the next of a path's checks is due, which is another moment.
    "test_a_server_that_restarted_takes_over_from_a_path_that_dies",
    # It takes too long, and says what the others say.
    "test_ten_thousand_messages_over_relay_direct_relay_direct",
}
"""Tests that are about the open dialect or its times, and one that is dear."""


@pytest.fixture(autouse=True)
def all_have_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(World, "secured", True)


for file in FILES:
    named = file.__name__.rpartition("test_")[2]
    for name, value in vars(file).items():
        if name.startswith("test_") and callable(value) and name not in OPEN:
            globals()[f"test_{named}__{name.removeprefix('test_')}"] = value
