import asyncio
import errno
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2ptui.core.sessions.race import MAX_RACE_ADDRESSES
from p2ptui.errors import LocalError
from p2ptui.io.resolve import address_of, resolve, resolve_all, sockaddr_of
from tests.virtual_loop import VirtualLoop

FOUR = (socket.AF_INET, socket.SOCK_DGRAM, 17, "", ("192.0.2.7", 80))
SIX = (socket.AF_INET6, socket.SOCK_DGRAM, 17, "", ("2001:db8::7", 80, 0, 0))


def run_resolve(address, answer, **options):
    """Resolve on a loop whose resolver gives, or raises, `answer`; also what it was asked."""
    asked = []

    class Loop(VirtualLoop):
        async def getaddrinfo(self, host, port, **options):
            asked.append((host, port))
            if isinstance(answer, Exception):
                raise answer
            return answer

    loop = Loop()
    try:
        return loop.run_until_complete(resolve(address, **options)), asked
    finally:
        loop.close()


@pytest.mark.parametrize("host", ["192.0.2.1", "2001:db8::1", "fe80::1%eth0"])
def test_a_literal_address_passes_untouched_without_a_look_up(host):
    assert run_resolve((host, 80), RuntimeError("asked")) == ((host, 80), [])


def test_a_name_becomes_the_first_address_of_the_system():
    found, asked = run_resolve(("host.example", 80), [SIX, FOUR])
    assert found == ("2001:db8::7", 80)
    assert asked == [("host.example", 80)]


def test_the_family_of_the_local_socket_is_preferred():
    found, _ = run_resolve(("host.example", 80), [SIX, FOUR], family=socket.AF_INET)
    assert found == ("192.0.2.7", 80)
    found, _ = run_resolve(("host.example", 80), [FOUR], family=socket.AF_INET6)
    assert found == ("192.0.2.7", 80)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (socket.gaierror(-2, "Name or service not known"), "Name or service not known"),
        (UnicodeError("label empty or too long"), "not a host name"),
        (ValueError("embedded null character"), "not a host name"),
        ([], "it has no IP address"),
    ],
)
def test_a_name_without_an_address_says_so_in_one_line(answer, reason):
    with pytest.raises(LocalError) as caught:
        run_resolve(("nosuch.example", 80), answer)
    assert str(caught.value) == (
        f"cannot resolve host 'nosuch.example': {reason}; check the spelling or use an IP address"
    )


@pytest.mark.parametrize("loop", ["plain", "uvloop"])
def test_a_name_that_no_resolver_could_know_asks_none(loop):
    plain = loop == "plain"
    factory = asyncio.new_event_loop if plain else pytest.importorskip(loop).new_event_loop
    with (
        asyncio.Runner(loop_factory=factory) as runner,
        pytest.raises(LocalError, match="not a host name"),
    ):
        runner.run(resolve(("a" * 64 + ".example", 80)))


@given(
    st.tuples(
        st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6)).map(str), st.integers(1, 65535)
    ).filter(lambda address: not address[0].startswith("::ffff:"))
)
def test_an_address_survives_the_way_to_the_socket_and_back(address):
    assert address_of(sockaddr_of(address, socket.AF_INET6)) == address
    if ":" not in address[0]:
        assert sockaddr_of(address, socket.AF_INET) == address


@given(st.text(max_size=40), st.integers(-1, 70_000), st.sampled_from([socket.AF_INET6, 2]))
def test_any_text_is_a_destination_or_an_os_error(host, port, family):
    try:
        sockaddr_of((host, port), family)
    except OSError as refusal:
        number = refusal.errno
    else:
        number = 0
    assert number in (0, errno.EINVAL, errno.EAFNOSUPPORT, errno.ENODEV)


# --- all addresses of a name


def entry(host, port=80):
    six = ":" in host
    sockaddr = (host, port, 0, 0) if six else (host, port)
    return (socket.AF_INET6 if six else socket.AF_INET, socket.SOCK_DGRAM, 17, "", sockaddr)


def run_resolve_all(answer, host="host.example"):
    class Loop(VirtualLoop):
        async def getaddrinfo(self, *_, **options):
            if isinstance(answer, Exception):
                raise answer
            return answer

    with asyncio.Runner(loop_factory=Loop) as runner:
        return [found for found, _ in runner.run(resolve_all((host, 80)))]


def test_the_families_alternate_beginning_with_the_first_choice_of_the_system():
    answer = [entry(h) for h in ("2001:db8::1", "2001:db8::2", "2001:db8::3", "192.0.2.1")]
    assert run_resolve_all(answer) == ["2001:db8::1", "192.0.2.1", "2001:db8::2", "2001:db8::3"]
    answer = [entry(h) for h in ("192.0.2.1", "192.0.2.2", "2001:db8::1", "192.0.2.3")]
    assert run_resolve_all(answer) == ["192.0.2.1", "2001:db8::1", "192.0.2.2", "192.0.2.3"]


def test_an_address_that_is_named_twice_is_tried_once():
    assert run_resolve_all([FOUR, FOUR, SIX, FOUR]) == ["192.0.2.7", "2001:db8::7"]


def test_a_name_with_many_addresses_is_tried_at_a_few_of_each_family():
    answer = [entry(f"192.0.2.{n}") for n in range(1, 200)] + [entry("2001:db8::1")]
    found = run_resolve_all(answer)
    assert len(found) == MAX_RACE_ADDRESSES
    assert found[:3] == ["192.0.2.1", "2001:db8::1", "192.0.2.2"]


def test_what_is_no_address_in_an_answer_is_passed_over():
    garbage = [
        (),
        None,
        (socket.AF_INET,),
        (socket.AF_INET, socket.SOCK_DGRAM, 17, "", None),
        (socket.AF_INET, socket.SOCK_DGRAM, 17, "", ("not an address", 80)),
        (socket.AF_INET, socket.SOCK_DGRAM, 17, "", ("192.0.2.9", "http")),
        (socket.AF_UNIX, socket.SOCK_DGRAM, 17, "", "/tmp/socket"),
        (socket.AF_INET6, socket.SOCK_DGRAM, 17, "", (1, b"")),
    ]
    assert run_resolve_all([*garbage, FOUR]) == ["192.0.2.7"]
    with pytest.raises(LocalError, match="it has no IP address"):
        run_resolve_all(garbage)


def test_a_literal_is_asked_of_nobody():
    assert run_resolve_all(RuntimeError("asked"), "2001:db8::1") == ["2001:db8::1"]


def test_a_resolver_that_asked_nobody_is_not_a_spelling_mistake():
    silent = socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
    with pytest.raises(LocalError, match="no name server answers: check the network"):
        run_resolve_all(silent)


@given(st.lists(st.one_of(st.none(), st.tuples(st.integers(), st.text()), st.binary())))
def test_no_answer_of_a_resolver_raises_anything_else(answer):
    with pytest.raises(LocalError):
        run_resolve_all(answer)
