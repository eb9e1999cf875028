import os
import shutil
import signal
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from tests import virtual_time

# A busy machine is no bug: what takes too long is the concern of the whole run.
settings.register_profile("p2ptui", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("p2ptui")

# Programs that are tested get this as this process has it, and one under nohup would ignore it.
if hasattr(signal, "SIGHUP"):
    signal.signal(signal.SIGHUP, signal.SIG_DFL)

# Before the modules that keep a clock under a name of their own are loaded.
virtual_time.install()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """One more than there are cores: some tests wait for kernels and terminals most of the time."""
    return (os.cpu_count() or 1) + 1


@pytest.fixture(scope="session", autouse=True)
def a_home_of_their_own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Tests neither read nor change what the user's own nodes remember, nor how they are set."""
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(home))
        for purpose in ("CONFIG", "STATE", "DATA", "CACHE"):
            patch.setenv(f"XDG_{purpose}_HOME", str(home / purpose.lower()))
        yield


@pytest.fixture(autouse=True)
def a_state_of_its_own(a_home_of_their_own: None) -> Iterator[None]:
    """What nodes remember of networks is of no other test's concern."""
    yield
    shutil.rmtree(os.environ["XDG_STATE_HOME"], ignore_errors=True)
