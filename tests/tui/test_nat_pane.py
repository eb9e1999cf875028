"""Property 13: the NAT pane explains, can be cancelled, and says what the shell says."""

import re

import pytest
from rich.text import Text

from p2ptui.config import UiOptions
from p2ptui.core.events import DataReceived
from p2ptui.nat.allocation import AllocationKind, PortAllocation
from p2ptui.nat.behavior import Dependence, NatType
from p2ptui.nat.feasibility import advice_for, meaning_of
from p2ptui.nat.report import NatReport, ServerReport
from p2ptui.nat.report_text import report_markdown, report_rows, server_rows
from p2ptui.tui.nat_pane import EVIDENCE_CHARACTERS, report_text
from p2ptui.tui.palette import GrammarProvider
from tests.simulated_nat import KINDS, Nat, Nats
from tests.tui.stage import ALICE, Stage, play

HOSTILE = "\x1b]0;owned\x07[/x][@click=app.exit]go[/]\u202e\x9b31m[red]"
CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
SIZES = [(80, 24), (120, 40), (200, 60)]
SERVER = "203.0.113.1:3478"
NOBODY = "203.0.113.250:3478"


async def open_behind(stage: Stage, kind: str, size: tuple[int, int] = (120, 40), **options):
    """Alice behind a NAT, and a STUN server that can test all of it on the other side."""
    nats = Nats(Nat("198.51.100.1", {ALICE[0]}, KINDS[kind]))
    stage.network.translate = nats.translate
    stun = {"enable": True, "address": SERVER, "alternate_address": "203.0.113.2"}
    network = {"network_id": options["network_id"]} if "network_id" in options else {}
    await stage.node("server", "203.0.113.1", stun_server=stun, **network)
    return await stage.open(size, **options)


def remember_reports(stage: Stage) -> list[NatReport]:
    """What the node's own diagnosis returns from now on."""
    reports: list[NatReport] = []
    diagnose = stage.alice.diagnose_nat

    async def diagnose_nat(*arguments, **options):
        reports.append(await diagnose(*arguments, **options))
        return reports[-1]

    stage.alice.diagnose_nat = diagnose_nat
    return reports


def words(text: str) -> str:
    """Without what differs by the width alone."""
    return " ".join(text.split())


async def read_through(stage: Stage) -> str:
    """All that the pane shows, scrolled from its beginning to its end."""
    pane = stage.app.nat
    await stage.pilot.press("f4", "home")
    seen: list[str] = []
    for top in range(int(pane.max_scroll_y) + 1):
        pane.scroll_to(y=top, animate=False, immediate=True)
        await stage.pilot.pause()
        region = pane.scrollable_content_region
        x, y = pane.region.x + pane.gutter.left, pane.region.y + pane.gutter.top
        rows = [line[x : x + region.width] for line in stage.lines()[y : y + region.height]]
        seen += rows if not seen else rows[-1:]
    return words("\n".join(seen))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("kind", ["port-restricted-cone", "symmetric, step 1"])
def test_the_pane_says_what_the_node_found_and_no_line_is_clipped(kind, size):
    async def story(stage: Stage) -> None:
        app = await open_behind(stage, kind, size)
        reports = remember_reports(stage)
        said = await stage.type(f"nat {SERVER} {NOBODY}")
        assert app.focused is app.bar.input
        assert app.chosen == "nat"
        (report,) = reports
        assert app.nat.report.as_json() == report.as_json()
        assert said.startswith(f"{report.nat_type.value} (sure): {report.meaning[:20]}")
        shown = await read_through(stage)
        assert shown.startswith(f"{report.nat_type.value}: sure (")
        assert report.nat_type.value in str(app.nat.border_title)
        for label, value in report_rows(report):
            assert words(f"{label} {value}") in shown
        for name, answer in server_rows(report):
            assert f"{name}: {answer}" in shown
        for line in (report.meaning, report.advice, *report.evidence):
            assert words(line) in shown
        assert f"p2ptui nat --server {SERVER} --server {NOBODY}" in shown
        assert f"{report.duration_s:.1f} s" in shown

    play(story)


def test_before_a_diagnosis_it_shows_what_is_known_and_how_to_begin():
    async def story(stage: Stage) -> None:
        await stage.open()
        await stage.node("server", "10.0.0.9")
        await stage.pilot.press("f4")
        await stage.wait()
        assert "public   unknown" in stage.text()
        await stage.type("connect 10.0.0.9:8080")
        await stage.wait()
        assert "as told by" in stage.text()
        shown = words(stage.app.nat.facts.plain)
        assert "r, or the command nat [SERVER...], finds out" in shown

    play(story)


@pytest.mark.parametrize("keys", [["escape"], ["f4", "escape"], ["f4", "x"]])
def test_a_diagnosis_tells_its_progress_and_can_be_cancelled(keys):
    async def story(stage: Stage) -> None:
        app = await open_behind(stage, "blocked")
        app.bar.type(f"nat {SERVER}")
        await stage.pilot.press("enter")
        await stage.wait(0.2)
        assert app.nat.running
        assert "asking the servers ..." in app.bar.said
        assert "Escape cancels" in stage.text()
        assert "· asking the servers" in stage.text()
        assert "diagnosing" in stage.text()
        await stage.pilot.press(*keys)
        await stage.wait(0.2)
        assert not app.nat.running
        assert app.bar.said == "cancelled"
        assert "No report: it was cancelled" in words(app.nat.facts.plain)
        await stage.wait(5)
        assert app.nat.report is None

    play(story)


@pytest.mark.parametrize("size", SIZES)
def test_the_line_after_nat_is_typed_into_the_bar_as_well(size):
    """With the focus in the pane its letters would run as keys: r, x, y, z and the like."""

    async def story(stage: Stage) -> None:
        app = await open_behind(stage, "full-cone", size)
        bob = await stage.node("bob", "203.0.113.9")
        events = bob.events()
        await stage.alice.connect(bob.address)
        await stage.wait()
        await stage.pilot.press("f2", "home", "colon")
        for line in (f"nat {SERVER}", "send . xyzzy hello"):
            keys = ["space" if c == " " else c for c in line]
            await stage.pilot.press(*keys, "enter")
        await stage.wait(3)
        assert app.focused is app.bar.input
        assert not app.zoomed
        assert app.nat.report.nat_type is NatType.FULL_CONE
        heard = [e.payload for e in events.take(1000) if isinstance(e, DataReceived)]
        assert heard == ["xyzzy hello"]

    play(story)


@pytest.mark.parametrize("size", SIZES)
def test_a_joined_server_is_risked_only_if_it_is_named_for_it(size):
    async def story(stage: Stage) -> None:
        app = await open_behind(stage, "port-restricted-cone", size)
        await stage.type("connect 203.0.113.1:8080")
        await stage.type("nat")
        report = app.nat.report
        assert (report.nat_type, report.filtering) == (NatType.UNKNOWN, Dependence.UNKNOWN)
        shown = await read_through(stage)
        assert "not tested: it could have 203.0.113.1:8080 banned" in shown
        assert words(report.advice) in shown
        line = report.advice.partition(": ")[2].partition(";")[0]
        assert line == "nat --filter-with 203.0.113.1:8080"
        await stage.type(line)
        assert app.nat.report.nat_type is NatType.PORT_RESTRICTED_CONE
        # The key repeats what harms nobody.
        await stage.pilot.press("f4", "r")
        await stage.wait(3)
        assert app.nat.report.nat_type is NatType.UNKNOWN

    play(story)


def test_the_command_joins_the_server_whose_peer_sent_the_probe():
    async def story(stage: Stage) -> None:
        app = await open_behind(stage, "port-restricted-cone", network_id="a net")
        await stage.node("helper", "203.0.113.9", network_id="a net", join=["203.0.113.1:8080"])
        await stage.type("connect 203.0.113.1:8080")
        await stage.type(f"nat {SERVER}")
        assert "arranged by 203.0.113.1:8080" in words("".join(app.nat.report.evidence))
        command = app.nat.command
        assert f"--server {SERVER}" in command
        assert command.endswith("--join 203.0.113.1:8080 --network-id 'a net'")
        assert app.bar.beside == command

    play(story)


def test_a_new_diagnosis_takes_the_place_of_one_that_runs():
    async def story(stage: Stage) -> None:
        app = await open_behind(stage, "full-cone")
        app.bar.type(f"nat {NOBODY}")
        await stage.pilot.press("enter")
        await stage.wait(0.2)
        await stage.type(f"nat {SERVER}")
        assert app.nat.report.nat_type is NatType.FULL_CONE
        assert not app.nat.running
        await stage.wait(5)
        assert app.nat.report.nat_type is NatType.FULL_CONE

    play(story)


def test_a_key_diagnoses_again_with_the_same_servers():
    async def story(stage: Stage) -> None:
        app = await open_behind(stage, "restricted-cone")
        await stage.type(f"nat --server {SERVER}")
        reports = remember_reports(stage)
        await stage.pilot.press("f4", "r")
        await stage.wait(3)
        assert app.focused is app.nat
        assert len(reports) == 1
        assert [server.address for server in app.nat.report.servers] == [SERVER]
        (hit, *_) = [hit async for hit in GrammarProvider(app.screen).search("Diagnose")]
        assert "nat.diagnose: r" in hit.help
        await stage.pilot.press("f2")
        hit.command()
        await stage.wait(3)
        assert len(reports) == 2

    play(story)


def test_it_names_the_keys_that_the_user_has_chosen():
    async def story(stage: Stage) -> None:
        keys = {"nat.diagnose": "d,D", "facts.copy": "c"}
        app = await open_behind(stage, "full-cone", options=UiOptions(keys=keys))
        await stage.pilot.press("f4")
        await stage.wait()
        assert "d, or the command nat" in words(app.nat.facts.plain)
        await stage.pilot.press("D")
        await stage.wait(3)
        assert app.nat.report.nat_type is NatType.FULL_CONE
        assert "d diagnoses again, c copies" in words(app.nat.facts.plain)

    play(story)


def test_an_earlier_report_stays_while_a_new_diagnosis_comes_to_nothing():
    async def story(stage: Stage) -> None:
        app = await open_behind(stage, "full-cone")
        await stage.type(f"nat {SERVER}")
        app.bar.type(f"nat {NOBODY}")
        await stage.pilot.press("enter")
        await stage.wait(0.2)
        await stage.pilot.press("escape")
        await stage.wait(0.2)
        shown = words(app.nat.facts.plain)
        assert shown.startswith("No report: it was cancelled")
        assert app.nat.report is not None

    play(story)


def test_the_report_is_copied_as_markdown():
    async def story(stage: Stage) -> None:
        app = await open_behind(stage, "full-cone")
        await stage.type(f"nat {SERVER}")
        await stage.pilot.press("f4", "y")
        await stage.wait()
        command = f"p2ptui nat --server {SERVER}"
        assert app.clipboard == report_markdown(app.nat.report, command)
        assert "copied the pane" in app.bar.said

    play(story)


def test_at_the_start_it_diagnoses_by_itself_and_disturbs_nobody():
    async def story(stage: Stage) -> None:
        detection = {"stun_servers": [SERVER]}
        app = await open_behind(stage, "full-cone", diagnose=True, nat_detection=detection)
        await stage.wait(3)
        assert app.nat.report.nat_type is NatType.FULL_CONE
        assert app.bar.said == ""
        assert app.focused is app.bar.input
        assert app.nat.command == f"p2ptui nat --server {SERVER}"
        assert not [r for r in app.messages.shown() if "cone" in r.summary]

    play(story)


def test_one_that_nobody_asked_for_is_not_what_escape_in_the_bar_means():
    async def story(stage: Stage) -> None:
        detection = {"stun_servers": [SERVER]}
        app = await open_behind(stage, "blocked", diagnose=True, nat_detection=detection)
        await stage.pilot.press("escape")
        assert app.nat.running
        assert app.bar.said == ""
        await stage.pilot.press("f4", "escape")
        await stage.wait(0.2)
        assert not app.nat.running
        assert app.bar.said == "cancelled"

    play(story)


def test_why_there_is_no_report_is_said_in_pane_and_bar():
    async def story(stage: Stage) -> None:
        app = await stage.open(nat_detection={"stun_servers": []})
        assert "no STUN server to ask" in await stage.type("nat")
        assert "No report: no STUN server to ask" in words(app.nat.facts.plain)
        assert "not an address" in await stage.type("nat [bad")

    play(story)


def hostile_report() -> NatReport:
    return NatReport(
        udp=True,
        local=("10.0.0.1", 1),
        mapped=("198.51.100.1", 1),
        mapping=Dependence.ENDPOINT_INDEPENDENT,
        filtering=Dependence.ADDRESS_AND_PORT,
        nat_type=NatType.PORT_RESTRICTED_CONE,
        port_allocation=PortAllocation(AllocationKind.PRESERVED),
        servers=(
            ServerReport(f"{HOSTILE}:1", error=HOSTILE * 9),
            ServerReport("a:1", 2.0, ok=True),
        ),
        confidence=0.97,
        evidence=(HOSTILE, "x" * 3000, "short"),
        meaning=meaning_of(NatType.PORT_RESTRICTED_CONE, PortAllocation()),
        advice=advice_for(NatType.PORT_RESTRICTED_CONE),
    )


@pytest.mark.parametrize("size", SIZES)
def test_what_a_server_is_called_and_says_is_inert(size):
    async def story(stage: Stage) -> None:
        app = await stage.open(size)

        async def diagnose_nat(servers, *, on_progress):
            on_progress(HOSTILE)
            return hostile_report()

        stage.alice.diagnose_nat = diagnose_nat
        await stage.type("nat")
        shown = await read_through(stage)
        assert not CONTROL.search(shown)
        assert "[/x]" in shown
        assert not CONTROL.search(app.nat.command)
        await stage.pilot.press("f4", "y")
        assert not CONTROL.search(app.clipboard)
        assert app.is_running

    play(story)


@pytest.mark.parametrize("width", [20, 33, 56, 80, 200])
def test_a_report_fits_every_width(width):
    report = hostile_report()
    text = report_text(report, f"p2ptui nat --server {SERVER}", width)
    assert isinstance(text, Text)
    lines = text.plain.split("\n")
    assert max(map(len, lines)) <= width
    assert "x" * (EVIDENCE_CHARACTERS + 1) not in "".join(line.strip() for line in lines)
    assert lines[0].startswith("port-res")


def test_a_connected_node_without_stun_is_no_blocked_network():
    async def story(stage: Stage) -> None:
        app = await stage.open((160, 60))
        for number in range(2, 12):
            await stage.friend(f"friend-{number}", number)
        await stage.wait(2)
        said = await stage.type("nat 10.0.1.2:8080")
        assert said.startswith("unknown (inconclusive): The node at 10.0.1.2:8080 serves no STUN")
        shown = " ".join(app.nat.facts.plain.split())
        assert "blocked" not in shown
        assert "10 nodes are connected: UDP passes to there" in shown
        # A live node with which there is no session says so itself.
        await stage.node("other", "10.0.7.7")
        assert "The node at 10.0.7.7:8080 serves no STUN" in await stage.type("nat 10.0.7.7:8080")

    play(story)


def test_a_silent_address_is_not_taken_for_a_blocked_network_while_others_answer():
    async def story(stage: Stage) -> None:
        await stage.open((160, 60))
        await stage.friend("bob", 2)
        await stage.wait(2)
        assert "UDP passes, but no server answered" in await stage.type("nat 10.0.0.250:8080")
        # Nearby nodes say nothing of servers that are further away.
        assert "blocked" in await stage.type("nat 9.9.9.9:8080")

    play(story)
