"""The report: the keys and values of its JSON, and the lines that people see."""

import dataclasses
import json
from dataclasses import replace

import pytest

from p2ptui.nat.allocation import AllocationKind, PortAllocation
from p2ptui.nat.behavior import (
    Change,
    Dependence,
    FilterTest,
    NatType,
    Reply,
    classify_filtering,
)
from p2ptui.nat.findings import Finding, advice_with, meaning_with
from p2ptui.nat.report import NatReport, ServerReport
from p2ptui.nat.report_text import (
    COMMAND_CHARACTERS,
    allocation_words,
    confidence_words,
    nat_command,
    probing_server,
    report_markdown,
    report_rows,
    server_rows,
    type_words,
    verdict_words,
)
from p2ptui.tui.nat_pane import report_text

REPORT = NatReport(
    udp=True,
    local=("192.168.1.2", 5000),
    mapped=("198.51.100.1", 6000),
    mapped_v6=("2001:db8::7", 6000),
    mapping=Dependence.ADDRESS_AND_PORT,
    filtering=Dependence.ADDRESS_AND_PORT,
    nat_type=NatType.SYMMETRIC,
    port_allocation=PortAllocation(AllocationKind.SEQUENTIAL, 2, True, 0.99, ("ports: some",)),
    hairpin=False,
    lifetime_s=30.1234,
    mtu=1500,
    alg=False,
    firewall=False,
    servers=(
        ServerReport("stun.example.org:3478", 20.12345, ok=True),
        ServerReport("dead.example.org:3478", error="no answer"),
    ),
    confidence=0.98765,
    evidence=("mapping: this and that", "filtering: nothing came"),
    meaning="The NAT does this.",
    advice="Do that.",
    duration_s=0.87654,
)


def test_the_json():
    assert json.loads(json.dumps(REPORT.as_json())) == {
        "udp": True,
        "local": "192.168.1.2:5000",
        "mapped": "198.51.100.1:6000",
        "mapped_v6": "[2001:db8::7]:6000",
        "mapping": "address-and-port-dependent",
        "filtering": "address-and-port-dependent",
        "nat_type": "symmetric",
        "port_allocation": {"kind": "sequential", "step": 2, "parity_preserved": True},
        "hairpin": False,
        "lifetime_s": 30.1234,
        "mtu": 1500,
        "alg": False,
        "firewall": False,
        "servers": [
            {"address": "stun.example.org:3478", "rtt_ms": 20.123, "ok": True, "error": None},
            {"address": "dead.example.org:3478", "rtt_ms": None, "ok": False, "error": "no answer"},
        ],
        "confidence": 0.9877,
        "evidence": ["mapping: this and that", "filtering: nothing came"],
        "meaning": "The NAT does this.",
        "advice": "Do that.",
        "duration_s": 0.877,
    }


def test_the_json_has_all_keys_also_where_nothing_is_known():
    empty = NatReport(udp=None).as_json()
    assert list(empty) == list(REPORT.as_json())
    assert empty["mapping"] == empty["filtering"] == empty["nat_type"] == "unknown"
    assert empty["port_allocation"] == {"kind": "unknown", "step": None, "parity_preserved": None}
    assert empty["mapped"] is empty["hairpin"] is empty["lifetime_s"] is empty["udp"] is None


def test_the_words_of_the_json_are_those_that_were_promised():
    assert {d.value for d in Dependence} == {
        "none",
        "endpoint-independent",
        "address-dependent",
        "address-and-port-dependent",
        "unknown",
    }
    assert {kind.value for kind in AllocationKind} == {
        "preserved",
        "sequential",
        "block",
        "hashed",
        "random",
        "unknown",
    }
    assert {kind.value for kind in NatType} == {
        "open",
        "firewall",
        "full-cone",
        "restricted-cone",
        "port-restricted-cone",
        "symmetric",
        "blocked",
        "unknown",
    }


def test_the_lines_for_people():
    assert dict(report_rows(REPORT)) == {
        "NAT type": "symmetric (sure)",
        "UDP": "passes",
        "local address": "192.168.1.2:5000",
        "public address": "198.51.100.1:6000",
        "public over IPv6": "[2001:db8::7]:6000",
        "mapping": "address-and-port-dependent",
        "filtering": "address-and-port-dependent",
        "port allocation": "sequential, step 2, parity kept",
        "hairpin": "no",
        "firewall": "no",
        "addresses rewritten": "no",
        "largest packet": "1500 bytes",
        "mapping lifetime": "30 s",
    }


def test_findings_are_told_where_there_are_any():
    found = replace(REPORT, findings=tuple(Finding))
    assert [value for label, value in report_rows(found) if label == "also"] == [
        "limits new flows",
        "bans unasked senders",
    ]
    assert found.as_json()["findings"] == ["limits new flows", "bans unasked senders"]
    assert "| also | limits new flows |" in report_markdown(found, "p2ptui nat")
    assert "findings" not in REPORT.as_json()


def test_the_words_of_findings_go_with_those_of_the_type():
    assert meaning_with((), "It is so.") == "It is so."
    for finding in Finding:
        assert meaning_with((finding,), "It is so.").startswith("It is so. The NAT ")
        assert finding.value in meaning_with((finding,), "It is so.")
        assert advice_with((finding,), "Do that.").endswith(" Do that.")


def test_what_was_not_tested_for_the_sake_of_a_server_is_no_unknown():
    rows = dict(report_rows(replace(REPORT, spared=("s.example:1", "t.example:2"))))
    assert rows["filtering"] == "not tested: it could have s.example:1 and t.example:2 banned"


@pytest.mark.parametrize(
    ("mapping", "spared", "evidence", "words"),
    [
        (Dependence.NONE, ("s.example:1",), (), "no NAT; filtering not tested"),
        (Dependence.NONE, (), (), "no NAT; filtering not tested"),
        (
            Dependence.NONE,
            (),
            ("filtering: a reply from another port could not be tested (s.example:1)",),
            "no NAT; filtering not tested",
        ),
        (
            Dependence.NONE,
            (),
            ("filtering: a reply from another host did not come in, asked 3 times (s.example:1)",),
            "no NAT; filtering unclear",
        ),
        (
            Dependence.NONE,
            (),
            (f"filtering: a reply from {Change.PORT.value} came in (s.example:1)",),
            "no NAT; filtering not tested",
        ),
        (
            Dependence.ENDPOINT_INDEPENDENT,
            ("s.example:1",),
            (),
            "one address for all; filtering not tested",
        ),
        (Dependence.UNKNOWN, (), (), "unknown (inconclusive)"),
    ],
)
def test_of_a_type_without_a_name_the_headline_says_what_is_known(mapping, spared, evidence, words):
    report = NatReport(udp=True, mapping=mapping, spared=spared, evidence=evidence)
    assert dict(report_rows(report))["NAT type"] == verdict_words(report) == words
    assert f"| NAT type | {words} |" in report_markdown(report, "p2ptui nat")
    assert type_words(report) == words.removesuffix(" (inconclusive)")
    assert report_text(report, "p2ptui nat", 60).plain.startswith(words.partition(" (")[0])
    assert report.as_json()["nat_type"] == "unknown"


def test_where_udp_does_not_pass_the_rest_is_left_out():
    blocked = NatReport(udp=False, nat_type=NatType.BLOCKED, confidence=0.9)
    assert report_rows(blocked) == [("NAT type", "blocked (likely)"), ("UDP", "blocked")]
    assert report_rows(NatReport(udp=None)) == [
        ("NAT type", "unknown (inconclusive)"),
        ("UDP", "not tested"),
    ]


def test_what_was_not_found_out_is_called_so():
    rows = dict(report_rows(NatReport(udp=True)))
    assert rows["hairpin"] == rows["firewall"] == rows["largest packet"] == "unknown"
    assert rows["mapping lifetime"] == "not measured"


def test_servers():
    assert server_rows(REPORT) == [
        ("stun.example.org:3478", "20.1 ms"),
        ("dead.example.org:3478", "no answer"),
    ]


def test_what_a_stranger_wrote_cannot_act_on_a_terminal():
    hostile = NatReport(
        udp=True,
        servers=(ServerReport("a\x1b[31m:1", error="\x1b]0;title\x07\n| x"),),
        evidence=("mapping: \x1b[2J\u202e",),
    )
    text = report_markdown(hostile, "p2ptui nat")
    assert not {"\x1b", "\x07", "\u202e"} & set(text + "".join(map("".join, server_rows(hostile))))
    assert all("\n" not in said for row in server_rows(hostile) for said in row)


def test_markdown():
    lines = report_markdown(REPORT, "p2ptui nat --server stun.example.org:3478").splitlines()
    assert lines[:5] == [
        "## NAT report",
        "",
        "The NAT does this.",
        "",
        "**What to do:** Do that.",
    ]
    assert "| NAT type | symmetric (sure) |" in lines
    assert "| `stun.example.org:3478` | 20.1 ms |" in lines
    assert "| `dead.example.org:3478` | no answer |" in lines
    assert "- mapping: this and that" in lines
    assert lines[-1] == "Made by `p2ptui nat --server stun.example.org:3478` in 0.9 s."


def test_a_cell_of_the_markdown_cannot_end_early():
    servers = (ServerReport("[::1]:1", error="refused | <b>so</b>"),)
    text = report_markdown(NatReport(udp=True, servers=servers), "p2ptui nat")
    (row,) = [line for line in text.splitlines() if "refused" in line]
    assert row.replace("\\|", "").count("|") == 3


@pytest.mark.parametrize(
    ("confidence", "words"),
    [(0.99, "sure"), (0.9, "likely"), (0.6, "weak"), (0.0, "inconclusive")],
)
def test_how_sure(confidence, words):
    assert confidence_words(confidence) == words


@pytest.mark.parametrize(
    ("allocation", "words"),
    [
        (PortAllocation(), "unknown"),
        (PortAllocation(AllocationKind.PRESERVED, parity_preserved=True), "preserved"),
        (PortAllocation(AllocationKind.RANDOM, parity_preserved=False), "random"),
        (PortAllocation(AllocationKind.BLOCK, parity_preserved=True), "block, parity kept"),
        (PortAllocation(AllocationKind.SEQUENTIAL, -1), "sequential, step -1"),
    ],
)
def test_how_ports_are_chosen(allocation, words):
    assert allocation_words(allocation) == words


# The same from a shell


def test_the_shell_command_is_quoted_and_harmless():
    assert nat_command(()) == "p2ptui nat"
    assert nat_command(["a:1", "[::1]:2", "a:1"]) == "p2ptui nat --server a:1 --server '[::1]:2'"
    assert (
        nat_command(["a:1"], join="b:2", lifetime=True, network_id="my net", config="/a b/c.toml")
        == "p2ptui nat --server a:1 --join b:2 --network-id 'my net' --config '/a b/c.toml'"
        " --lifetime"
    )
    assert nat_command(["$(reboot):1"]) == "p2ptui nat --server '$(reboot):1'"
    assert nat_command(["\x1b]0;x\x07:1\n"]) == "p2ptui nat --server '\\x1b]0;x\\x07:1\\n'"
    assert len(nat_command(f"server-{n}:1" for n in range(1000))) == COMMAND_CHARACTERS


@pytest.mark.parametrize(
    ("text", "code"), [("a", "`a`"), ("a`b", "`` a`b ``"), ("``a`", "``` ``a` ```")]
)
def test_a_command_cannot_end_its_markdown_early(text, code):
    assert report_markdown(REPORT, text).splitlines()[-1] == f"Made by {code} in 0.9 s."


def verdict(reply: Reply, detail: str = "arranged by [2001:db8::1]:8080", sends: int = 9):
    test = FilterTest(Change.PEER, reply, detail, sends)
    return classify_filtering(True, [test])


def test_a_probe_by_a_peer_names_the_server_that_arranged_it():
    came = verdict(Reply.CAME, "arranged by 203.0.113.1:8080, came from 203.0.113.9:8080")
    for evidence, server in (
        (came.evidence, "203.0.113.1:8080"),
        (verdict(Reply.SILENCE).evidence, "[2001:db8::1]:8080"),
        (verdict(Reply.UNTESTABLE).evidence, None),
        (verdict(Reply.CAME, "arranged by nobody").evidence, None),
        (("said: " + came.evidence[0],), None),
        ((), None),
    ):
        assert probing_server(dataclasses.replace(REPORT, evidence=evidence)) == server
