"""Which tests CI runs on the compiled package, and which cannot be run on it."""

import re
from pathlib import Path
from typing import Final

CHOSEN: Final = (
    "tests/wire",
    "tests/secure",
    "tests/nat",
    "tests/io",
    "tests/core/reliability",
    "tests/core/sessions",
    *(
        f"--ignore=tests/core/sessions/test_{name}.py"  # the longest ones
        for name in ("beats_together", "crossing", "keepalive")
    ),
    "tests/core/test_asked_addresses.py",
    "tests/core/test_delivery.py",
    "tests/core/test_deployed_clients.py",
    "tests/core/test_handed_over.py",
    "tests/core/test_never.py",
    "tests/core/test_stun.py",
    "tests/node/test_acquaintances.py",
    "tests/node/test_exact_payloads.py",
    "tests/node/test_first_join.py",
    "tests/node/test_moves.py",
    "tests/node/test_node.py",
    "tests/node/test_node_lifecycle.py",
    "tests/node/test_secured.py",
    "tests/node/test_traversal_support.py",
    "tests/attacks/test_forged_names.py",
    "tests/attacks/test_middle_sealed.py",
    "tests/attacks/test_orders.py",
    "tests/attacks/test_proof.py",
    "tests/attacks/test_running_sessions.py",
    "tests/fuzz/test_corpus.py",
    "--most-skip-themselves=10",
)
"""Transcripts of the core, the wire, the seals and NATs, whole nodes with their I/O, attacks, and
the fuzzing corpus: about a minute of processor time. No more tests than that may find on their way
that they can only be run interpreted: else the package would fail unseen."""

_METHOD: Final = "replaces a method or extends a class: what is compiled calls its own"
_CONSTANT: Final = "replaces a constant: what is compiled holds the value"
_LOCALS: Final = "looks for local values in a traceback: compiled functions show none"
_STAND_IN: Final = "hands over something in place of a value: what is compiled looks at its type"
_SOURCE: Final = "looks at how it is written (slots, annotations, file): what is compiled hides it"
_CHECKOUT: Final = "is of the checkout, where nothing is compiled"

WHOLE: Final = "*"

_PACKAGE: Final = Path(__file__).parents[2] / "p2ptui"

INTERPRETED_ONLY: Final[dict[str, dict[str, str]]] = {
    "tests/attacks/test_middle_sealed.py": {
        "test_a_node_that_listens_in_the_clear_is_noticed": _METHOD,
        "test_a_node_that_opens_what_is_altered_is_noticed": _METHOD,
        "test_a_window_that_forgets_is_noticed": _METHOD,
        "test_an_answer_to_what_is_no_frame_is_noticed": _METHOD,
    },
    "tests/attacks/test_orders.py": {
        "test_hosts_for_which_there_is_no_room_share_an_hour": _CONSTANT,
        "test_who_fills_the_hours_takes_nobody_elses": _CONSTANT,
    },
    "tests/attacks/test_sessions.py": {
        "test_a_first_answer_that_did_not_leave_is_sent_later": _METHOD,
    },
    "tests/core/mesh/test_carried.py": {
        "test_what_does_not_leave_for_the_next_node_is_no_message_under_way": _METHOD,
        "test_what_finds_no_room_is_not_acknowledged": _CONSTANT,
    },
    "tests/core/mesh/test_discovery.py": {
        "test_a_list_that_never_ends_is_cut": _CONSTANT,
    },
    "tests/core/cluster_ways/test_introductions_between_servers.py": {
        "test_pairs_are_bounded_for_those_elsewhere_too": _CONSTANT,
    },
    "tests/core/mesh/test_rendezvous.py": {
        "test_a_ping_of_an_introduced_node_measures_the_way": _STAND_IN,
        "test_pairs_that_were_introduced_are_bounded": _CONSTANT,
    },
    "tests/core/mesh/test_routing.py": {
        "test_a_ping_by_way_of_others": _STAND_IN,
    },
    "tests/core/mesh/test_watching.py": {
        "test_a_deployed_server_is_asked_at_the_join_and_kept_fresh": _METHOD,
        "test_a_node_that_came_by_itself_is_not_asked": _METHOD,
        "test_a_server_that_comes_back_is_asked_again_and_one_that_left_is_not": _METHOD,
        "test_the_questions_are_few_and_where_nobody_looks_there_is_none": _METHOD,
    },
    "tests/core/relay/test_control.py": {
        "test_the_accounts_of_those_who_are_gone_are_bounded": _STAND_IN,
    },
    "tests/core/reliability/test_may_have_arrived.py": {
        WHOLE: _METHOD,
    },
    "tests/core/reliability/test_sender.py": {
        WHOLE: _METHOD,
    },
    "tests/core/secure/test_flood_of_requests.py": {
        "test_a_flood_uses_no_key_and_who_is_there_comes_in": _METHOD,
    },
    "tests/core/secure/test_handshake_work.py": {
        "test_an_answer_is_written_once_and_shortened_only_where_it_must_be": _METHOD,
        "test_each_side_uses_its_keys_three_times": _METHOD,
    },
    "tests/core/secure/test_rekeying.py": {
        "test_keys_are_new_in_time_however_seldom_heartbeats_are": _METHOD,
        "test_what_ends_no_exchange_is_tried_a_few_times": _METHOD,
        "test_where_new_keys_are_kept_back_a_new_session_brings_them": _METHOD,
        "test_where_that_is_kept_back_too_the_session_ends_with_the_reason": _METHOD,
    },
    "tests/core/secure/test_routed.py": {
        "test_a_direct_session_takes_over": _METHOD,
        "test_a_flood_of_requests_costs_no_more_exchanges_than_the_limit": _METHOD,
        "test_a_list_that_hides_what_a_node_can_do_changes_nothing": _METHOD,
        "test_a_message_in_the_open_from_an_id_made_of_keys_is_refused": _METHOD,
        "test_a_message_of_many_parts_is_whole_or_not_there": _METHOD,
        "test_a_thousand_altered_forged_and_replayed_messages": _METHOD,
        "test_no_byte_of_a_text_is_in_the_clear_on_the_way": _METHOD,
        "test_nodes_without_keys_are_routed_to_as_before": _METHOD,
        "test_what_finds_no_way_when_the_keys_are_there_is_tried_again": _METHOD,
        "test_what_is_stripped_fails_and_nothing_is_said_in_the_open": _METHOD,
        "test_what_waits_goes_by_a_direct_session_that_comes_about": _METHOD,
        "test_whatever_happens_what_is_told_as_delivered_was_and_comes_once": _METHOD,
        "test_who_hands_on_may_write_the_json_anew": _METHOD,
        "test_who_is_on_the_way_cannot_answer_for_a_node": _METHOD,
        "test_who_is_on_the_way_cannot_ask_in_the_name_of_a_node": _METHOD,
        "test_who_only_says_that_a_session_is_unknown_ends_nothing": _METHOD,
    },
    "tests/core/secure/test_secured_campaign.py": {
        WHOLE: _METHOD,
    },
    "tests/core/sessions/test_late_keepalives.py": {
        "test_an_idle_way_stays_open_though_timers_are_late": _METHOD,
    },
    "tests/core/sessions/test_liveness.py": {
        "test_a_ping_measures_the_round_trip": _STAND_IN,
    },
    "tests/core/test_budgets.py": {
        "test_a_budget_is_judged_here_or_by_who_counts_what_is_over": _SOURCE,
        "test_a_handler_never_asks_for_the_rate_of_its_messages": _SOURCE,
        "test_nobody_else_counts_what_others_ask_for": _SOURCE,
    },
    "tests/core/test_calls.py": {
        "test_a_call_ends_even_if_what_it_waits_for_is_forgotten": _METHOD,
        "test_a_ping_that_no_call_may_wait_for_does_not_leave": _CONSTANT,
        "test_no_call_of_the_endpoint_is_left_out_here": _SOURCE,
        "test_what_cannot_be_sent_at_all_ends_a_call_too": _METHOD,
    },
    "tests/core/test_delivery.py": {
        "test_one_is_asked_for_its_proof_by_one_chain_of_challenges": _METHOD,
    },
    "tests/core/test_gate.py": {
        "test_a_check_that_is_dropped_is_not_counted": _METHOD,
    },
    "tests/core/test_peer.py": {
        "test_a_peer_is_made_of_few_parts_and_these_of_few_fields": _SOURCE,
        "test_a_planted_change_of_a_part_is_found": _SOURCE,
        "test_no_part_of_a_peer_is_changed_by_who_is_not_named_here": _SOURCE,
    },
    "tests/core/test_reference_client_role.py": {
        "test_a_null_pong_answers_the_ping": _STAND_IN,
    },
    "tests/core/traversal/test_attempt.py": {
        "test_a_part_is_small_and_takes_nothing_that_it_does_not_name": _SOURCE,
        "test_a_planted_change_of_a_part_is_found": _SOURCE,
        "test_no_part_of_an_attempt_is_changed_by_who_is_not_named_here": _SOURCE,
    },
    "tests/core/traversal/test_direct_paths.py": {
        "test_tries_by_a_path_that_is_gone_do_not_count": _METHOD,
    },
    "tests/core/traversal/test_forgetting.py": {
        "test_attempts_that_wait_are_bounded": _CONSTANT,
    },
    "tests/core/traversal/test_full_searches.py": {
        "test_checks_that_a_round_forgets_are_counted": _CONSTANT,
        "test_early_checks_without_room_are_counted": _CONSTANT,
        "test_offers_that_find_no_room_are_counted": _CONSTANT,
        "test_without_room_for_a_search_the_relay_serves": _CONSTANT,
    },
    "tests/core/traversal/test_reasons.py": {
        "test_a_network_that_is_found_late_is_no_move": _STAND_IN,
        "test_after_a_change_of_the_server_its_own_view_counts": _STAND_IN,
        "test_only_what_is_known_of_both_times_is_compared": _STAND_IN,
        "test_what_was_learnt_later_counts_from_then_on": _STAND_IN,
    },
    "tests/core/traversal/test_room.py": {
        "test_the_root_makes_the_parts_and_does_nothing_itself": _SOURCE,
    },
    "tests/fuzz/test_corpus.py": {
        "test_an_endpoint_that_keeps_its_timers_is_noticed": _METHOD,
        "test_an_endpoint_that_raises_is_noticed": _METHOD,
    },
    "tests/fuzz/test_middle.py": {
        "test_a_receiver_without_a_memory_is_noticed": _METHOD,
    },
    "tests/io/test_batches.py": {
        "test_senders_without_end_are_not_known_without_end": _CONSTANT,
    },
    "tests/node/test_node_lifecycle.py": {
        "test_a_failure_of_the_machinery_reaches_whoever_waits": _METHOD,
    },
    "tests/secure/test_key_is_shown_nowhere.py": {
        "test_the_parts_of_a_node_do_not_show_it": _SOURCE,
    },
    "tests/secure/test_key_text.py": {
        "test_a_secret_is_shown_nowhere": _LOCALS,
    },
    "tests/secure/test_known_nodes.py": {
        "test_what_is_full_of_what_the_user_said_takes_no_more": _CONSTANT,
    },
    "tests/secure/test_strangers.py": {
        "test_whatever_comes_it_stays_consistent_and_within_its_limit": _CONSTANT,
        "test_whom_the_user_names_takes_no_place_of_who_is_connected": _CONSTANT,
    },
    "tests/test_compiled.py": {
        WHOLE: _CHECKOUT,
    },
    "tests/test_packaging.py": {
        WHOLE: _CHECKOUT,
    },
}
"""Tests that need the modules as Python runs them, by file and name, and why; a name may end with
one of its parameters. Those that say so by how they fail need not be named: see `why_it_failed`."""


def why_not(node_id: str) -> str | None:
    """Why a test is skipped on the compiled package; None if it is run.

    Args:
        node_id: As pytest names it.
    """
    file, _, case = node_id.partition("::")
    of_file = INTERPRETED_ONLY.get(file, {})
    return of_file.get(WHOLE) or of_file.get(case) or of_file.get(case.partition("[")[0])


def why_it_failed(error: BaseException) -> str | None:
    """Why a test that failed on the compiled package can only be run interpreted; None if not for
    what it does itself: to replace a method, or to hand over an object of a class of the tests.

    Args:
        error: What it raised.
    """
    text, files = str(error), list[str]()
    frame = error.__traceback__
    while frame is not None:
        files.append(frame.tb_frame.f_code.co_filename)
        frame = frame.tb_next
    is_of_test = [not _is_of_package(file) for file in files[-2:]]
    handed_over = r"object expected; got (tests|types|test_\w+)\."
    if isinstance(error, TypeError) and re.search(handed_over, text):
        # What refuses it may stand in the traceback, below the call that hands it over.
        return _STAND_IN if any(is_of_test) else None
    is_replacement = isinstance(error, AttributeError) and "is read-only" in text
    return _METHOD if is_replacement and is_of_test[-1:] == [True] else None


def _is_of_package(file: str) -> bool:
    path = Path(file)
    return path.parts[:1] == ("p2ptui",) or path.is_relative_to(_PACKAGE)
