"""Which process runs which file of tests: what takes long begins first, what waits runs beside.

A file stays in one process, for the sake of what its tests share. Most files keep a core busy;
some wait most of the time, for the kernel or for programs that they started. As many files of
those run at once as there are more processes than cores, until there are none left.

Times are rough, as of two quiet cores: only their order matters. A file that is not named is taken
to be quick. Files that take about as long keep the order in which they were collected, so that a
plugin which shuffles them still does.
"""

import math
import os
from collections.abc import Iterable
from typing import Final

from xdist.scheduler import LoadFileScheduling

WAITING_S: Final = {
    "tests/cli/test_installed_command.py": 16,
    "tests/cli/test_installed_node.py": 28,
    "tests/cli/test_installed_receive.py": 20,
    "tests/cli/test_shell_completion.py": 10,
    "tests/cluster/test_cluster_trial.py": 20,
    "tests/docs/test_example_programs.py": 15,
    "tests/interop/test_stun_of_others.py": 3,
    "tests/natlab/test_asked_address.py": 14,
    "tests/natlab/test_kernel_addresses.py": 10,
    "tests/natlab/test_kernel_captures.py": 35,
    "tests/natlab/test_kernel_diagnosis.py": 60,
    "tests/natlab/test_kernel_lan.py": 5,
    "tests/natlab/test_kernel_moving.py": 70,
    "tests/natlab/test_kernel_names.py": 32,
    "tests/natlab/test_kernel_neighbours.py": 3,
    "tests/natlab/test_kernel_path_mtu.py": 60,
    "tests/natlab/test_kernel_roaming.py": 160,
    "tests/natlab/test_kernel_traversal.py": 30,
    "tests/natlab/test_laboratory.py": 20,
    "tests/node/test_loopback.py": 30,
    "tests/terminal/test_hostile.py": 6,
    "tests/terminal/test_restore.py": 16,
    "tests/terminal/test_stalled.py": 14,
    "tests/terminal/test_two_screens.py": 10,
    "tests/terminal/test_typing.py": 20,
    "tests/test_benchmark.py": 20,
    "tests/test_headless.py": 3,
    "tests/test_packaging.py": 12,
    "tests/test_tour.py": 50,
}
"""Files that mostly wait, and for how many seconds."""

BUSY_S: Final = {
    "tests/attacks/test_asked_by_forgery.py": 8,
    "tests/attacks/test_every_type.py": 18,
    "tests/attacks/test_floods.py": 10,
    "tests/attacks/test_middle_sealed.py": 9,
    "tests/attacks/test_purses.py": 8,
    "tests/attacks/test_shared_tables.py": 8,
    "tests/cli/test_bad_keys.py": 14,
    "tests/core/mesh/test_watching.py": 6,
    "tests/core/relay/test_failover.py": 17,
    "tests/core/relay/test_moved.py": 10,
    "tests/core/relay/test_rescue.py": 9,
    "tests/core/secure/test_moves_behind_nats.py": 4,
    "tests/core/secure/test_one_next_session.py": 4,
    "tests/core/secure/test_own_moves.py": 8,
    "tests/core/secure/test_rekeying.py": 4,
    "tests/core/secure/test_routed.py": 4,
    "tests/core/secure/test_sealed_crossings.py": 5,
    "tests/core/secure/test_secured_campaign.py": 8,
    "tests/core/sessions/test_beats_together.py": 7,
    "tests/core/sessions/test_crossing.py": 13,
    "tests/core/sessions/test_keepalive.py": 19,
    "tests/core/sessions/test_race.py": 5,
    "tests/core/test_contributing.py": 13,
    "tests/core/test_gate.py": 12,
    "tests/core/test_never.py": 14,
    "tests/core/test_path_sizes.py": 7,
    "tests/core/test_peer_memory.py": 15,
    "tests/core/traversal/test_direct_paths.py": 10,
    "tests/core/traversal/test_flow_feedback.py": 4,
    "tests/core/traversal/test_forgetting.py": 11,
    "tests/core/traversal/test_one_lan.py": 26,
    "tests/core/traversal/test_searches.py": 14,
    "tests/core/traversal/test_slowness.py": 13,
    "tests/fuzz/test_corpus.py": 5,
    "tests/fuzz/test_middle.py": 20,
    "tests/nat/test_prediction.py": 7,
    "tests/nat/test_prediction_memory.py": 5,
    "tests/node/test_diagnosis.py": 15,
    "tests/node/test_diagnosis_harms_nobody.py": 11,
    "tests/node/test_traversal_support.py": 4,
    "tests/secure/test_key_is_shown_nowhere.py": 20,
    "tests/test_campaign.py": 20,
    "tests/test_compiled.py": 120,
    "tests/test_cores_benchmark.py": 20,
    "tests/test_deployed_day.py": 7,
    "tests/test_reproducible.py": 11,
    "tests/test_screenshots.py": 10,
    "tests/tui/test_bar.py": 14,
    "tests/tui/test_contrast.py": 10,
    "tests/tui/test_keys.py": 5,
    "tests/tui/test_names.py": 11,
    "tests/tui/test_nat_pane.py": 15,
    "tests/tui/test_properties.py": 19,
    "tests/tui/test_refused_server.py": 4,
    "tests/tui/test_rows.py": 5,
    "tests/tui/test_shown_commands.py": 5,
    "tests/tui/test_trust_seen.py": 8,
    "tests/tui/test_urgent.py": 5,
}
"""Files that compute, and for how many seconds."""

QUICK_S: Final = 0.01
"""What a test takes in a file that is not named."""


def workers(cores: int) -> int:
    """How many processes keep so many cores busy, though some of them wait."""
    return cores + 2


def next_file(counts: Iterable[tuple[str, int]], *, waits: bool) -> str:
    """The file to begin with.

    Args:
        counts: Files with the number of their tests, in the order of their collection.
        waits: Whether it should rather be one that waits than one that computes.
    """

    def rank(counted: tuple[str, int]) -> tuple[bool, int]:
        file, count = counted
        seconds = WAITING_S.get(file) or BUSY_S.get(file) or count * QUICK_S
        return (file in WAITING_S) == waits, math.floor(math.log2(seconds))

    return max(counts, key=rank)[0]


class LongestFirst(LoadFileScheduling):
    """Gives each process one file after the other."""

    def remove_node(self, node: object) -> str | None:
        """A process has ended; the test that it died of, if it died.

        Others get what it has not done. As xdist has it, they would die of the same test, and wait
        for ever for the end of a file of which nothing is left to do.
        """
        work = self.assigned_work[node]
        left = (test for tests in work.values() for test, is_done in tests.items() if not is_done)
        died_of = next(left, None)
        for file, tests in list(work.items()):
            if died_of in tests:
                tests[died_of] = True
            if all(tests.values()):
                del work[file]
        super().remove_node(node)
        return died_of

    def _assign_work_unit(self, node: object) -> None:
        waits = self.nodes.index(node) < len(self.nodes) - (os.cpu_count() or 1)
        counts = ((file, len(tests)) for file, tests in self.workqueue.items())
        self.workqueue.move_to_end(next_file(counts, waits=waits), last=False)
        super()._assign_work_unit(node)
