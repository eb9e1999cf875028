"""A configuration: where it comes from, what it accepts, and what it says when it does not."""

import json
import os
import re
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2ptui.config import (
    OPTIONS,
    Config,
    ReliabilityOptions,
    ServerOptions,
    config_warnings,
    render,
)
from p2ptui.config.broker_url import reached_broker, shown_broker
from p2ptui.config.load import MAX_CONFIG_BYTES, load_config, read_file
from p2ptui.config.nat_sections import stun_address
from p2ptui.config.option import Option
from p2ptui.config.render import render_config, with_tables
from p2ptui.errors import ConfigError
from p2ptui.wire.address import parse_address

ROOT = Path(__file__).parents[1]

Write = Callable[[str, str], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write_file(name: str, text: str) -> Path:
        path = tmp_path / name
        path.write_text(text, "utf-8")
        return path

    return write_file


def from_file(path: Path) -> Config:
    return load_config(path, {}, {})


def from_environment(**environ: str) -> Config:
    return load_config(None, environ, {})


def complaint(load: Callable[[], object]) -> str:
    with pytest.raises(ConfigError) as caught:
        load()
    text = str(caught.value)
    assert "\n" not in text
    assert text.isprintable()
    return text


# --- what every option says about itself


@pytest.mark.parametrize("option", OPTIONS.options, ids=lambda option: option.path)
def test_every_option_says_what_it_means_counts_and_accepts(option: Option) -> None:
    assert option.about.meaning.endswith(".")
    assert option.bounds
    is_number = option.type in (int, float, tuple[int, int])
    assert bool(option.about.unit) == is_number
    assert (option.about.ge is not None and option.about.le is not None) == is_number
    is_free_text = option.type is str and option.about.form is None
    is_collection = option.type in (tuple[str, ...], dict[str, str])
    assert (option.about.max_length is not None) == (is_free_text or is_collection)


@pytest.mark.parametrize("option", OPTIONS.options, ids=lambda option: option.path)
def test_every_default_is_accepted_by_its_own_option(option: Option) -> None:
    assert option.accept(option.default, option.path) == option.default
    assert type(option.value_in(Config())) is type(option.default)


def test_every_option_of_a_section_is_in_the_table() -> None:
    described = {option.path for option in OPTIONS.options}
    for path, section in OPTIONS.sections.items():
        for name in section.__struct_fields__:
            assert f"{path}.{name}" in described | OPTIONS.sections.keys()


# --- both shapes of file, in both formats


FLAT = {
    "listen_address": "0.0.0.0:9000",
    "max_connections": 7,
    "heartbeat_interval": 5,
    "connection_timeout": 15,
    "discovery_port_range": [9001, 9009],
    "enable_discovery": False,
    "network_id": "office",
    "peerlist_broadcast_debounce_ms": 100,
    "allow_symmetric_nat_relay": True,
    "ice": {"max_candidates": 3, "port_prediction": {"enable": False, "port_range": [2000, 3000]}},
    "stun_server": {"enable": True, "port": 3479},
    "nat_detection": {"stun_servers": ["stun.example:3478"], "detection_timeout": 9000},
}


def test_a_flat_json_file_of_a_deployed_server_loads(write: Write) -> None:
    config = from_file(write("server.json", json.dumps(FLAT)))

    assert config.server.address == "0.0.0.0:9000"
    assert config.server.heartbeat_interval == 5.0
    assert config.server.discovery_port_range == (9001, 9009)
    assert config.server.network_id == "office"
    assert config.traffic_forwarding.allow_symmetric_nat_relay is True
    assert config.ice.max_candidates == 3
    assert config.ice.port_prediction.enable is False
    assert config.ice.port_prediction.port_range_min == 2000
    assert config.ice.port_prediction.port_range_max == 3000
    assert config.stun_server.address == ":3479"  # wherever the node listens
    assert config.nat_detection.stun_servers == ("stun.example:3478",)
    assert config.nat_detection.detection_timeout_ms == 9000


def test_the_same_options_in_sections_of_a_toml_file_mean_the_same(write: Write) -> None:
    flat = from_file(write("server.json", json.dumps(FLAT)))
    sections = from_file(
        write(
            "server.toml",
            """
            [server]
            address = "0.0.0.0:9000"
            max_connections = 7
            heartbeat_interval = 5
            connection_timeout = 15.0
            discovery_port_range = [9001, 9009]
            enable_discovery = false
            network_id = "office"
            peerlist_broadcast_debounce_ms = 100
            [traffic_forwarding]
            allow_symmetric_nat_relay = true
            [ice]
            max_candidates = 3
            [ice.port_prediction]
            enable = false
            port_range_min = 2000
            port_range_max = 3000
            [stun_server]
            enable = true
            address = ":3479"
            [nat_detection]
            stun_servers = ["stun.example:3478"]
            detection_timeout_ms = 9000
            """,
        )
    )
    assert sections == flat


def test_either_shape_is_accepted_in_either_format(write: Write) -> None:
    expected = Config().with_options(address="0.0.0.0:1", max_connections=2)
    flat_toml = 'listen_address = "0.0.0.0:1"\nmax_connections = 2\n'
    sections_json = '{"server": {"listen_address": "0.0.0.0:1", "max_connections": 2}}'
    assert from_file(write("a.toml", flat_toml)) == expected
    assert from_file(write("b.json", sections_json)) == expected


def test_a_byte_order_mark_in_front_is_no_mistake(write: Write) -> None:
    assert from_file(write("a.toml", "\ufeffmax_connections = 2\n")).server.max_connections == 2
    assert from_file(write("a.JSON", '\ufeff{"max_connections": 2}')).server.max_connections == 2


def test_an_empty_file_means_the_defaults(write: Write) -> None:
    assert from_file(write("a.toml", "")) == from_file(write("a.json", "{}")) == Config()


def test_an_option_given_under_two_names_must_have_one_value(write: Write) -> None:
    same = '{"listen_address": "a:1", "server": {"address": "a:1"}}'
    assert from_file(write("same.json", same)).server.address == "a:1"

    path = write("two.json", '{"listen_address": "a:1", "server": {"address": "a:2"}}')
    assert complaint(lambda: from_file(path)) == (
        f"{path}: listen_address and server.address mean the same option, "
        "and are given different values"
    )


def test_a_stun_port_goes_with_an_address_of_that_port_only(write: Write) -> None:
    both = write("a.toml", '[stun_server]\nport = 3479\naddress = "192.0.2.1:3479"\n')
    assert from_file(both).stun_server.address == "192.0.2.1:3479"

    differ = write("b.toml", '[stun_server]\nport = 3479\naddress = "192.0.2.1:3478"\n')
    assert "stun_server.address and stun_server.port" in complaint(lambda: from_file(differ))


@pytest.mark.parametrize(
    ("section", "listen", "expected"),
    [
        ("", "127.0.0.1:8080", ("127.0.0.1", 3478)),
        ("", "[::1]:8080", ("::1", 3478)),
        ("", "node.example:8080", ("node.example", 3478)),
        ("port = 5000", "192.0.2.1:8080", ("192.0.2.1", 5000)),
        ('address = ":0"', "192.0.2.1:8080", ("192.0.2.1", 0)),
        ('address = "0.0.0.0:3478"', "127.0.0.1:8080", ("0.0.0.0", 3478)),
        ('address = "[::]:3478"', "127.0.0.1:8080", ("::", 3478)),
        ('address = ":5000"\nport = 5000', "[::]:8080", ("::", 5000)),
    ],
)
def test_stun_is_where_the_node_listens_unless_a_host_is_named(
    write: Write, section: str, listen: str, expected: tuple[str, int]
) -> None:
    path = write("a.toml", f"[stun_server]\nenable = true\n{section}\n")
    config = load_config(path, {}, {"server.address": listen})
    host = parse_address(config.server.address)[0]
    assert stun_address(config.stun_server, host) == expected
    assert from_file(write("again.toml", render_config(config))) == config


@pytest.mark.parametrize("text", ["", ":", "3478", ":x", ":70000", "::1:3478", "::"])
def test_what_is_no_address_for_stun(write: Write, text: str) -> None:
    path = write("a.toml", f'[stun_server]\naddress = "{text}"\n')
    assert f"stun_server.address = {text!r}: must be HOST:PORT" in complaint(
        lambda: from_file(path)
    )


def test_a_second_address_is_compared_with_where_the_node_listens() -> None:
    same = {"alternate_address": "192.0.2.1"}
    assert "must differ from the host" in complaint(
        lambda: Config().with_options(address="192.0.2.1:8080", stun_server=same)
    )
    assert "must be IPv6" in complaint(
        lambda: Config().with_options(address="[::1]:8080", stun_server=same)
    )


# --- precedence


def test_command_line_beats_environment_beats_file_beats_default(write: Write) -> None:
    path = write("a.toml", "[routing]\nmax_hops = 2\nflood_fanout = 2\nflood_rate = 2\n")
    environ = {"P2PTUI_ROUTING_MAX_HOPS": "3", "P2PTUI_ROUTING_FLOOD_FANOUT": "3"}
    routing = load_config(path, environ, {"routing.max_hops": 4}).routing

    assert (routing.max_hops, routing.flood_fanout, routing.flood_rate) == (4, 3, 2)
    assert routing.max_routes == 10_000


def test_a_weaker_source_may_use_another_name_for_the_same_option(write: Write) -> None:
    path = write("a.json", '{"listen_address": "a:1"}')
    assert load_config(path, {}, {"server.address": "a:2"}).server.address == "a:2"


@pytest.mark.parametrize(
    ("p2ptui_log", "rust_log", "expected"),
    [
        (None, None, "info"),
        ("DEBUG", "error", "debug"),
        ("", "error", "error"),
        (None, "info,p2p=debug", "info"),
        (None, "p2p=debug,info", "info"),
        (None, "p2p_server=Debug", "debug"),
        (None, "tokio=off, p2p_server=trace", "trace"),
        (None, "off", "info"),
        (None, "??,=,", "info"),
    ],
)
def test_the_log_level_comes_from_p2ptui_log_or_else_rust_log(
    p2ptui_log: str | None, rust_log: str | None, expected: str
) -> None:
    given = {"P2PTUI_LOG": p2ptui_log, "RUST_LOG": rust_log}
    environ = {name: value for name, value in given.items() if value is not None}
    assert from_environment(**environ).logging.level == expected


def test_log_variables_are_stronger_than_the_option_and_weaker_than_the_flag() -> None:
    environ = {"P2PTUI_LOGGING_LEVEL": "warn", "RUST_LOG": "debug"}
    assert load_config(None, environ, {}).logging.level == "debug"
    assert load_config(None, environ, {"logging.level": "error"}).logging.level == "error"


def test_a_wrong_p2ptui_log_is_a_mistake() -> None:
    assert complaint(lambda: from_environment(P2PTUI_LOG="loud")) == (
        "environment: P2PTUI_LOG = 'loud': must be one of trace, debug, info, warn, error"
    )


def test_a_level_is_stronger_than_the_verbosity_of_a_weaker_source(write: Write) -> None:
    path = write("a.toml", "[server]\nverbose_logging = true\n[logging]\nverbose_logging = true\n")
    kept = from_file(path)
    assert (kept.server.verbose_logging, kept.logging.verbose_logging) == (True, True)
    quiet = load_config(path, {"P2PTUI_LOG": "warn"}, {})
    assert (quiet.server.verbose_logging, quiet.logging.verbose_logging) == (False, False)


# --- the environment


def test_variables_are_read_as_the_options_type() -> None:
    config = from_environment(
        P2PTUI_SERVER_LISTEN_ADDRESS="[::]:0",
        P2PTUI_SERVER_MAX_CONNECTIONS=" 5 ",
        P2PTUI_SERVER_HEARTBEAT_INTERVAL="2.5",
        P2PTUI_SERVER_DISCOVERY_PORT_RANGE="9000, 9009",
        P2PTUI_SERVER_JOIN="192.0.2.7:8080, seed.example:8080",
        P2PTUI_LOGGING_FORMAT="JSON",
        P2PTUI_STUN_SERVER_PORT="3479",
        P2PTUI_ICE_PORT_PREDICTION_PORT_RANGE="1,2",
    )
    assert config.server.address == "[::]:0"
    assert config.server.max_connections == 5
    assert config.server.heartbeat_interval == 2.5
    assert config.server.discovery_port_range == (9000, 9009)
    assert config.server.join == ("192.0.2.7:8080", "seed.example:8080")
    assert config.logging.format == "json"
    assert config.stun_server.address == ":3479"
    assert config.ice.port_prediction.port_range_max == 2
    assert from_environment(P2PTUI_SERVER_JOIN="").server.join == ()


@pytest.mark.parametrize("text", ["true", "1", "Yes", "on", "false", "0", "NO", "off"])
def test_switches_are_read_from_the_usual_words(text: str) -> None:
    config = from_environment(P2PTUI_SERVER_ENABLE_DISCOVERY=text)
    assert config.server.enable_discovery is (text.lower() in ("true", "1", "yes", "on"))


@pytest.mark.parametrize(
    ("name", "text", "must_be"),
    [
        ("P2PTUI_SERVER_ENABLE_DISCOVERY", "maybe", "true or false"),
        ("P2PTUI_SERVER_MAX_CONNECTIONS", "many", "a whole number from 1 to 1_000_000 (peers)"),
        ("P2PTUI_SERVER_MAX_CONNECTIONS", "1.5", "a whole number from 1 to 1_000_000 (peers)"),
        ("P2PTUI_SERVER_HEARTBEAT_INTERVAL", "nan", "a number from 0.01 to 86_400 (s)"),
        ("P2PTUI_SERVER_HEARTBEAT_INTERVAL", "", "a number from 0.01 to 86_400 (s)"),
        (
            "P2PTUI_SERVER_DISCOVERY_PORT_RANGE",
            "9000",
            "two whole numbers from 1 to 65_535 (ports)",
        ),
        ("P2PTUI_SERVER_NAME", "\udcff", "text of at most 64 characters"),
    ],
)
def test_a_variable_of_the_wrong_type_is_named_with_its_value(
    name: str, text: str, must_be: str
) -> None:
    assert complaint(lambda: from_environment(**{name: text})).startswith(f"environment: {name} = ")
    assert complaint(lambda: from_environment(**{name: text})).endswith(f"must be {must_be}")


@pytest.mark.parametrize("name", ["P2PTUI_SERVER_MAX_CONNECTION", "P2PTUI_SEVER_MAX_CONNECTIONS"])
def test_a_mistyped_variable_is_named_with_the_nearest(name: str) -> None:
    assert complaint(lambda: from_environment(**{name: "5"})) == (
        f"environment: unknown variable '{name}'; did you mean 'P2PTUI_SERVER_MAX_CONNECTIONS'?"
    )


def test_other_variables_are_left_alone() -> None:
    environ = {
        "PATH": "/bin",
        "P2PTUI_SCREENSHOTS": "1",
        # What Kubernetes and Docker tell a neighbour about a service "p2ptui-server".
        "P2PTUI_SERVER_SERVICE_HOST": "10.0.0.1",
        "P2PTUI_SERVER_SERVICE_PORT": "8080",
        "P2PTUI_SERVER_PORT": "udp://10.0.0.1:8080",
        "P2PTUI_SERVER_PORT_8080_UDP_PROTO": "udp",
    }
    assert load_config(None, environ, {}) == Config()


# --- mistakes in files


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "[server]\nmax_connection = 5\n",
            "unknown key 'max_connection' in [server]; did you mean 'max_connections'?",
        ),
        ("listen_adress = 'a:1'\n", "unknown key 'listen_adress'; did you mean 'listen_address'?"),
        ("[sever]\n", "unknown key 'sever'; did you mean 'server'?"),
        (
            "[server]\nmax_hops = 3\n",
            "unknown key 'max_hops' in [server]; did you mean 'max_hops' in [routing]?",
        ),
        ("max_hop = 3\n", "unknown key 'max_hop'; did you mean 'max_hops' in [routing]?"),
        (
            "[routing]\nzzz = 3\n",
            "unknown key 'zzz' in [routing]; the nearest known key is '",
        ),
        (
            "[ice.port_prediction]\nenabled = true\n",
            "unknown key 'enabled' in [ice.port_prediction]; did you mean 'enable'?",
        ),
        ("routing = 3\n", "routing = 3: must be a section of options"),
        (
            "max_connections = 0\n",
            "max_connections = 0: must be a whole number from 1 to 1_000_000 (peers)",
        ),
        (
            "[server]\nmax_connections = '5'\n",
            "server.max_connections = '5': must be a whole number from 1 to 1_000_000 (peers)",
        ),
        (
            "max_connections = true\n",
            "max_connections = True: must be a whole number from 1 to 1_000_000 (peers)",
        ),
        (
            "max_connections = 1.0\n",
            "max_connections = 1.0: must be a whole number from 1 to 1_000_000 (peers)",
        ),
        (
            f"max_connections = 0x{'f' * 9999}\n",
            "max_connections = a huge number: must be a whole number from 1 to 1_000_000 (peers)",
        ),
        (
            "heartbeat_interval = nan\n",
            "heartbeat_interval = nan: must be a number from 0.01 to 86_400 (s)",
        ),
        (
            "heartbeat_interval = inf\n",
            "heartbeat_interval = inf: must be a number from 0.01 to 86_400 (s)",
        ),
        ("enable_discovery = 1\n", "enable_discovery = 1: must be true or false"),
        (
            "discovery_port_range = [8081, 8090, 8100]\n",
            "discovery_port_range = [8081, 8090, 8100]: "
            "must be two whole numbers from 1 to 65_535 (ports)",
        ),
        (
            "discovery_port_range = [8081, true]\n",
            "discovery_port_range = [8081, True]: "
            "must be two whole numbers from 1 to 65_535 (ports)",
        ),
        (
            "listen_address = '8080'\n",
            "listen_address = '8080': must be HOST:PORT or [IPV6]:PORT; port 0 takes any free one",
        ),
        (
            "join = ['192.0.2.1:0']\n",
            "join = ['192.0.2.1:0']: must be a list of at most 64 texts, "
            "each HOST:PORT or [IPV6]:PORT",
        ),
        (
            "join = '192.0.2.1:8080'\n",
            "join = '192.0.2.1:8080': must be a list of at most 64 texts, "
            "each HOST:PORT or [IPV6]:PORT",
        ),
        ("node_id = 'me'\n", "node_id = 'me': must be a UUID, or empty"),
        ("network_id = ''\n", "network_id = '': must be text of 1 to 255 characters"),
        (
            "[logging]\nlevel = 'loud'\n",
            "logging.level = 'loud': must be one of trace, debug, info, warn, error",
        ),
        (
            "[port_prediction]\nport_range = [1, 70000]\n",
            "port_prediction.port_range = [1, 70000]: "
            "must be two whole numbers from 0 to 65_535 (ports)",
        ),
        ("\n[server\n", "line 2: not valid TOML: Expected ']' at the end of a table declaration"),
        ("\n\na", "line 3: not valid TOML: Expected '=' after a key in a key/value pair"),
        ("max_connections = 1\nmax_connections = 2\n", "line 2: not valid TOML: "),
    ],
)
def test_a_mistake_in_toml_is_one_line_with_file_key_value_and_bounds(
    write: Write, text: str, said: str
) -> None:
    path = write("config.toml", text)
    assert complaint(lambda: from_file(path)).startswith(f"{path}: {said}")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"max_connections": 5\n"name": "x"}', "line 2: not valid JSON: "),
        ('{"max_connections": 5,\n}', "line "),  # of the comma or of the brace, as Python has it
        ('{"max_connections": 5, "max_connections": 6}', "key 'max_connections' is given twice"),
        ('{"heartbeat_interval": NaN}', "NaN is not a number in JSON"),
        ('{"heartbeat_interval": 1e999}', "heartbeat_interval = inf: must be a number"),
        ('{"max_connections": null}', "max_connections = None: must be a whole number"),
        ('{"name": "\\ud800"}', "name = '\\ud800': must be text of at most 64 characters"),
        ('{"name": "' + "x" * 65 + '"}', f"name = '{'x' * 65}': must be text of at most 64"),
        ('{"name": "' + "x" * 9999 + '"}', "name = 'xxx"),
        ("[]", "must be a JSON object of options"),
        ('{"max_connections": ' + "9" * 5000 + "}", "cannot be read: "),
        ("[" * 100_000, "cannot be read: "),
    ],
)
def test_a_mistake_in_json_is_one_line_too(write: Write, text: str, said: str) -> None:
    path = write("config.json", text)
    assert complaint(lambda: from_file(path)).startswith(f"{path}: {said}")


def test_a_file_that_cannot_be_used_is_named(tmp_path: Path, write: Write) -> None:
    missing = tmp_path / "missing.toml"
    assert complaint(lambda: from_file(missing)) == (
        f"{missing}: cannot be read: No such file or directory"
    )
    folder = tmp_path / "folder.toml"
    folder.mkdir()
    assert complaint(lambda: from_file(folder)).startswith(f"{folder}: cannot be read: ")
    yaml = write("config.yaml", "")
    assert complaint(lambda: from_file(yaml)) == (
        f"{yaml}: unknown kind of file; its name must end in .toml or .json"
    )
    latin = tmp_path / "latin.toml"
    latin.write_bytes(b"\nname = '\xe9'\n")
    assert complaint(lambda: from_file(latin)) == f"{latin}: line 2: not UTF-8 text"


def test_a_folder_that_this_user_may_not_enter(tmp_path, monkeypatch):
    """Not even what kind of file it is can be asked there."""

    def refuse(path):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "is_fifo", refuse)
    with pytest.raises(ConfigError, match=r"node\.toml: cannot be read: Permission denied"):
        read_file(tmp_path / "node.toml")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="named pipes are of POSIX systems")
def test_a_pipe_that_nobody_writes_to_stops_nobody(tmp_path):
    pipe = tmp_path / "node.toml"
    os.mkfifo(pipe)
    with pytest.raises(ConfigError, match="it is a pipe"):
        read_file(pipe)


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="there are no such devices")
def test_a_device_that_never_ends_is_not_read(tmp_path):
    (tmp_path / "node.toml").symlink_to("/dev/zero")
    with pytest.raises(ConfigError, match=r"node\.toml: cannot be read: it is a pipe or a device"):
        read_file(tmp_path / "node.toml")


def test_a_file_that_is_too_large_is_no_configuration(tmp_path):
    path = tmp_path / "node.toml"
    path.write_bytes(b"#" * MAX_CONFIG_BYTES)
    assert read_file(path) == {}
    path.write_bytes(b"#" * (MAX_CONFIG_BYTES + 1))
    with pytest.raises(ConfigError, match=r"node\.toml: cannot be read: it is larger than 1048576"):
        read_file(path)


def test_a_mistake_on_the_command_line_says_so() -> None:
    assert complaint(lambda: load_config(None, {}, {"server.max_connections": 0})) == (
        "command line: server.max_connections = 0: "
        "must be a whole number from 1 to 1_000_000 (peers)"
    )


# --- options in Python


def test_options_are_set_by_name_in_python() -> None:
    config = Config().with_options(
        address="127.0.0.1:0", name="a", initial_rto_ms=100, join=["192.0.2.1:8080"]
    )
    assert config.server.address == "127.0.0.1:0"
    assert config.server.name == "a"
    assert config.server.join == ("192.0.2.1:8080",)
    assert config.reliability.initial_rto_ms == 100
    assert config.routing == Config().routing
    assert Config().server.name == ""


def test_whole_sections_are_set_too() -> None:
    config = Config().with_options(ice={"port_prediction": {"enable": False}}, routing={})
    assert config.ice.port_prediction.enable is False
    assert config.ice.enable is True


def test_an_unknown_or_ambiguous_name_is_refused() -> None:
    assert complaint(lambda: Config().with_options(max_hop=3)) == (
        "unknown option 'max_hop'; did you mean 'max_hops' in [routing]?"
    )
    assert complaint(lambda: Config().with_options(stun_servers=())) == (
        "'stun_servers' could be any of nat_detection.stun_servers, ice.stun_servers: "
        "give the section"
    )


def test_no_invalid_configuration_can_be_built() -> None:
    complaint(lambda: Config(server=ServerOptions(max_connections=0)))
    complaint(lambda: Config(reliability=ReliabilityOptions(min_rto_ms=1000)))
    with pytest.raises(AttributeError):
        Config().server.name = "b"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (
            {"min_rto_ms": 501},
            "reliability.min_rto_ms = 501 must not exceed reliability.initial_rto_ms = 500",
        ),
        ({"initial_rto_ms": 8001}, "must not exceed reliability.max_rto_ms = 8000"),
        ({"initial_window": 513}, "must not exceed reliability.max_window = 512"),
        ({"max_message_size": 3 << 20}, "must not exceed reliability.reassembly_bytes_per_peer"),
        ({"max_queued_bytes": 1024}, "must not exceed reliability.max_queued_bytes = 1024"),
        ({"reassembly_bytes_total": 1024}, "must not exceed reliability.reassembly_bytes_total"),
        ({"discovery_port_range": (9, 8)}, "server.discovery_port_range: 9 must not exceed 8"),
        (
            {"ice": {"port_prediction": {"port_range": (9, 8)}}},
            "must not exceed ice.port_prediction.port_range_max = 8",
        ),
    ],
)
def test_values_that_do_not_go_together_are_refused(options: dict[str, Any], said: str) -> None:
    assert said in complaint(lambda: Config().with_options(**options))


# --- what is allowed, but worth a word


def test_defaults_need_no_warning() -> None:
    assert config_warnings(Config()) == []


def test_what_will_surprise_of_a_cluster_is_said_in_a_line() -> None:
    here = {"servers": ["nats://user:secret@localhost:4222"], "address": "192.0.2.1:8080"}
    assert config_warnings(Config().with_options(cluster=here)) == []
    there = {"servers": ["nats://user:secret@192.0.2.9"]}
    nowhere, clear = config_warnings(Config().with_options(address="0.0.0.0:8080", cluster=there))
    assert "set cluster.address" in nowhere
    assert "write tls://" in clear
    assert "secret" not in nowhere + clear


@pytest.mark.parametrize(
    "address",
    ["eu1.example.net:9000", "0.0.0.0:9000", "[::]:9000", "192.0.2.1:0", "192.0.2.1", "a" * 80],
)
def test_clients_are_told_an_address_that_they_can_use(address: str) -> None:
    with pytest.raises(ConfigError, match=r"must be IP:PORT or \[IPV6\]:PORT, no host name"):
        Config().with_options(cluster={"address": address})


@pytest.mark.parametrize(
    "url",
    ["127.0.0.1:4222", "http://127.0.0.1", "nats://", "nats://h:0", "nats://h:x", "nats://h/x"],
)
def test_what_is_no_broker_is_refused(url: str) -> None:
    with pytest.raises(ConfigError, match=r"must be .* each nats://HOST:PORT or tls://HOST:PORT"):
        Config().with_options(cluster={"servers": [url]})


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("banana", "it must begin with nats:// or tls://"),
        ("h:4222", "it must begin with nats:// or tls://"),
        ("http://h:4222", "it must begin with nats:// or tls://"),
        ("nats:h:4222", "it must begin with nats:// or tls://"),
        ("nats://", "the host is missing"),
        ("tls://:4222", "the host is missing"),
        ("nats://user:pass@", "the host is missing"),
        ("nats://h:0", "the port must be 1 to 65535"),
        ("nats://h:70000", "the port must be 1 to 65535"),
        ("nats://h:", "the port must be 1 to 65535"),
        ("nats://h:٤٢", "the port must be 1 to 65535"),
        ("nats://[::1]:0", "the port must be 1 to 65535"),
        ("nats://::1:4222", "an IPv6 address needs brackets, as in nats://[::1]:4222"),
        ("nats://[::1", "the host is neither a name nor an IP address"),
        ("nats://[::1]4222", "the host is neither a name nor an IP address"),
        ("nats://[h]:4222", "the host is neither a name nor an IP address"),
        ("nats://192.0.2.256", "the host is neither a name nor an IP address"),
        ("nats://192.0.2", "the host is neither a name nor an IP address"),
        ("nats://a..b", "the host is neither a name nor an IP address"),
        ("nats://" + 64 * "a", "the host is neither a name nor an IP address"),
        ("nats://%68:4222", "the host is neither a name nor an IP address"),
        ("nats://@h", "there is no user or token before the @"),
        ("nats://:pass@h", "there is no user or token before the @"),
        ("nats://a:100%@h", "write a % in a user or password as %25"),
        ("nats://a:%zz@h", "write a % in a user or password as %25"),
        ("nats://a:%ff@h", "the %-escapes in the user or password are not UTF-8"),
        ("nats://a:b/c@h", "write /, ? and # in a user or password as %2F, %3F and %23"),
        ("nats://h:4222/x", "nothing may follow the host and port"),
        ("nats://h?x=1", "nothing may follow the host and port"),
        ("nats://h,nats://g", "it holds a comma; write each URL as a separate entry"),
        ("nats://h h", "it holds a space or a control character"),
        ("nats://h\n", "it holds a space or a control character"),
    ],
)
def test_what_is_wrong_with_the_url_of_a_broker_is_said(url: str, why: str) -> None:
    with pytest.raises(ConfigError, match=rf"; {re.escape(why)}$") as refused:
        Config().with_options(cluster={"servers": [url]})
    assert "pass" not in str(refused.value).rpartition(";")[0]
    with pytest.raises(ConfigError, match=re.escape(f": {why}")):
        Config().with_options(cluster={"servers": ["nats://h", url]})


@pytest.mark.parametrize(
    ("url", "reached"),
    [
        ("nats://h", "nats://h:4222"),
        ("tls://[2001:db8::1]", "tls://[2001:db8::1]:4222"),
        ("nats://[fe80::1%eth0]:1/", "nats://[fe80::1%eth0]:1"),
        ("nats://name_of.a-host.:65535", "nats://name_of.a-host.:65535"),
        ("nats://a:%20@b@192.0.2.1/", "nats://***@192.0.2.1:4222"),
        ("nats://token@bücher.example", "nats://***@bücher.example:4222"),
    ],
)
def test_the_url_of_a_broker_may_leave_the_port_out(url: str, reached: str) -> None:
    assert Config().with_options(cluster={"servers": [url]}).cluster.servers == (url,)
    assert reached_broker(url) == reached


@given(
    st.text(max_size=40),
    st.sampled_from(["", "nats://", "tls://", "nats://u:s3cret@", "http://s3cret@"]),
    st.sampled_from(["", "@", ":1", "\n@h", "/@h", "@h:0"]),
)
def test_any_url_of_a_broker_is_taken_or_refused_in_one_line(
    text: str, head: str, tail: str
) -> None:
    url, said = head + text + tail, ""
    try:
        Config().with_options(cluster={"servers": [url]})
    except ConfigError as error:
        said = str(error)
    assert "\n" not in said
    assert said or reached_broker(url).rpartition(":")[2].isdecimal()
    if "@" in head + tail:
        assert "s3cret" not in said + shown_broker(url)


def test_a_variable_that_lacks_its_section_is_completed() -> None:
    """Rather than with the name of a secret that happens to look alike."""
    with pytest.raises(ConfigError, match="did you mean 'P2PTUI_SERVER_NETWORK_ID'"):
        load_config(None, {"P2PTUI_NETWORK_ID": "blue"}, {})


def test_the_password_of_a_broker_is_never_shown() -> None:
    for url in (
        "nats://user:s3cret@host:x",
        "user:s3cret@host",
        "nats://a:s3cret/@@host",
        "http://s3cret@host",
    ):
        with pytest.raises(ConfigError, match=r"\*\*\*@host") as refused:
            Config().with_options(cluster={"servers": [url]})
        assert "s3cret" not in str(refused.value)
    config = Config().with_options(cluster={"servers": ["nats://user:s3cret@host:4222"]})
    assert "s3cret" not in render_config(config)
    assert 'servers = ["nats://***@host:4222"]' in render_config(config)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"servers": ["nats://***@host:1"]}, "write them in again"),
        ({"tls_cert": "x"}, "set cluster.tls_key too"),
        ({"tls_key": "x"}, "set cluster.tls_cert too"),
        ({"servers": ["nats://u:p@host"], "credentials": "x"}, "leave one out"),
        ({"servers": ["tls://host", "nats://host"], "tls_ca": "x"}, "write tls://"),
    ],
)
def test_options_of_a_cluster_that_do_not_go_together(options: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(says)):
        Config().with_options(cluster=options)


def test_what_will_surprise_is_said_in_a_line() -> None:
    config = Config().with_options(
        enable_authentication=False, heartbeat_interval=60, peerlist_broadcast_debounce_ms=2000
    )
    authentication, heartbeat, debounce = config_warnings(config)
    assert "nothing is served without a handshake" in authentication
    assert "quiet peers will be lost" in heartbeat
    assert "peerlist_broadcast_max_wait_ms = 1500" in debounce


# --- written out


def values_of(option: Option) -> st.SearchStrategy[Any]:
    about = option.about
    if option.choices:
        return st.sampled_from(option.choices)
    if option.type is bool:
        return st.booleans()
    if option.type is float:
        return st.floats(about.ge, about.le)
    if option.type is int:
        return st.integers(int(about.ge or 0), int(about.le or 0))
    if option.type == tuple[int, int]:
        return st.tuples(st.integers(1, 65_535), st.integers(1, 65_535)).map(sorted)
    address = st.integers(1, 65_535).map(lambda port: f"[2001:db8::1]:{port}")
    if option.path == "cluster.servers":
        return st.lists(address.map(lambda host: f"nats://{host}"), max_size=3)
    if option.type == tuple[str, ...]:
        is_node = option.name in ("allow", "deny", "allowed_ids")
        return st.lists(st.uuids().map(str) if is_node else address, max_size=3)
    if option.type == dict[str, str]:
        text = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
        return st.dictionaries(text, text, max_size=3)
    formed = {
        "address": address,
        "partner": address,
        "alternate_address": st.ip_addresses().map(str),
        "node_id": st.uuids().map(str),
    }
    if option.name in formed:
        return formed[option.name]
    return st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=64)


@st.composite
def configs(draw: st.DrawFn) -> Config:
    chosen = draw(st.lists(st.sampled_from(OPTIONS.options), max_size=12, unique_by=id))
    config = Config()
    for option in chosen:
        value = draw(values_of(option))
        try:
            config = config.with_options(**{option.path: value})
        except ConfigError as error:
            said = str(error)
            # It does not go with the others.
            apart = (
                "must not exceed",
                "leave one out",
                "leave out server.node_id",
                "go together",
                "write tls://",
            )
            if not any(part in said for part in apart) and not said.startswith("stun_server."):
                raise
    return config


@given(configs())
def test_what_is_printed_loads_again_and_means_the_same(
    tmp_path_factory: pytest.TempPathFactory, config: Config
) -> None:
    path = tmp_path_factory.getbasetemp() / "printed.toml"
    path.write_text(render_config(config), "utf-8", newline="\n")
    assert from_file(path) == config


@given(configs())
def test_printing_a_configuration_is_harmless(config: Config) -> None:
    text = render_config(config)
    assert text.replace("\n", "").isprintable()


def test_what_is_printed_names_every_option_with_meaning_unit_and_bounds() -> None:
    text = render_config(Config())
    assert "# Connected peers, at most; newcomers beyond are refused.\n" in text
    assert "max_connections = 100  # a whole number from 1 to 1_000_000 (peers)\n" in text
    for option in OPTIONS.options:
        assert f"\n{option.name} = " in text
        assert option.bounds in text


def test_the_example_file_is_fresh_and_loads() -> None:
    path = ROOT / "config_example.toml"
    assert path.read_text("utf-8") == render_config(Config()), render.__doc__
    assert from_file(path) == Config()


def test_the_documentation_is_fresh() -> None:
    page = (ROOT / "docs" / "configuration.md").read_text("utf-8")
    assert page == with_tables(page), render.__doc__
    for path in OPTIONS.by_path:
        assert f"`{path.rpartition('.')[2]}`" in page


def test_one_command_brings_example_and_documentation_up_to_date(tmp_path: Path) -> None:
    example, page = tmp_path / "example.toml", tmp_path / "page.md"
    page.write_text(f"before {render.BEGIN_TABLES} stale {render.END_TABLES} after", "utf-8")
    render.main([str(example), str(page)])
    assert from_file(example) == Config()
    assert "stale" not in page.read_text("utf-8")
    assert page.read_text("utf-8").endswith(" after")
    with pytest.raises(ValueError, match="must hold"):
        with_tables("no marks")


def test_a_node_id_is_any_uuid() -> None:
    node_id = str(uuid.uuid4())
    assert Config().with_options(node_id=node_id).server.node_id == node_id
    assert Config().with_options(node_id=node_id.upper()).server.node_id == node_id.upper()


# --- where a node listens that joins a server


@pytest.mark.parametrize(
    ("servers", "address"),
    [
        ((), "127.0.0.1:8080"),
        (("127.0.0.1:9000",), "127.0.0.1:8080"),
        (("localhost:9000", "LOCALHOST.:9", "127.9.9.9:1"), "127.0.0.1:8080"),
        (("[::1]:9000",), "[::1]:8080"),
        (("[::1]:9000", "localhost:9000"), "127.0.0.1:8080"),
        (("[::ffff:127.0.0.1]:9000",), "127.0.0.1:8080"),
        (("192.0.2.1:9000",), "0.0.0.0:0"),
        (("127.0.0.1:9000", "192.0.2.1:9000"), "0.0.0.0:0"),
        (("[::ffff:192.0.2.1]:9000",), "0.0.0.0:0"),
        (("[2001:db8::1]:9000",), "[::]:0"),
        (("[2001:db8::1]:9000", "192.0.2.1:9000"), "[::]:0"),
        (("server.example:9000",), "[::]:0"),
    ],
)
def test_joining_outward_listens_where_it_can_reach_out(servers, address):
    config = load_config(None, {}, {"server.join": list(servers)})
    assert config.server.address == address
    assert config.server.join == servers
    assert Config().with_options(join=servers) == config


def test_an_address_that_somebody_gave_is_kept(tmp_path):
    join = {"server.join": ["192.0.2.1:9000"]}
    given = "127.0.0.1:8080"
    assert load_config(None, {}, join | {"server.address": given}).server.address == given
    environ = {"P2PTUI_SERVER_ADDRESS": given}
    assert load_config(None, environ, join).server.address == given
    path = tmp_path / "node.toml"
    path.write_text(f'[server]\nlisten_address = "{given}"\njoin = ["192.0.2.1:9000"]\n')
    assert load_config(path, {}, {}).server.address == given
    options = {"address": given, "join": ("192.0.2.1:9000",)}
    assert Config().with_options(**options).server.address == given


def test_a_join_in_a_file_or_in_the_environment_counts_as_well(tmp_path):
    path = tmp_path / "node.toml"
    path.write_text('[server]\njoin = ["192.0.2.1:9000"]\n')
    assert load_config(path, {}, {}).server.address == "0.0.0.0:0"
    environ = {"P2PTUI_SERVER_JOIN": "server.example:9000"}
    assert load_config(None, environ, {}).server.address == "[::]:0"
    # Whoever joins nobody after all listens as ever.
    assert load_config(path, {}, {"server.join": []}).server.address == "127.0.0.1:8080"
