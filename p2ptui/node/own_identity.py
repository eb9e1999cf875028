"""Who this node is: its user's lasting identity, one for this run, or only a configured id.

A lasting identity is in a file, which one running node uses at a time. Another node of the same
user gets keys that last as long as it runs, and a statement by the lasting identity that it belongs
to it.
"""

import hashlib
import logging
import math
import random
import secrets
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from p2ptui.config import Config
from p2ptui.config.security_section import OPEN_BY_ID, key_notices, wish_for_keys
from p2ptui.core.sealing import Mode, OwnKeys
from p2ptui.errors import ConfigError, LocalError
from p2ptui.io.key_files import (
    KeyFile,
    KeyFileError,
    KeyFileExistsError,
    NoKeyFileError,
    create_key_file,
    read_key_file,
    require_place,
)
from p2ptui.places import user_file
from p2ptui.secure.identity import (
    STATEMENT_LIFE_S,
    Identity,
    Statement,
    is_made_of_keys,
    make_statement,
)
from p2ptui.secure.secret import SECRET_BYTES, KeyKind, Secret
from p2ptui.tagged import tagged

log = logging.getLogger("p2ptui.node")

FILE_NAME: Final = "identity.key"

NO_HOME: Final = (
    "there is no home directory to keep an identity in: this node takes a new id each time; name a"
    " file with --identity"
)

WITHOUT_KEYS: Final = (
    "this node has no keys, and servers of a cluster know each other by their keys: leave out"
    " server.node_id, or leave cluster.servers empty"
)


@dataclass(slots=True)
class OwnIdentity:
    """Who a node is while it runs; call `release` when it has ended.

    Args:
        identity: Its keys; None for an open node: its id is configured, which no keys produce, or
            it was asked to be open.
        id: Its node id.
        is_ephemeral: Whether the keys last as long as the node runs.
        signer_of: For an ephemeral node that shows who owns it: loads its user's lasting identity,
            but only when needed, since a short command may not need it.
        unsigned: Why a node that would show it does not, and what to do; empty if it does.
        notices: What the user should know about it, one line each.
        all_is_well: The notices that are not warnings.
        network_key: The key that all nodes of the network share; None without one.
    """

    identity: Identity | None
    id: str
    is_ephemeral: bool = False
    signer_of: Callable[[], Identity] | None = None
    notices: tuple[str, ...] = ()
    all_is_well: tuple[str, ...] = ()
    network_key: Secret | None = None
    unsigned: str = ""
    file: KeyFile | None = None
    _signer: Identity | None = None
    _stated: bytes = b""
    _stated_at: float = -math.inf

    def statement(self, now_wall: float) -> Statement | None:
        """A newly signed statement of who owns this ephemeral node; None for a lasting node, or
        without a signer.

        Args:
            now_wall: Unix time, seconds.
        """
        if not self.signer_id or self._signer is None:
            return None
        return make_statement(self._signer, self.id, now_wall)

    def statement_bytes(self, now_wall: float) -> bytes:
        """The same in its form inside a key exchange; empty if there is none. It is signed once for
        half of its validity.

        Args:
            now_wall: Unix time, seconds.
        """
        age_s = now_wall - self._stated_at
        if not 0 <= age_s < STATEMENT_LIFE_S / 2:
            statement = self.statement(now_wall)
            self._stated = b"" if statement is None else statement.to_bytes()
            self._stated_at = now_wall
        return self._stated

    @property
    def signer_id(self) -> str:
        """For an ephemeral node: the id of its user's lasting identity; empty without one."""
        if self.signer_of is not None:
            self._signer, self.signer_of = self.signer_of(), None
        return "" if self._signer is None else self._signer.id

    def release(self) -> None:
        """Let another node use the identity's file. Calling it twice is fine."""
        if self.file is not None:
            self.file.close()


def choose_identity(
    config: Config, rng: random.Random, *, simulated: bool = False, secured: bool = True
) -> OwnIdentity:
    """Choose who a node will be.

    Args:
        config: Every option.
        rng: The source of a simulated node's keys.
        simulated: Whether the node runs in a simulated network: then its keys come from `rng`, and
            no file is read or written except one named in the configuration.
        secured: Whether it has keys at all; without them no file is read or made.

    Raises:
        KeyFileError: The file of the identity, or of the network key, cannot be used.
        LocalError: The identity is in use by another node; or the node is to be open, but the
            configuration requires keys.
    """
    if not secured:
        _require_no_wish_for_keys(config)
        return OwnIdentity(None, _open_id(config, rng))
    network_key = network_key_of(config)  # first: if it fails, no identity is made
    own = _choose(config, rng, simulated=simulated)
    own.network_key = network_key
    if own.identity is not None:
        own.notices += key_notices(config.security, network_key)
    return own


@dataclass(frozen=True, slots=True)
class NodeIdentity:
    """Who a node is to others, and how it protects its messages.

    Args:
        id: Its node id.
        secured: Whether it has keys, and so encrypts its sessions with other nodes with keys.
        ephemeral: Whether its keys last only while it runs.
        signer_id: For an ephemeral node, the id of its user's lasting identity, which others see it
            as; empty if it has none.
        mode: `open`, `prefer` or `require` (`security.mode`).
        has_network_key: Whether it has a network key. Other nodes with keys then need the key too,
            unless their ids are on `security.allowed_ids`. Programs without keys still come in, in
            the open, unless the mode is `require`.
    """

    id: str
    secured: bool
    ephemeral: bool
    signer_id: str
    mode: Mode
    has_network_key: bool


def identity_of(own: OwnIdentity, config: Config, *, is_secured: bool) -> NodeIdentity:
    """The public view of a node's identity.

    Args:
        own: Who it is.
        config: Every option.
        is_secured: Whether it was made to secure its sessions.
    """
    secured = is_secured and own.identity is not None
    mode = Mode(config.security.mode) if secured else Mode.OPEN
    has_key = secured and own.network_key is not None
    return NodeIdentity(own.id, secured, own.is_ephemeral, own.signer_id, mode, has_key)


def keys_of(own: OwnIdentity, config: Config) -> OwnKeys | None:
    """A node's keys for secured sessions; None for an open node.

    Args:
        own: Who it is.
        config: Every option.
    """
    if own.identity is None:
        return None
    security = config.security
    allowed = frozenset(each.lower() for each in security.allowed_ids)
    return OwnKeys(
        own.identity,
        own.network_key,
        Mode(security.mode),
        allowed,
        ephemeral=own.is_ephemeral,
        statement=own.statement_bytes,
    )


def _require_no_wish_for_keys(config: Config) -> None:
    """Refuse to run more openly than the user asked for."""
    wish = wish_for_keys(config.security, config.network_key)
    if wish:
        raise LocalError(
            f"{wish} takes a node with keys, and this one was asked to be open (secured=False):"
            " leave one of the two out"
        )


def _open_id(config: Config, rng: random.Random) -> str:
    """The id of a node without keys: the configured one, or a random one."""
    drawn = uuid.UUID(int=rng.getrandbits(128), version=4)
    return config.server.node_id.lower() or str(drawn)


def network_key_of(config: Config) -> Secret | None:
    """The network's key, from the environment or its file; None without one.

    Raises:
        KeyFileError: The file cannot be used.
    """
    security = config.security
    if not security.network_key_file:
        return config.network_key
    path = Path(security.network_key_file)
    try:
        return read_key_file(path, KeyKind.NETWORK)
    except NoKeyFileError:
        raise KeyFileError(
            f"{path}: there is no such file; make one with: p2ptui key new --output FILE"
        ) from None


def identity_path(config: Config) -> Path | None:
    """The file of a lasting identity; None for a user without a home."""
    named = config.security.identity
    return Path(named) if named else user_file("data", FILE_NAME)


def key_files(config: Config) -> tuple[Path, ...]:
    """The key files that a node uses, or that a later node of this user would; they may be
    missing.
    """
    network_key_file = config.security.network_key_file
    paths = (identity_path(config), Path(network_key_file) if network_key_file else None)
    return tuple(path for path in paths if path is not None)


def identity_notices(config: Config) -> tuple[str, ...]:
    """The notices that `choose_identity` would give for a node that is about to start; no file is
    made or locked.

    Raises:
        KeyFileError: The file of the identity, or of the network key, cannot be used.
        ConfigError: The configured id cannot be used.
    """
    notices = key_notices(config.security, network_key_of(config))
    if config.server.node_id:
        _refuse_made_of_keys(config.server.node_id)
        return (OPEN_BY_ID,)
    if config.security.ephemeral:
        return notices
    path = identity_path(config)
    if path is None:
        return (NO_HOME, *notices)
    try:
        KeyFile(path, KeyKind.SEED).close()
    except NoKeyFileError:
        try:
            require_place(path)
        except KeyFileError as error:
            if config.security.identity:
                raise
            return (_not_kept(error), *notices)
    return notices


def require_keys_for_cluster(config: Config) -> None:
    """Refuse a server of a cluster that would have no keys.

    Raises:
        ConfigError: Its id is configured.
    """
    if config.cluster.servers and config.server.node_id:
        raise ConfigError(WITHOUT_KEYS)


def _not_kept(error: KeyFileError) -> str:
    return f"{error}: this node takes a new id each time; name another file with --identity"


def _refuse_made_of_keys(node_id: str) -> None:
    if is_made_of_keys(node_id.lower()):
        raise ConfigError(
            f"server.node_id = {node_id}: an id of version 8 is made from keys, and other"
            " nodes reject it without them; use one of version 4, or leave node_id out"
        )


def _choose(config: Config, rng: random.Random, *, simulated: bool) -> OwnIdentity:
    node_id = config.server.node_id
    if node_id:
        _refuse_made_of_keys(node_id)
        return OwnIdentity(None, node_id.lower(), notices=(OPEN_BY_ID,))
    if config.security.identity:
        return _named(Path(config.security.identity))
    if simulated:
        return _ephemeral(hashlib.sha256(rng.getrandbits(128).to_bytes(16, "big")).digest())
    if config.security.ephemeral:
        return _ephemeral() if config.signed_by is None else _of_command(config.signed_by)
    path = identity_path(config)
    if path is None:
        return _ephemeral(notice=NO_HOME)
    return _usual(path)


def _named(path: Path) -> OwnIdentity:
    """The identity in a file named by the user."""
    file, is_new = _open_or_create(path)
    if not file.lock():
        file.close()
        raise LocalError(
            f"{path}: another running node uses this identity; end that one, or leave --identity"
            " out (in a file: security.identity)"
        )
    own = _lasting(file)
    if is_new:
        words = f"a new identity was made in {path}: the id of this node is {own.id}"
        own.notices = own.all_is_well = (words,)
    return own


def _usual(path: Path) -> OwnIdentity:
    """The identity in the user's directory; for a second node, an ephemeral one signed by it."""
    try:
        file, is_new = _open_or_create(path)
    except _NotKeptError as error:
        return _ephemeral(notice=_not_kept(error))
    if file.lock():
        if is_new:
            log.debug(
                "a new identity was made in %s", path, extra=tagged("identity_made", path=str(path))
            )
        return _lasting(file)
    file.close()
    signer = Identity(file.key)
    own = _ephemeral(signer_of=lambda: signer)
    own.notices = own.all_is_well = (
        f"your identity {signer.id} is in use by another node: this node uses the temporary id"
        f" {own.id}",
    )
    return own


def _of_command(signed_by: str) -> OwnIdentity:
    """The identity of a command's node: new keys, signed by the user's lasting ones, if there are
    any.
    """
    path = Path(signed_by) if signed_by else user_file("data", FILE_NAME)
    try:
        seed = None if path is None else read_key_file(path, KeyKind.SEED)
    except NoKeyFileError:
        seed = None
    except KeyFileError as error:
        own = _ephemeral()
        own.unsigned = f"{error}; until then this command does not show whose it is"
        log.warning("%s", own.unsigned, extra=tagged("identity_unsigned"))
        return own
    return _ephemeral() if seed is None else _ephemeral(signer_of=partial(Identity, seed))


class _NotKeptError(KeyFileError):
    """A new identity cannot be written to its file."""


def _open_or_create(path: Path) -> tuple[KeyFile, bool]:
    """Open an identity's file, making it if it is missing; return whether it was made."""
    try:
        return KeyFile(path, KeyKind.SEED), False
    except NoKeyFileError:
        pass
    is_new = True
    try:
        create_key_file(path, KeyKind.SEED, Secret(secrets.token_bytes(SECRET_BYTES)))
    except KeyFileExistsError:
        is_new = False  # another node was quicker
    except KeyFileError as error:
        raise _NotKeptError(str(error)) from None
    return KeyFile(path, KeyKind.SEED), is_new


def _lasting(file: KeyFile) -> OwnIdentity:
    identity = Identity(file.key)
    return OwnIdentity(identity, identity.id, file=file)


def _ephemeral(
    seed: bytes | None = None,
    *,
    signer_of: Callable[[], Identity] | None = None,
    notice: str = "",
) -> OwnIdentity:
    identity = Identity(Secret(seed or secrets.token_bytes(SECRET_BYTES)))
    notices = (notice,) if notice else ()
    return OwnIdentity(
        identity, identity.id, is_ephemeral=True, signer_of=signer_of, notices=notices
    )
