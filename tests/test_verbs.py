"""The grammar of commands: read as it is written, mistakes answered with what would be right."""

import sys
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2ptui.cli import COMMANDS, main
from p2ptui.commands import run_command
from p2ptui.config import LogLevel
from p2ptui.errors import LocalError
from p2ptui.nearest import mistakes, nearest
from p2ptui.verbs import LEVELS, VERBS, Kind, UsageError, nearest_verb, parse_command

BOB = "b0b0b0b0-0000-4000-8000-000000000001"


def complaint(line: str, peers: tuple[str, ...] = ()) -> str:
    with pytest.raises(UsageError) as caught:
        parse_command(line, peers)
    return str(caught.value)


def test_the_grammar_is_the_one_that_was_promised():
    promised = (
        "connect disconnect ping send broadcast relay punch nat discover peers servers trust"
        " forget key routes stats filter log save copy theme help quit"
    )
    assert list(VERBS) == promised.split()


def test_the_levels_are_those_of_the_configuration():
    assert get_args(LogLevel) == LEVELS


@pytest.mark.parametrize(
    ("line", "peer", "text", "count"),
    [
        ("connect 1.2.3.4:80", None, "1.2.3.4:80", 1),
        ("PING", None, "", 4),
        ("ping bob", "bob", "", 4),
        ("ping 7", None, "", 7),
        ("ping bob 7", "bob", "", 7),
        ("ping bob -n 7", "bob", "", 7),
        ('ping "two words" 2', "two words", "", 2),
        ("ping -n 7 bob", "bob", "", 7),
        ("ping -n7 bob", "bob", "", 7),
        ("ping -n=7", None, "", 7),
        ("ping .", None, "", 4),
        ("ping . 3", None, "", 3),
        ("ping -n 3 .", None, "", 3),
        ("ping -n 2 77", "77", "", 2),
        ("ping 7 bob", "bob", "", 7),
        ("ping 3 .", None, "", 3),
        ("ping 77 2", "77", "", 2),
        ("disconnect .", None, "", 1),
        ("punch .", None, "", 1),
        ("relay . two words", None, "two words", 1),
        ("connect .", None, ".", 1),
        ("connect bob", "bob", "bob", 1),
        ("send hello", None, "hello", 1),
        ("send . hello there", None, "hello there", 1),
        ('send "hello there"', None, "hello there", 1),
        ('send {"a": 1}', None, '{"a": 1}', 1),
        ('send ["a", "b c"]', None, '["a", "b c"]', 1),
        ("send [hello", None, "[hello", 1),
        ("send [carol hi there", "[carol", "hi there", 1),
        ("send . [hi there", None, "[hi there", 1),
        ("send 192.0.2.1:9 hello there", "192.0.2.1:9", "hello there", 1),
        ("send deadbeef hello", "deadbeef", "hello", 1),
        ("send bob hello there", "bob", "hello there", 1),
        ('send "two words" hello', "two words", "hello", 1),
        ("send b0b0 hello", "b0b0", "hello", 1),
        ('send bob {"a": "b c"}', "bob", '{"a": "b c"}', 1),
        ("broadcast bob is here", None, "bob is here", 1),
        ("filter !/a b/ x", None, "!/a b/ x", 1),
        ("log WARN", None, "warn", 1),
        ("help Ping", None, "ping", 1),
        ("help exit-codes", None, "exit-codes", 1),
        ("peers bo", None, "bo", 1),
        ("  quit  ", None, "", 1),
    ],
)
def test_a_line_is_read(line, peer, text, count):
    command = parse_command(line, ["bob", "two words", "[carol", BOB])
    assert (command.peer, command.text, command.count) == (peer, text, count)


@pytest.mark.parametrize(
    ("line", "is_named"),
    [
        ("disconnect", False),
        ("disconnect .", True),
        ("disconnect bob", True),
        ("ping 7", False),
        ("send hello", False),
        ("send . hello", True),
        ("send bob hello", True),
    ],
)
def test_whether_somebody_was_named(line, is_named):
    assert parse_command(line, ["bob"]).is_named is is_named


@given(st.permutations(["-n 3", "bob"]), st.sampled_from(["-n 3", "-n3", "-n=3", "3"]))
def test_a_count_stands_before_or_after_whom_it_is_for(order, written):
    if written == "3" and order[0] == "-n 3":
        return  # a bare count comes after
    command = parse_command(" ".join(["ping", *order]).replace("-n 3", written))
    assert (command.peer, command.count) == ("bob", 3)


def test_nat_takes_any_number_of_servers():
    assert parse_command("nat").servers == ()
    assert parse_command("nat a:1 b:2 [::1]:3").servers == ("a:1", "b:2", "[::1]:3")
    assert parse_command("nat --server a:1 --server b:2").servers == ("a:1", "b:2")
    assert parse_command("nat --server=a:1 b:2").servers == ("a:1", "b:2")
    risky = parse_command("nat b:2 --filter-with a:1")
    assert (risky.servers, risky.filter_with) == (("b:2",), ("a:1",))
    assert parse_command("nat b:2").filter_with == ()
    assert "write HOST:PORT; usage: nat [SERVER...]" in complaint("nat stun.example")
    assert "port 0 is no port" in complaint("nat a:1 b:0")


@pytest.mark.parametrize(
    ("server", "said"),
    [
        ("0.0.0.0:5", "on this machine 127.0.0.1:5; usage: nat"),
        ("[::]:5", "on this machine [::1]:5; usage: nat"),
        ("224.0.0.1:5", "224.0.0.1:5 is a group"),
        ("[fe80::1]:5", "needs its interface: write [fe80::1%eth0]:5"),
        ("255.255.255.255:5", "is a group"),
        ("[ff02::1]:5", "is a group"),
        ("[::ffff:224.0.0.1]:5", "224.0.0.1:5 is a group"),
    ],
)
def test_nat_asks_single_hosts_only_as_the_shell_has_it(server, said, capsys):
    assert said in complaint(f"nat {server}")
    assert main(["nat", "--server", server]) == 2
    assert said.partition(";")[0] in capsys.readouterr().err


def test_nat_writes_a_server_as_its_answers_come():
    assert parse_command("nat [::ffff:1.2.3.4]:5 [2001:DB8:0::1]:3").servers == (
        "1.2.3.4:5",
        "[2001:db8::1]:3",
    )


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("", "type a command, or help"),
        ("sned x", "did you mean send?"),
        ("xyzzy", "help lists the commands"),
        ("disconnect a b", "usage: disconnect [PEER]"),
        ("send", "what shall be sent? usage: send [PEER] TEXT"),
        ("send [bob hi there", "'[bob' is not a peer; did you mean bob?"),
        ('send {"a": 1', "send . TEXT sends to the selected one"),
        ("send [1, NaN]", "is not a peer"),
        ('send "bob hi', "quotation mark is not closed"),
        ('ping "bob', "quotation mark is not closed"),
        ("ping bob many", "'many': the count must be 1 to 10,000"),
        ("ping bob \x1b", "'\\x1b': the count must be 1 to 10,000"),
        ("ping bob 0", "'0': the count must be 1 to 10,000"),
        ("ping bob 99999999999999999999", "the count must be 1 to 10,000"),
        ("ping bob -n", "-n needs a value; usage: ping"),
        (f"ping bob {'1' * 4_301}", "1…: the count must be 1 to 10,000"),
        ("ping bob ²", "'²': the count must be 1 to 10,000"),
        ("ping -n x bob", "'x': the count must be 1 to 10,000"),
        ("ping -n 2 -n 3 bob", "one count is enough"),
        ("ping bob 2 -n 3", "one count is enough"),
        ("nat --server", "--server needs a value"),
        ("nat 127.0.0.1", "the port is missing; write HOST:PORT, here 127.0.0.1:PORT"),
        ("nat ::1", "here [::1]:PORT"),
        ("send 127.0.0.1 hi there", "the port is missing; write 127.0.0.1:PORT"),
        ("send [::1] hi there", "the port is missing; write [::1]:PORT"),
        ("log loud", "one of trace, debug, info, warn, error"),
        ("help sned", "did you mean send?"),
        ("save", "usage: save FILE"),
    ],
)
def test_a_mistake_is_answered_with_what_would_be_right(line, said):
    assert said in complaint(line, ("bob",))


def test_a_peer_and_nothing_to_send_is_a_mistake():
    assert "what shall be sent?" in complaint("send bob", ("bob",))


@given(st.text(max_size=80), st.lists(st.text(max_size=10), max_size=3))
def test_any_line_is_a_command_or_a_usage_error(line, peers):
    try:
        command = parse_command(line, peers)
    except LocalError:
        return
    assert command.verb.name in VERBS
    assert 1 <= command.count <= 10_000


@given(st.sampled_from(sorted(VERBS)), st.data())
def test_a_verb_with_one_letter_missing_is_still_understood(name, data):
    place = data.draw(st.integers(0, len(name) - 1))
    damaged = name[:place] + name[place + 1 :]
    if len(name) > 3 and damaged not in VERBS:
        assert nearest_verb(damaged) is not None


def test_the_nearest_is_the_only_one_that_begins_so():
    assert nearest("dis", ["disconnect", "ping"]) == "disconnect"
    assert nearest("", ["ping"]) is None
    assert nearest("zzz", ["ping"]) is None


@pytest.mark.parametrize(
    ("word", "choices", "meant"),
    [
        ("two", ["bob"], None),
        ("pong", ["ping", "send"], "ping"),
        ("sned", ["send", "save"], "send"),
        ("alcie", ["alice", "alias"], "alice"),
        ("bbo", ["bob"], "bob"),
        ("eve", ["dave"], None),
        ("leave", ["save", "relay", "help"], None),
        ("nonsense", ["connect", "discover"], None),
        ("y" + "x" * 1000, ["x" * 1001], None),
        ("bob", [], None),
    ],
)
def test_only_what_is_nearly_the_same_is_offered(word, choices, meant):
    assert nearest(word, choices) == meant


@given(st.text(max_size=12), st.text(max_size=12))
def test_mistakes_are_counted_the_same_both_ways(word, other):
    assert mistakes(word, other) == mistakes(other, word) <= max(len(word), len(other))
    assert (mistakes(word, other) == 0) == (word == other)


def test_whom_nobody_resembles_is_not_offered_another():
    said = complaint("send two hi", ("bob",))
    assert said == "'two' is not a peer; send . TEXT sends to the selected one"
    said = complaint("log nonsense")
    assert said == "'nonsense' is not a level; one of trace, debug, info, warn, error"


def test_the_usage_names_the_options():
    assert VERBS["nat"].usage == "nat [SERVER...] [--filter-with HOST:PORT]"


def test_every_verb_is_described():
    for verb in VERBS.values():
        assert verb.summary
        assert verb.usage.startswith(verb.name)
        assert all(isinstance(parameter.kind, Kind) for parameter in verb.parameters)


# The shell has the same grammar.


def test_the_shell_commands_are_the_verbs_marked_for_it():
    # And some that the screen does not have.
    marked = {name for name, verb in VERBS.items() if verb.in_shell}
    shared = COMMANDS.keys() & VERBS.keys()
    assert marked <= shared, f"COMMANDS of commands/node_options.py lacks {marked - shared}"
    assert shared <= marked, f"of the shell, but not marked with in_shell: {shared - marked}"
    assert all(COMMANDS[name] == VERBS[name].summary for name in COMMANDS if name in VERBS)
    assert "receive" not in VERBS
    for name in COMMANDS:
        with pytest.raises(SystemExit) as left:
            run_command(name, ["-h"], {})
        assert left.value.code == 0


@pytest.mark.parametrize(
    ("word", "said"),
    [("pign", "did you mean 'ping'?"), ("connect", "is a command of the screen")],
)
def test_the_shell_answers_an_unknown_command(word, said, capsys):
    assert main([word]) == 2
    assert said in capsys.readouterr().err


def test_the_screen_without_a_terminal_says_what_to_do(capsys):
    assert main(["-a", "127.0.0.1:0"]) == 1
    assert (
        capsys.readouterr().err == "p2ptui: the screen needs a terminal; without one use --no-ui\n"
    )


@pytest.mark.skipif(sys.platform == "win32", reason="there it is drawn on standard output")
def test_a_screen_that_would_be_drawn_into_a_file_says_so(capsys, monkeypatch):
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert main(["-a", "127.0.0.1:0"]) == 1
    assert capsys.readouterr().err == (
        "p2ptui: the screen is drawn on standard error, which is no terminal here:"
        " do not redirect it; for a log set logging.log_to_file\n"
    )


def test_a_key_map_is_checked_by_check_config(tmp_path, capsys):
    path = tmp_path / "a.toml"
    path.write_text('[ui.keys]\n"app.quit" = "f10"\n')
    assert main(["-c", str(path), "--check-config"]) == 0
    path.write_text('[ui]\nkeys = { "app.leave" = "f10" }\n')
    assert main(["-c", str(path), "--check-config"]) == 2
    assert "nothing has the id 'app.leave'" in capsys.readouterr().err
    path.write_text('[ui]\ntheme = "textual-drak"\n')
    assert main(["-c", str(path), "--check-config"]) == 2
    assert "did you mean 'textual-dark'?" in capsys.readouterr().err


@pytest.mark.parametrize(
    "line", ["send bbo secret words", "send gone the password is x", "relay x y"]
)
def test_text_for_a_peer_that_is_not_there_reaches_nobody_else(line):
    """Nobody need mistype: the peer may have left between the first key and the last."""
    with pytest.raises(UsageError, match=r"is not a peer.* \. TEXT sends to the selected one"):
        parse_command(line, ["bob", BOB])


def test_the_peer_that_was_meant_is_named():
    with pytest.raises(UsageError, match=r"'bbo' is not a peer; did you mean bob\?"):
        parse_command("send bbo secret", ["bob", BOB])


def test_a_colon_that_was_typed_by_habit_is_no_part_of_a_command():
    assert parse_command(":ping bob") == parse_command("ping bob")
    assert parse_command(": help").verb.name == "help"


def test_a_command_without_its_argument_says_what_there_is():
    with pytest.raises(UsageError, match="usage: log LEVEL; one of trace, debug"):
        parse_command("log")
    with pytest.raises(UsageError, match="usage: theme NAME; Tab offers the names"):
        parse_command("theme")
