"""The page of metrics is what the code says."""

from pathlib import Path

from p2ptui.metrics.families import FAMILIES
from p2ptui.metrics.render import with_table

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "metrics.md"


def test_the_table_is_up_to_date() -> None:
    text = PAGE.read_text("utf-8")
    assert text == with_table(text), "run: python -m p2ptui.metrics.render docs/metrics.md"


def test_every_metric_is_in_it() -> None:
    text = PAGE.read_text("utf-8")
    missing = [family.name for family in FAMILIES if f"| `{family.name}` |" not in text]
    assert not missing, "run: python -m p2ptui.metrics.render docs/metrics.md"
