"""Advice where the system allows too little, and none where it is enough."""

import pytest

from p2ptui.io.system_limits import system_warnings

USUAL = {"net.core.rmem_max": 212_992, "net.core.wmem_max": 212_992}


def warned(peers: int, files: int | None = 1024, sockets: int = 2048, **settings: int) -> list[str]:
    told = {name.replace("_", ".", 2): value for name, value in settings.items()} or USUAL
    return system_warnings(peers, sockets, told.get, lambda: files)


def test_a_usual_machine_is_enough_for_a_usual_node() -> None:
    assert warned(100) == []


def test_each_line_has_the_command_that_mends_it() -> None:
    assert warned(1000) == [
        "this process may open 1024 files and sockets, and may need 2112 for 1000 peers: raise it"
        " with ulimit -n 2112, or with LimitNOFILE=2112 in a systemd unit",
        "the kernel's receive buffer limit is 212992 bytes, too small for 1000 peers at once: raise"
        " it with sysctl -w net.core.rmem_max=4194304, and in /etc/sysctl.d for good",
        "the kernel's send buffer limit is 212992 bytes, too small for 1000 peers at once: raise"
        " it with sysctl -w net.core.wmem_max=1048576, and in /etc/sysctl.d for good",
    ]


def test_what_is_advised_is_enough() -> None:
    enough = {"net.core.rmem_max": 4_194_304, "net.core.wmem_max": 1_048_576}
    assert system_warnings(1_000_000, 2048, enough.get, lambda: 2112) == []


def test_a_node_that_searches_no_paths_needs_few_files() -> None:
    assert system_warnings(1000, 0, lambda _: None, lambda: 1024) == []


def test_what_is_not_known_is_not_complained_of() -> None:
    assert system_warnings(1000, 2048, lambda _: None, lambda: None) == []


@pytest.mark.parametrize("peers", [1, 100_000])
def test_this_machine_can_be_asked(peers: int) -> None:
    assert all("raise it with" in line for line in system_warnings(peers, 2048))
