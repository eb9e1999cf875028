"""Two nodes behind NATs of a laboratory and a server that introduces and relays them.

    with Ground() as ground:
        a, b = ground.side(Kind.PORT_RESTRICTED), ground.side(Kind.SYMMETRIC_STEP_1)
        outcome = meet(a, b)

Everything stays for many runs: the networks, the server, a process in each host. A run is a
fresh node on each side, with a fresh socket.
"""

import json
import secrets
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from p2ptui.io.key_files import create_key_file
from p2ptui.secure.identity import Identity
from p2ptui.secure.secret import SECRET_BYTES, KeyKind, Secret
from tests.natlab.diagnosing import NODE_PORT, ask
from tests.natlab.laboratory import Host, Laboratory, Nat
from tests.natlab.rules import Kind
from tests.patience import PATIENCE_S

ROOT = Path(__file__).parents[2]

WAIT_S = 20.0
"""For a direct path, or for the reason why there is none."""

_SERVER = """
[server]
address = "{any}:{port}"
enable_discovery = false
[security]
enable_rate_limiting = false
[stun_server]
enable = true
address = "{any}:3478"
{other}
[nat_detection]
enable = false
[traffic_forwarding]
allow_symmetric_nat_relay = true
"""


class Side:
    """A host, the NATs before it, and the process that runs nodes in it."""

    def __init__(self, host: Host, server: str, state: str) -> None:
        self.host = host
        self.node_id = ""
        self._state = Path(state)
        self._state.mkdir(mode=0o700, exist_ok=True)
        self._process = host.start(
            ["python", "-m", "tests.natlab.traversal_runner", server],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            encoding="utf-8",
            cwd=ROOT,
            # What is learnt of a network stays in the laboratory.
            env={"XDG_STATE_HOME": state},
        )

    @property
    def nats(self) -> list[Nat]:
        """The NATs before it, the nearest first."""
        found, nat = [], self.host.nat
        while nat is not None:
            found.append(nat)
            nat = nat.behind
        return found

    def forget(self) -> None:
        """Its NATs lose all mappings."""
        for nat in self.nats:
            nat.forget()

    def begin(self, do: str, **arguments: Any) -> None:
        """Tell the process to do something; `end` waits for it."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"do": do, **arguments}) + "\n")
        self._process.stdin.flush()

    def end(self) -> dict[str, Any]:
        """The answer to the oldest command that is not answered yet."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the nodes of {self.host.name} ended: {self._process.wait()}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def tell(self, do: str, **arguments: Any) -> dict[str, Any]:
        """Do something, and wait for it."""
        self.begin(do, **arguments)
        return self.end()

    def start(self, **how: Any) -> None:
        """Begin to start a fresh node; `end` waits until it has joined.

        Args:
            how: `facts` False: it does not know yet what it is behind; `options`: of its
                configuration, by section; `constant_step`: how it guesses ports.
        """
        seed = Secret(secrets.token_bytes(SECRET_BYTES))
        self.node_id = Identity(seed).id
        path = self._state / f"{self.node_id}.key"
        create_key_file(path, KeyKind.SEED, seed)
        self.begin("start", identity=str(path), **how)


class Ground:
    """A laboratory with a server; everything is gone at the end.

    Args:
        laboratory: An open one; it stays.
        addresses: Of the server, over IPv4: with one it cannot name every NAT.
        ipv6: Whether it has IPv6 as well.
    """

    def __init__(
        self, laboratory: Laboratory | None = None, *, addresses: int = 2, ipv6: bool = False
    ) -> None:
        self._addresses = addresses
        self._ipv6 = ipv6
        self.server6 = ""
        self.laboratory = laboratory or Laboratory()
        self._owns = laboratory is None
        self._directory = tempfile.TemporaryDirectory()
        self.server = ""
        self._sides = 0

    def __enter__(self) -> Self:
        if self._owns:
            self.laboratory.__enter__()
        try:
            self._start_server()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End everything."""
        if self._owns:
            self.laboratory.close()
        self._directory.cleanup()

    def _start_server(self) -> None:
        host = self.laboratory.public_host(addresses=self._addresses, ipv6=self._ipv6)
        other = f'alternate_address = "{host.addresses[1]}"' if self._addresses > 1 else ""
        path = Path(self._directory.name, "server.toml")
        anywhere = "[::]" if self._ipv6 else "0.0.0.0"
        path.write_text(_SERVER.format(any=anywhere, port=NODE_PORT, other=other))
        with Path(self._directory.name, "server.log").open("w") as log:
            self.node = node = host.start(
                ["p2ptui", "--no-ui", "-c", str(path)], stdout=log, stderr=subprocess.STDOUT
            )
        until = time.monotonic() + PATIENCE_S
        while ask(host, host.address) is None:
            if node.poll() is not None or time.monotonic() > until:
                raise RuntimeError(Path(self._directory.name, "server.log").read_text())
        self.server = f"{host.address}:{NODE_PORT}"
        self.server6 = f"[{host.address6}]:{NODE_PORT}"
        self.host = host

    def side(self, *kinds: Kind, ipv6: bool = False) -> Side:
        """A host behind NATs, the outermost first; behind none on the public network.

        ipv6: it has a global IPv6 address as well, and the NAT a firewall for it.
        """
        if not kinds or kinds == (Kind.OPEN,):
            return self.at(self.laboratory.public_host(ipv6=ipv6))
        nat = self.laboratory.nat(kinds[0], ipv6=ipv6)
        if ipv6:
            nat.guard_ipv6()
        for kind in kinds[1:]:
            nat = nat.nat(kind)
        return self.at(nat.host())

    def at(self, host: Host, server: str | None = None) -> Side:
        """Nodes in a host that is there; they join at `server`, without it by IPv4."""
        self._sides += 1
        state = str(Path(self._directory.name, f"state{self._sides}"))
        return Side(host, server or self.server, state)


def meet(
    a: Side,
    b: Side,
    *,
    wait_s: float = WAIT_S,
    **how: Any,
) -> dict[str, Any]:
    """One run: fresh nodes on both sides, the first connects to the second by its id.

    Args:
        a: The side that connects.
        b: The side that waits.
        wait_s: For a direct path, or for the reason why there is none.
        how: What `Side.start` takes.

    Returns:
        What `Runner.connect` says, with `checks` of both sides, `received` by the second, and
        `there` how the second sees the path.
    """
    started = join(a, b, **how)
    if errors := [answer["error"] for answer in started if "error" in answer]:
        outcome = {"error": errors[0]}
    else:
        outcome = a.tell("connect", to=b.node_id, wait_s=wait_s)
    if "error" not in outcome:
        other = b.tell("report", to=a.node_id)
        outcome |= {
            "checks": [outcome["checks"], other["checks"]],
            "received": other["received"],
            "there": other["path"],
            "sides": [answer["side"] for answer in started],
        }
    part(a, b)
    return outcome


def join(*sides: Side, **how: Any) -> list[dict[str, Any]]:
    """Start a fresh node on each side; back when all have joined the server."""
    for side in sides:
        side.start(**how)
    return [side.end() for side in sides]


def part(*sides: Side) -> None:
    """End the nodes of a run, and lose their mappings."""
    for side in sides:
        side.begin("stop")
    for side in sides:
        side.end()
        side.forget()


def succeeded(outcomes: Sequence[dict[str, Any]]) -> int:
    """How many of these runs found a direct path."""
    return sum(outcome.get("path") == "direct" for outcome in outcomes)
