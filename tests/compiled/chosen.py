"""Which tests CI runs on the compiled package, and which cannot be run on it."""

from typing import Final

CHOSEN: Final = (
    "tests/wire",
    "tests/secure",
    "tests/core",
    "tests/nat",
    "tests/fuzz",
    "tests/test_campaign.py",
    "tests/test_compiled.py",
)
"""Transcripts of the core, the wire, the seals, the fuzzing corpus and seeds of the campaign."""

INTERPRETED_ONLY: Final[dict[str, str]] = {}
"""Tests that need the modules as Python runs them, by the end of their names; and why."""


def why_not(node_id: str) -> str | None:
    """Why a test is skipped on the compiled package; None if it is run.

    Args:
        node_id: As pytest names it.
    """
    bare = node_id.partition("[")[0]
    for name, reason in INTERPRETED_ONLY.items():
        if bare == name or bare.startswith((name + "::", name + "/")):
            return reason
    return None
