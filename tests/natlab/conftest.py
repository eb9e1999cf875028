"""Each test has a network of its own, where the machine can have one."""

from collections.abc import Iterator

import pytest

from tests.natlab.laboratory import Laboratory
from tests.natlab.namespaces import missing


@pytest.fixture(scope="session")
def requires_laboratory() -> None:
    """Skip, with the reason, where there can be no laboratory."""
    if (reason := missing()) is not None:
        pytest.skip(reason)


@pytest.fixture
def laboratory(requires_laboratory: None) -> Iterator[Laboratory]:
    with Laboratory() as opened:
        yield opened
