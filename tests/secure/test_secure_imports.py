"""What secure sessions cost a command that needs none: nothing of `cryptography` is loaded."""

import subprocess
import sys

import pytest

from tests.patience import PATIENCE_S

MODULES = ["p2ptui", "p2ptui.cli", "p2ptui.secure", "p2ptui.secure.noise", "p2ptui.secure.retry"]


def loaded_after(code):
    ran = subprocess.run(
        [sys.executable, "-c", f"import sys\n{code}\nprint('cryptography' in sys.modules)"],
        capture_output=True,
        encoding="utf-8",
        timeout=PATIENCE_S,
        check=True,
    )
    return ran.stdout.split()[-1] == "True"


@pytest.mark.parametrize("module", MODULES)
def test_importing_it_loads_no_cryptography(module):
    assert not loaded_after(f"import {module}")


def test_the_first_key_loads_it():
    assert loaded_after("from p2ptui.secure import StaticKeys; StaticKeys.generate()")
