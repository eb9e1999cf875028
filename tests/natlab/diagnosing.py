"""STUN servers for a laboratory, diagnoses inside it, and what these should find.

`python -m tests.natlab.diagnosing HOST:PORT...` is for a process of its own in a host: for each
line that it reads it prints a report on a line, as `p2ptui nat --json` does.
"""

import asyncio
import json
import random
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from p2ptui.io.udp import DatagramSocket, open_udp
from p2ptui.nat.report import NatReport
from p2ptui.node.diagnosis import Diagnosis
from p2ptui.wire.address import Address
from p2ptui.wire.stun import MessageClass, StunError, StunMessage, decode, encode
from tests.natlab.laboratory import Host
from tests.natlab.rules import KINDS, Kind
from tests.patience import PATIENCE_S

NODE_PORT = 8080
STUN_PORT = 3478
OTHER_PORT = 3479
"""The default of `[stun_server] alternate_port`."""

_ROOT = Path(__file__).parents[2]

MAPPING = {
    "none": "none",
    "EIM": "endpoint-independent",
    "ADM": "address-dependent",
    "APDM": "address-and-port-dependent",
}
FILTERING = {
    "EIF": "endpoint-independent",
    "ADF": "address-dependent",
    "APDF": "address-and-port-dependent",
}
CONES = {"EIF": "full-cone", "ADF": "restricted-cone", "APDF": "port-restricted-cone"}
PORTS = {
    "preserved": ("preserved", None),
    "random": ("random", None),
    "step 1": ("sequential", 1),
    "step 256": ("sequential", 256),
    "hash": ("hashed", None),
}


@dataclass(frozen=True)
class Findings:
    """What a report says, or should say; the words are those of its JSON."""

    nat_type: str
    mapping: str = "unknown"
    filtering: str = "unknown"
    allocation: tuple[str, int | None] = ("unknown", None)
    hairpin: bool | None = None
    firewall: bool | None = None
    udp: bool = True
    findings: tuple[str, ...] = ()

    @classmethod
    def of(cls, report: dict[str, Any]) -> Self:
        """Read them from `NatReport.as_json`."""
        ports = report["port_allocation"]
        return cls(
            allocation=(ports["kind"], ports["step"]),
            findings=tuple(report.get("findings", ())),
            **{
                key: report[key]
                for key in cls.__dataclass_fields__
                if key not in ("allocation", "findings")
            },
        )


UNKNOWN = (None, "unknown", ("unknown", None), ())


def judged(report: dict[str, Any], right: Findings) -> dict[str, str]:
    """Each finding with "right", "wrong", or "unknown" where it says so and should know."""
    found, wanted = asdict(Findings.of(report)), asdict(right)
    return {
        name: "right" if value == wanted[name] else "unknown" if value in UNKNOWN else "wrong"
        for name, value in found.items()
    }


def expected(*kinds: Kind) -> Findings:
    """What is to be found behind a NAT of some kind, or behind several in a row."""
    behaviours = [KINDS[kind] for kind in kinds]
    if not all(behaviour.udp for behaviour in behaviours):
        return Findings("blocked", udp=False)
    # In a row, that which depends on more decides.
    mapping = max((b.mapping for b in behaviours), key=list(MAPPING).index)
    filtering = max((b.filtering for b in behaviours), key=list(FILTERING).index)
    ports = next((b.ports for b in behaviours if b.ports != "preserved"), "preserved")
    translated = mapping != "none"
    if not translated:
        nat_type = "open" if filtering == "EIF" else "firewall"
    else:
        nat_type = CONES[filtering] if mapping == "EIM" else "symmetric"
    return Findings(
        nat_type,
        MAPPING[mapping],
        FILTERING[filtering] if translated or filtering != "EIF" else "none",
        PORTS[ports],
        hairpin=all(b.hairpin for b in behaviours) if translated else None,
        firewall=nat_type == "firewall",
        findings=tuple(finding for b in behaviours for finding in b.findings),
    )


def start_node(
    host: Host, directory: Path, *, other_host: str = "", partner: str = ""
) -> subprocess.Popen[str]:
    """Start a node that serves STUN at `STUN_PORT`; back when it answers.

    Args:
        host: Where it runs.
        directory: For its configuration.
        other_host: Its second address, if it shall have one.
        partner: The node that replies for it.
    """
    path = directory / f"{host.name}.toml"
    path.write_text(
        f"""
        server.listen_address = "{host.address}:{NODE_PORT}"
        nat_detection.enable = false
        [stun_server]
        enable = true
        address = "{host.address}:{STUN_PORT}"
        alternate_address = "{other_host}"
        partner = "{partner}"
        """
    )
    node = host.start(
        ["p2ptui", "--no-ui", "-c", str(path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
    )
    until = time.monotonic() + PATIENCE_S
    while ask(host, host.address) is None:
        if node.poll() is not None or time.monotonic() > until:
            node.kill()
            raise AssertionError(f"no STUN server: {node.communicate()[0]}")
    return node


def ask(host: Host, server: str, **request: Any) -> StunMessage | None:
    """The answer to a single Binding request, None after 50 ms."""
    with host.entered(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        asking.settimeout(0.05)
        message = StunMessage(
            message_class=MessageClass.REQUEST,
            transaction_id=random.randbytes(12),
            **request,
        )
        asking.sendto(encode(message), (server, STUN_PORT))
        try:
            return decode(asking.recv(2048))
        except OSError:
            time.sleep(0.02)  # a refused connection comes at once
            return None


class BareServer:
    """Answers Binding requests from where they came to, whatever else they ask for.

    Args:
        host: Where it runs.
        places: Its sockets; the host's one address and `STUN_PORT` without it.
        other: What it says of an OTHER-ADDRESS, which it never uses.
    """

    def __init__(
        self, host: Host, places: Sequence[Address] = (), other: Address | None = None
    ) -> None:
        places = places or [(host.address, STUN_PORT)]
        self._sockets = [host.udp_socket(*place, timeout_s=0.1) for place in places]
        self._other = other
        self._closing = threading.Event()
        self._threads = [
            threading.Thread(target=self._serve, args=(opened,)) for opened in self._sockets
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._closing.set()
        for thread in self._threads:
            thread.join()

    def _serve(self, opened: socket.socket) -> None:
        while not self._closing.is_set():
            try:
                data, source = opened.recvfrom(2048)
                request = decode(data)
            except (TimeoutError, StunError):
                continue
            if request.message_class is MessageClass.REQUEST:
                answer = StunMessage(
                    message_class=MessageClass.SUCCESS,
                    transaction_id=request.transaction_id,
                    xor_mapped=source[:2],
                    other_address=self._other,
                )
                opened.sendto(encode(answer), source)


def diagnose(host: Host, *servers: str, lifetime: bool = False) -> NatReport:
    """One diagnosis with sockets, and with an idea of this machine's addresses, from inside."""
    with host.entered():
        return asyncio.run(_diagnose(servers, lifetime=lifetime))


async def _diagnose(servers: Sequence[str], *, lifetime: bool = False) -> NatReport:
    return await Diagnosis(_open, random.SystemRandom()).run(servers, lifetime=lifetime)


async def _open(address: Address, *, unfragmented: bool = False) -> DatagramSocket:
    return await open_udp(address, broadcast=False, unfragmented=unfragmented)


def start_diagnoses(
    host: Host, servers: Iterable[str], *, lifetime: bool = False
) -> subprocess.Popen[str]:
    """Start this program in a host: a line in for each report, a line, out."""
    options = ["--lifetime"] if lifetime else []
    return host.start(
        ["python", "-m", "tests.natlab.diagnosing", *options, *servers],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        encoding="utf-8",
        cwd=_ROOT,
    )


def _main() -> None:
    servers = [word for word in sys.argv[1:] if word != "--lifetime"]
    for _ in sys.stdin:
        report = asyncio.run(_diagnose(servers, lifetime="--lifetime" in sys.argv))
        print(json.dumps(report.as_json()), flush=True)


if __name__ == "__main__":
    _main()
