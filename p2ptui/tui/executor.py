"""What the commands do to the node; each tells its result in one line, or raises why not."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from p2ptui.core.events import Path, SendResult, SendStatus
from p2ptui.core.identity import canonical_id
from p2ptui.errors import (
    ImpostorError,
    LocalError,
    P2PError,
    PeerGoneError,
    PeerTimeoutError,
    RemoteError,
    UnknownPeerError,
)
from p2ptui.node import Known, Node, OtherNode, PeerView, Roster, own_address, way_words
from p2ptui.node.lookup import OtherServerError, SeveralFitError, is_node_ref
from p2ptui.secure.known_nodes import KnownNode, Trust
from p2ptui.text import counted, printable
from p2ptui.tui.shell import shell_command
from p2ptui.tui.trust_words import advice_in_bar, is_refused
from p2ptui.verbs import SELECTED, Command, Kind, UsageError, read_payload
from p2ptui.wire.address import format_address
from p2ptui.wire.joined import parse_joined_target

Progress: TypeAlias = Callable[[str], None]

PING_PAUSE_S: Final = 0.2
"""Between two pings of one command."""

PAINT_PAUSE_S: Final = 0.05


@dataclass(frozen=True, slots=True)
class Done:
    """A command that was carried out."""

    said: str
    """The result, in one line."""
    shell: str
    """The shell command that does the same; empty if there is none."""


class Executor:
    """Carries out the commands that need nothing but the node.

    Args:
        node: The node.
        roster: The nodes that it knows.
        selected: The node that is meant if none is named.
    """

    def __init__(self, node: Node, roster: Roster, selected: Callable[[], Known | None]) -> None:
        self._node = node
        self._roster = roster
        self._selected = selected
        # Verbs that concern a node always have one.
        self._actions: dict[str, Callable[[Command, Any, Progress], Awaitable[str]]] = {
            "connect": self._connect,
            "disconnect": self._disconnect,
            "ping": self._ping,
            "send": self._send,
            "broadcast": self._broadcast,
            "relay": self._relay,
            "punch": self._punch,
            "discover": self._discover,
            "trust": self._trust,
            "forget": self._forget,
        }

    def handles(self, name: str) -> bool:
        """Whether a verb is carried out here."""
        return name in self._actions

    async def run(self, command: Command, progress: Progress) -> Done:
        """Carry out a command.

        Args:
            command: The command.
            progress: Called with the progress, if it takes long.

        Returns:
            The result.

        Raises:
            P2PError: It did not work; the text says why.
        """
        # The node that is meant is decided once: meanwhile the selection may move, or the node
        # leave.
        node = await self._target(command, progress) if _concerns_a_peer(command) else None
        if node is not None and is_refused(node):
            raise RemoteError(f"{_name(node)} is refused: {advice_in_bar(node.advice)}")
        if isinstance(node, OtherNode) and node.is_elsewhere:
            raise LocalError(
                f"{_name(node)} is {way_words(node)}, another server: this one hands over what its"
                " own peers send there, and sends nothing itself"
            )
        if Kind.MET in _kinds(command):
            node = self._met(command)
        shell = self.in_shell(command, node)
        return Done(await self._actions[command.verb.name](command, node, progress), shell)

    def in_shell(self, command: Command, node: Known | None) -> str:
        """The shell command that does the same; empty if there is none.

        Args:
            command: The command.
            node: The node that it concerns.
        """
        target = self._roster.shell_target(node) if node is not None else ()
        return shell_command(command, node, target, self._node.info.network_id)

    async def _target(self, command: Command, progress: Progress) -> Known:
        """The node that a command concerns.

        Raises:
            UnknownPeerError: No node has this name, or several have.
            LocalError: No node is named, and none is selected.
        """
        if command.peer is not None:
            try:
                return await self.find(command.peer, progress)
            except OtherServerError as error:
                if command.verb.name != "connect":
                    raise
                server = error.server
                return OtherNode(server.id, server.name, None, "", 1, ())
        selected = self._selected()
        if selected is None:
            raise LocalError(f"nobody is selected; usage: {command.verb.usage}")
        if command.verb.name == "disconnect" and not command.is_named:
            # It ends something: it never means the node that happens to be under the cursor.
            raise UsageError(
                f"disconnect whom? disconnect {SELECTED} says goodbye to the selected node,"
                f" {_name(selected)}"
            )
        return selected

    def _met(self, command: Command) -> Known | None:
        """The node that a command about identities means; None if it is not here now."""
        if command.peer is None:
            selected = self._selected()
            if selected is None:
                raise LocalError(f"nobody is selected; usage: {command.verb.usage}")
            return selected
        try:
            return self._roster.find(command.peer)
        except SeveralFitError:
            raise
        except UnknownPeerError:
            return None

    async def find(self, word: str, progress: Progress) -> Known:
        """The node that a word means; if no node here has that name, the servers are asked.

        Args:
            word: An id, the beginning of one, a name or an address.
            progress: Called if it takes a while.

        Raises:
            UnknownPeerError: No node fits.
            SeveralFitError: More than one fits.
        """
        try:
            return self._roster.find(word)
        except SeveralFitError:
            raise
        except UnknownPeerError:
            if self._roster.servers():
                progress(f"asking the servers for {printable(word, 60)}")
        return await self._node.find(word)

    async def _connect(self, command: Command, node: Known | None, progress: Progress) -> str:
        target = node.node_id if node is not None else self._address_or_id(command.text)
        shown = printable(command.text, 60) if node is None else _name(node)
        progress(f"connecting to {shown}")
        peer = await self._node.connect(target)
        where = way_words(peer)
        at = "" if own_address(peer) is None else "at "
        return f"connected to {_name(peer)} {at}{where}"

    def _address_or_id(self, text: str) -> str:
        if canonical_id(text) is not None:
            return text
        try:
            address = parse_joined_target(text)
        except ValueError as error:
            raise UsageError(f"{error}; usage: connect HOST:PORT") from None
        if address[1] == 0:
            raise UsageError("port 0 is no port to connect to; usage: connect HOST:PORT")
        return text

    async def _disconnect(self, _command: Command, peer: Known, _progress: Progress) -> str:
        if isinstance(peer, OtherNode):
            raise LocalError(f"there is no session with {_name(peer)} to end")
        is_kept = await self._node.disconnect(peer)
        later = f"; connect {format_address(peer.address)} joins it again" if is_kept else ""
        return f"said goodbye to {_name(peer)}{later}"

    async def _ping(self, command: Command, peer: Known, progress: Progress) -> str:
        times: list[float] = []
        sent = 0
        failed: P2PError | None = None
        progress(f"ping 1 of {command.count} to {_name(peer)}")
        while sent < command.count:
            # Pending output is drawn first: otherwise the drawing would be measured too.
            await asyncio.sleep(PING_PAUSE_S if sent else PAINT_PAUSE_S)
            sent += 1
            try:
                result = await self._node.ping(peer if isinstance(peer, PeerView) else peer.node_id)
            except (LocalError, PeerGoneError) as error:
                failed = error  # the next one will not succeed either
                break
            except P2PError as error:
                failed = error
            else:
                times.append(result.rtt_s * 1000)
            if sent < command.count:
                last = f", the last took {times[-1]:.2f} ms" if times else ", none answered"
                progress(f"ping {sent + 1} of {command.count} to {_name(peer)}{last}")
        if not times and sent > 1 and isinstance(failed, PeerTimeoutError):
            raise PeerTimeoutError(f"{_name(peer)}: 0 of {sent} answered; {failed}")
        if not times:
            raise failed or LocalError("nothing was sent")
        return (
            f"{_name(peer)}: {len(times)} of {sent} answered, min {min(times):.2f},"
            f" avg {sum(times) / len(times):.2f}, max {max(times):.2f} ms{self._in_the_open(peer)}"
        )

    async def _send(self, command: Command, peer: Known, progress: Progress) -> str:
        payload = read_payload(command.text)
        self._require_meant(command, peer)
        progress(f"sending to {_name(peer)}")
        if isinstance(peer, OtherNode):
            result = await self._node.send_routed(peer.node_id, payload)
        else:
            result = await self._node.send(peer, payload)
        return _told(result, peer, payload) + self._in_the_open(peer)

    def _require_meant(self, command: Command, node: Known) -> None:
        """Check, before anything is sent to a node, that it is the one that the user means.

        Raises:
            ImpostorError: It is not.
        """
        ref = command.peer or ""
        words = self._node.against(ref if is_node_ref(ref) else "", node.node_id, node.name)
        if words:
            raise ImpostorError(f"not sent: {advice_in_bar(words)}")

    def _in_the_open(self, *peers: Known) -> str:
        """The warning that others can read what was sent; for several nodes, to how many of
        them."""
        open_ones = sum(not self._node.seals_for(peer.node_id) for peer in peers)
        if not open_ones:
            return ""
        return ", in the open" if len(peers) == 1 else f", to {open_ones} in the open"

    async def _broadcast(self, command: Command, _node: Known | None, progress: Progress) -> str:
        present = [peer for peer in self._node.peers if peer.status.value == "authenticated"]
        if not present:
            raise LocalError("there is no peer to send to; connect to one first")
        peers = [peer for peer in present if peer.trust is not Trust.CHANGED]
        changed = len(present) - len(peers)
        if not peers:
            raise ImpostorError(f"not sent: {counted(changed, 'peer')}, and each has changed")
        payload = read_payload(command.text)
        progress(f"sending to {counted(len(peers), 'peer')}")
        results = await asyncio.gather(
            *(self._node.send(peer, payload) for peer in peers), return_exceptions=True
        )
        delivered = sum(isinstance(r, SendResult) and r.delivered for r in results)
        told = f"delivered to {delivered} of {counted(len(peers), 'peer')}"
        left_out = f"; not sent to {changed} changed" if changed else ""
        return told + self._in_the_open(*peers) + left_out

    async def _relay(self, command: Command, target: Known, progress: Progress) -> str:
        self._require_meant(command, target)
        servers = [server for server in self._roster.servers() if server.node_id != target.node_id]
        if not servers:
            raise LocalError("there is no server that could relay; connect to one first")
        try:
            data = command.text.encode()
        except UnicodeEncodeError:
            raise UsageError("the text has half of a surrogate pair; take it out") from None
        if isinstance(target, OtherNode):
            # Of several, the one that announced it knows it.
            servers.sort(key=lambda server: server.node_id != target.via)
        progress(f"relaying to {_name(target)}")
        result = await self._node.relay(servers[0], target.node_id, data)
        if result.status is not SendStatus.SENT:
            raise LocalError(f"not relayed: {printable(result.reason or 'refused')}")
        return f"{counted(len(data), 'byte')} relayed to {_name(target)} by {_name(servers[0])}"

    async def _punch(self, _command: Command, target: Known, progress: Progress) -> str:
        progress(f"looking for a direct path to {_name(target)}")
        peer = target if isinstance(target, PeerView) else await self._node.connect(target.node_id)
        if peer.path is not Path.DIRECT:
            peer = await self._node.punch(peer.node_id)
        words = printable(peer.connection.words(relayed=peer.path is Path.RELAY), 400)
        if peer.path is Path.RELAY:
            raise RemoteError(f"{_name(peer)} stays {words}")
        return f"{_name(peer)} at {way_words(peer)}: {words}"

    async def _trust(self, command: Command, node: Known | None, _progress: Progress) -> str:
        before = _trust_of(node)
        met = await self._node.trust(_word_of(command, node))
        was = f"; it was {before}" if before not in ("", "verified") else ""
        return f"{_met_name(met)} is trusted: it is verified{was}"

    async def _forget(self, command: Command, node: Known | None, _progress: Progress) -> str:
        met = await self._node.forget(_word_of(command, node))
        return f"{_met_name(met)} is forgotten: who comes next in its place is new"

    async def _discover(self, _command: Command, _node: Known | None, progress: Progress) -> str:
        if not self._node.stats().connected:
            raise LocalError("there is nobody to ask; connect to a node first")
        progress("asking all peers which nodes they know")
        await self._node.discover()
        return "asked all peers which nodes they know; the answers appear among the peers"


def _kinds(command: Command) -> list[Kind]:
    return [parameter.kind for parameter in command.verb.parameters]


def _concerns_a_peer(command: Command) -> bool:
    kinds = _kinds(command)
    if Kind.ADDRESS in kinds:
        # An address or a whole id needs no known node; any other word names one.
        return command.is_named and canonical_id(command.text) is None
    return Kind.PEER in kinds


def _word_of(command: Command, node: Known | None) -> str:
    """The name of a node that need not be here: as it was typed, or its id."""
    return command.peer or (node.node_id if node is not None else "")


def _trust_of(node: Known | None) -> str:
    trust = node.trust if isinstance(node, PeerView) else None
    return "" if trust is None else trust.value


def _met_name(node: KnownNode) -> str:
    return f"{printable(node.name, 32)} ({node.id})"


def _name(node: Known) -> str:
    return printable(node.name, 32) or node.node_id[:8]


def _told(result: SendResult, peer: Known, payload: object) -> str:
    if result.delivered:
        took = "" if result.rtt_s is None else f" in {result.rtt_s * 1000:.2f} ms"
        # The typed text is counted, not the message that carries it.
        what = counted(len(payload), "character") if isinstance(payload, str) else "JSON"
        return f"delivered {what} to {_name(peer)}{took}"
    if result.status is SendStatus.UNCONFIRMED:
        return f"sent to {_name(peer)}, unconfirmed: {printable(result.reason or '')}"
    raise LocalError(printable(result.failure_words(_name(peer)), 400))
