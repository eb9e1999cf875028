"""The user's page says what the program does: every command, column, key and filter."""

from pathlib import Path

import pytest

from p2ptui.config.load import load_config
from p2ptui.tui.keymap import all_bindings, check_ui_options
from p2ptui.verbs import VERBS

PAGE = (Path(__file__).parents[2] / "docs" / "screen.md").read_text("utf-8")


@pytest.mark.parametrize("verb", VERBS.values(), ids=lambda verb: verb.name)
def test_every_command_is_described_as_it_is_written(verb):
    assert f"| `{verb.usage}` |" in PAGE


@pytest.mark.parametrize("binding", all_bindings(), ids=lambda binding: binding.id)
def test_every_key_is_listed_with_its_id(binding):
    (line,) = [line for line in PAGE.splitlines() if line.startswith(f"| `{binding.id}` |")]
    names = {"colon": ":", "slash": "/"}
    for key in binding.key.split(","):
        assert f"`{names.get(key, key)}`" in line
    assert line.endswith(f"| {binding.description} |")


def test_the_examples_of_configuration_are_accepted(tmp_path):
    blocks = [block.split("```")[0] for block in PAGE.split("```toml\n")[1:]]
    assert len(blocks) == 2
    for block in blocks:
        path = tmp_path / "example.toml"
        path.write_text(block)
        check_ui_options(load_config(path, {}, {}).ui)
