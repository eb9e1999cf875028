"""One truth about who is where, in stories at random: see `cluster_truth`."""

import pytest

from tests.core.cluster_truth import Story


@pytest.mark.parametrize("seed", range(12))
def test_every_node_is_in_every_list_and_held_where_it_is(seed: int) -> None:
    Story(seed).run()


@pytest.mark.parametrize("seed", [68, 74])
def test_stories_that_once_went_wrong(seed: int) -> None:
    """68: a node without keys had moved soon after another server had asked for it."""
    Story(seed).run()
