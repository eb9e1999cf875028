"""A node's life: it is made, started and closed, and takes other options meanwhile."""

import logging
import random
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from p2ptui.config import Config
from p2ptui.config.reload import take_over
from p2ptui.core.endpoint import Endpoint
from p2ptui.core.sealing import OwnKeys
from p2ptui.errors import ConfigError, LocalError
from p2ptui.io.key_log import KeyLog, key_log_words
from p2ptui.io.machine import Machine, RealMachine
from p2ptui.io.udp import open_udp
from p2ptui.node.files import FileReceiver, open_store, shares_of
from p2ptui.node.known_nodes_book import KnownNodesBook
from p2ptui.node.known_nodes_store import KnownNodesStore
from p2ptui.node.own_endpoint import Own
from p2ptui.node.own_identity import (
    WITHOUT_KEYS,
    OwnIdentity,
    choose_identity,
    key_files,
    keys_of,
)
from p2ptui.node.runtime import OpenSocket, Runtime

if TYPE_CHECKING:
    from p2ptui.node.cluster import ClusterService

log = logging.getLogger("p2ptui.node")


class NodeLife:
    """Start and end of a node; `RunningNode` adds its state, and `Node` what it does.

    Args:
        config: Every option; by default the defaults.
        open_socket: Opens the socket at the listening address; for simulated networks.
        clock: A monotonic clock, seconds.
        rng: The source of ids and jitter; it must be unpredictable, except in tests.
        wall: Unix time, seconds.
        machine: The machine that the node runs on, and may move with; by default this one, or one
            that never moves if the sockets are simulated.
        secured: Whether it has keys and seals its sessions with its own kind. With False it has no
            keys, makes up its own id, and speaks in the open with everybody, to play a node of
            another program. `start` then refuses a configuration that requires keys.
        known_nodes: The file of known nodes; by default that of the user, and none for a node in a
            simulated network.
        key_log: A file to which the keys of its sessions are appended, for debugging: anybody
            with that file can decrypt them. See `io.key_log`.
    """

    def __init__(
        self,
        config: Config | None = None,
        *,
        open_socket: OpenSocket = open_udp,
        clock: Callable[[], float] = time.monotonic,
        rng: random.Random | None = None,
        wall: Callable[[], float] = time.time,
        machine: Machine | None = None,
        secured: bool = True,
        known_nodes: Path | None = None,
        key_log: str | Path | None = None,
    ) -> None:
        self._config = config or Config()
        self._open_socket = open_socket
        self._clock = clock
        self._rng = rng or random.SystemRandom()
        self._wall = wall
        self._machine = machine or (RealMachine() if open_socket is open_udp else None)
        self._known_nodes = known_nodes
        self._started: Runtime | None = None
        self._files: FileReceiver | None = None
        self._cluster: ClusterService | None = None
        self._own: OwnIdentity | None = None
        self._secured = secured
        self._key_log_path = None if key_log is None else Path(key_log)
        self._key_log: KeyLog | None = None
        self._starting = False

    async def start(self) -> None:
        """Bind the listening address, and begin to serve, to search for neighbours and to join
        servers.

        Raises:
            BindError: The listening address is taken or does not exist.
            LocalError: The address does not resolve, the node was started before, the directory
                for files cannot be written, a key file cannot be used, the key log cannot be
                written, or the configuration asks for what only a node with keys can do and this
                node has none.
        """
        if self._started is not None or self._starting:
            raise LocalError("the node was started already; make another one")
        self._starting = True
        try:
            self._own = self._choose_identity()
            keys = self._own_keys(self._own)
            if self._config.cluster.servers and keys is None:
                raise ConfigError(WITHOUT_KEYS)
            store = open_store(self._config, shares_of(lambda: self._config))
            self._started = await Runtime.start(
                self._config,
                Own(self._open_book(), self._own.id, keys),
                self._open_socket,
                self._clock,
                self._rng,
                self._wall,
                self._machine,
            )
            if store is not None:
                self._files = FileReceiver(self._started, lambda: self._config, store)
            if self._config.cluster.servers:
                self._join_cluster(self._started)
        finally:
            self._starting = False
            if self._started is None:
                self._release_identity()

    def _join_cluster(self, runtime: Runtime) -> None:
        from p2ptui.node.cluster import ClusterService  # most nodes serve alone

        self._cluster = ClusterService(runtime, self._config, self._rng)

    @property
    def _is_real(self) -> bool:
        return self._open_socket is open_udp and isinstance(self._rng, random.SystemRandom)

    def _open_book(self) -> KnownNodesBook:
        is_used = self._secured and self._own is not None and self._own.identity is not None
        if not is_used or not (self._is_real or self._known_nodes):
            return KnownNodesBook(self._wall)
        store = KnownNodesStore(self._wall, self._known_nodes)
        return KnownNodesBook(self._wall, store, in_thread=self._is_real)

    def _own_keys(self, own: OwnIdentity) -> OwnKeys | None:
        keys = keys_of(own, self._config)
        if self._key_log_path is None:
            return keys
        if keys is None:
            raise LocalError(
                "this node speaks in the open, so that there are no session keys to write; leave"
                " --key-log out"
            )
        self._key_log = key_log = KeyLog(self._key_log_path, key_files(self._config))
        words = key_log_words(self._key_log_path)
        log.warning(
            "%s", words, extra={"event": "key_log_on", "fields": {"path": str(self._key_log_path)}}
        )
        own.notices += (words,)
        return replace(keys, on_session_keys=partial(key_log.note, own.id))

    @property
    def key_log(self) -> Path | None:
        """The file to which the keys of this node's sessions are written, or None. A user
        interface should show it."""
        return self._key_log_path

    def _choose_identity(self) -> OwnIdentity:
        own = choose_identity(
            self._config, self._rng, simulated=not self._is_real, secured=self._secured
        )
        for notice in own.notices:
            level = logging.INFO if notice in own.all_is_well else logging.WARNING
            log.log(level, "%s", notice, extra={"event": "identity_notice"})
        return own

    def _release_identity(self) -> None:
        if self._own is not None:
            self._own.release()
        if self._key_log is not None:
            self._key_log.close()

    async def close(self, reason: str = "shutting down") -> None:
        """Say goodbye to every peer, send what is left, and release everything. Closing a node
        twice does no harm."""
        try:
            if self._files is not None:
                await self._files.finish()
        finally:
            await self._close_rest(reason)

    async def _close_rest(self, reason: str) -> None:
        try:
            if self._started is not None:
                await self._started.close(reason)
        finally:
            self._release_identity()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    @property
    def _runtime(self) -> Runtime:
        if self._started is None:
            raise LocalError("the node is not running; start it first")
        self._started.require_running()
        return self._started

    @property
    def _endpoint(self) -> Endpoint:
        return self._runtime.endpoint

    @property
    def has_failed(self) -> bool:
        """Whether the node itself has failed; then it can only be closed."""
        return self._started is not None and self._started.failure is not None

    async def wait_failed(self) -> None:
        """Wait until the node itself fails, and raise its error. Never returns otherwise.

        Raises:
            LocalError: The node is not running, or was closed meanwhile.
            Exception: The failure; then the node can only be closed.
        """
        if self._started is None:
            raise LocalError("the node is not running; start it first")
        await self._started.wait_ended()

    def reload(self, config: Config) -> None:
        """Apply another configuration to the running node, as far as options can change
        (docs/background.md lists them).

        Args:
            config: All options. Those that cannot change keep their value.

        Raises:
            LocalError: The node is not running.
            ConfigError: The new values do not go together with those that stay.
        """
        runtime = self._runtime
        self._config, _, _ = take_over(self._config, config)
        runtime.reload(self._config)
