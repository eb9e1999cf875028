import gc
import importlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Generator, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, settings

from p2ptui import version
from p2ptui.core.counters import Counters
from tests import virtual_time

# A busy machine is no bug: what takes too long is the concern of the whole run.
settings.register_profile("p2ptui", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("p2ptui")

# Thousands of tests leave little garbage and much that stays: a sixth of their time went into
# looking at that over and over.
gc.set_threshold(20_000, 20, 20)

# Programs that are tested get this as this process has it, and one under nohup would ignore it.
if hasattr(signal, "SIGHUP"):
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
# So would those of a script that a shell runs in the background.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Before the modules that keep a clock under a name of their own are loaded.
virtual_time.install()


# What pytest makes of all asserts takes a process ten seconds, and what programs that are tested
# import a second each: it is kept, also where Python is told otherwise.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

ENDED_S = 20.0
"""Within which a test process has ended that does not answer any more: execnet gives its own 15."""

SKIPPED_ITSELF = "Skipped: compiled, by itself: "
"""What the reason begins with of a test that was to be run, and could not be."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--secured`: tests of the core that were written for the open dialect, under seal."""
    parser.addoption("--secured", action="store_true", help="give all simulated nodes keys")
    parser.addoption(
        "--most-skip-themselves",
        type=int,
        metavar="N",
        help="fail if more do so on the compiled package, see tests/compiled/chosen.py",
    )


def pytest_configure(config: pytest.Config) -> None:
    """As told by the options."""
    if config.getoption("--secured"):
        from tests.simulation import World

        World.secured = True


def pytest_report_header() -> str:
    """Which of the two the tests run on."""
    return f"p2ptui {version.described()}"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """On the compiled package some tests have nothing to look at."""
    if version.is_compiled():
        from tests.compiled.chosen import why_not

        for item in items:
            if (reason := why_not(item.nodeid)) is not None:
                item.add_marker(pytest.mark.skip(reason=f"compiled: {reason}"))


def pytest_collection_finish() -> None:
    """All that was imported and collected stays: no collection looks at it from here on."""
    gc.freeze()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A test that finds on its way that it can only be run interpreted is skipped, too."""
    report = yield
    if report.failed and version.is_compiled() and call.excinfo is not None:
        from tests.compiled.chosen import why_it_failed

        if (reason := why_it_failed(call.excinfo.value)) is not None:
            report.outcome = "skipped"
            report.longrepr = (str(item.path), 0, f"{SKIPPED_ITSELF}{reason}")
    return report


def pytest_sessionfinish(session: pytest.Session) -> None:
    """More than may skip themselves are a fault of what they are run on."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    most = session.config.getoption("--most-skip-themselves")
    if reporter is None or most is None:
        return
    reasons = [str(each.longrepr) for each in reporter.stats.get("skipped", ())]
    skipped = sum(SKIPPED_ITSELF in reason for reason in reasons)
    reporter.write_line(f"{skipped} tests skipped themselves, of {most} that may")
    if skipped > most:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """More than there are cores: some tests wait for kernels and terminals most of the time."""
    from tests import distribution

    return distribution.workers(os.cpu_count() or 1)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Which process runs which file; other ways than by file are xdist's own."""
    if config.getvalue("dist") != "loadfile":
        return None
    from tests import distribution

    config.option.loadscopereorder = False  # the number of its tests says little of a file
    return distribution.LongestFirst(config, log)


_LOST: list[str] = []
"""Of test processes that ended before their tests had: how they did, a line each."""


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any, error: object) -> None:
    """Of a process that ends before its tests have: how it did, which xdist does not say."""
    if error is not None:
        process: subprocess.Popen[bytes] = node.gateway._io.popen
        try:
            ended = f"ended with {process.wait(ENDED_S)}"  # a signal is negative
        except subprocess.TimeoutExpired:
            ended = "still runs"
        _LOST.append(f"{node.gateway.id} is lost ({error}): process {process.pid} {ended}")


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """At the end, where it is read also by who sees the end only."""
    for line in _LOST:
        terminalreporter.write_line(line)


def pytest_sessionstart(session: pytest.Session) -> None:
    """Processes that collect the same tests at once begin with a share each, and keep it."""
    config = session.config
    worker: dict[str, Any] | None = getattr(config, "workerinput", None)
    if worker is None:
        return
    folders = [config.invocation_params.dir / argument for argument in config.args]
    files = sorted(file for folder in folders for file in folder.rglob("test_*.py"))
    number = int(worker["workerid"].removeprefix("gw"))
    for file in files[number % worker["workercount"] :: worker["workercount"]]:
        _import(file)


def _import(file: Path) -> None:
    """Import a file of tests as pytest does; if it cannot be, the collection will say so."""
    if str(file.parent) not in sys.path:
        sys.path.insert(0, str(file.parent))
    with suppress(Exception, pytest.skip.Exception):
        importlib.import_module(file.stem)


@pytest.fixture(scope="session", autouse=True)
def a_home_of_their_own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Tests neither read nor change what the user's own nodes remember, nor how they are set."""
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(home))
        for purpose in ("CONFIG", "STATE", "DATA", "CACHE"):
            patch.setenv(f"XDG_{purpose}_HOME", str(home / purpose.lower()))
        patch.setenv("P2PTUI_SYSTEM_CONFIG", str(home / "etc" / "config.toml"))
        yield


@pytest.fixture(autouse=True)
def nothing_is_unpaid(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    """What leaves is paid for: who asks the gate for more has forgotten to look first."""
    unpaid: list[str] = []
    drop = Counters.drop

    def note(counters: Counters, cause: str) -> None:
        if cause == "unpaid":
            unpaid.append(cause)
        drop(counters, cause)

    monkeypatch.setattr(Counters, "drop", note)
    yield
    assert (
        request.path.name
        in (
            "test_gate.py",
            "test_exits.py",
            "test_path_accounts.py",
        )
        or not unpaid
    )


SIGNALS: Final = [
    getattr(signal, name)
    for name in ("SIGHUP", "SIGINT", "SIGTERM", "SIGUSR1")
    if hasattr(signal, name)
]
"""What programs that are tested handle."""


@pytest.fixture(autouse=True)
def signals_are_as_before() -> Iterator[None]:
    """By a handler that a test leaves, the next one would miss a signal, or die of it."""
    before = {number: signal.getsignal(number) for number in SIGNALS}
    yield
    for number, handler in before.items():
        if signal.getsignal(number) is not handler:
            signal.signal(number, handler)


@pytest.fixture(autouse=True)
def a_state_of_its_own(a_home_of_their_own: None) -> Iterator[None]:
    """What nodes remember of networks is of no other test's concern."""
    yield
    shutil.rmtree(os.environ["XDG_STATE_HOME"], ignore_errors=True)
