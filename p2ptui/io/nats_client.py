"""A connection to a NATS server: made or refused within bounded time, and ended cleanly.

The client library can reconnect by itself, but it gives up for good when the broker refuses it,
buffers what is written meanwhile, and replays what nobody wants any more. So a connection is used
until it breaks, and then another one is made.
"""

import asyncio
import contextlib
import logging
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final
from urllib.parse import SplitResult, unquote

from nats.aio.client import Client, RawCredentials
from nats.errors import Error, NoServersError, ProtocolError
from nats.protocol.parser import Parser

from p2ptui.config.broker_url import NATS_PORT, reached_broker, split_broker
from p2ptui.config.cluster_section import ClusterOptions
from p2ptui.io.nats_trouble import REFUSED_S, BrokerError, trouble, unusable_credentials
from p2ptui.ordinary import read_ordinary
from p2ptui.text import cause

CONNECT_S: Final = 2
"""Limit for a connection, and for each step of its handshake; there are two attempts."""

MAX_UNSENT_BYTES: Final = 1 << 20
"""Most bytes written but not sent yet; beyond this, writers wait. It is lost with the
connection."""

MAX_TAKEN_BYTES: Final = 2 << 20
"""Most bytes of one message from the broker, and of data received but not read yet."""

MAX_CREDENTIALS_BYTES: Final = 65_536
"""Most bytes of a credentials file."""

MAX_CERTIFICATES_BYTES: Final = 1 << 22
"""Most bytes of a file with certificates or their key: a system's CAs take a quarter of a million
bytes."""

# The library logs exceptions in handlers or from the broker's messages, with tracebacks.
logging.getLogger("nats").addHandler(logging.NullHandler())


class _BoundedParser(Parser):
    """Parses what comes, but no message too long for a buffer: the broker chooses the length."""

    async def parse(self, data: bytes = b"") -> None:
        await super().parse(data)
        if max(self.needed, len(self.buf)) > MAX_TAKEN_BYTES:
            raise ProtocolError


class BrokerClient(Client):
    """A client that can insist on TLS, can be cut off, and buffers no more than it should."""

    insists_on_tls = False
    was_asked = False
    """Whether `_process_info` was called before anything secret was sent."""

    def __init__(self) -> None:
        super().__init__()
        self._ps = _BoundedParser(self)

    async def _process_info(self, info: dict[str, Any], initial_connection: bool = False) -> None:
        info.pop("connect_urls", None)  # the options say where to connect
        if initial_connection:
            self.was_asked = True
            if self.insists_on_tls and not info.get("tls_required"):
                if not info.get("tls_available"):
                    raise _NoTlsError
                info["tls_required"] = True
        await super()._process_info(info, initial_connection)

    def require_asked(self) -> None:
        """Refuse a library that has changed so that nothing insisted on TLS."""
        if self.insists_on_tls and not self.was_asked:
            raise _NoTlsError

    def cut(self) -> None:
        """Abort the connection, whatever is under way: if it breaks while it is being closed, the
        library leaves tasks behind.
        """
        for subscription in list(self._subs.values()):
            subscription._stop_processing()
        for task in (self._reading_task, self._ping_interval_task, self._flusher_task):
            if task is not None:
                task.cancel()
        writer = getattr(self._transport, "_io_writer", None)
        if writer is not None:
            writer.transport.abort()


class _NoTlsError(Error):
    """The broker does not speak TLS, but the URL requires it."""


async def connect(
    url: str,
    options: ClusterOptions,
    own_id: str,
    on_error: Callable[[BaseException], None],
    on_closed: Callable[[], None],
) -> BrokerClient:
    """Connect to one NATS server.

    Args:
        url: The server's URL.
        options: The options of the connection.
        own_id: This server's id: the broker lists the connection under this name, and answers go to
            subjects that begin with it, which nobody else needs to be able to read.
        on_error: Called with later errors of the connection, which it may survive or not.
        on_closed: Called when it has ended.

    Raises:
        BrokerError: It failed; the text says why.
    """
    broker = reached_broker(url)
    met: list[BaseException] = []

    async def note(error: Exception) -> None:
        met.append(error)
        on_error(error)

    async def close() -> None:
        on_closed()

    client = BrokerClient()
    parts = split_broker(url)
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    arguments = _login(options, parts)
    if parts.scheme == "tls":
        client.insists_on_tls = True
        arguments["tls"] = _tls_context(options)
    try:
        await _look_up(parts)
        await client.connect(
            [f"{parts.scheme}://{host}:{parts.port or NATS_PORT}"],
            name=f"p2ptui {own_id}",
            inbox_prefix=f"_INBOX.{own_id}",
            error_cb=note,
            closed_cb=close,
            allow_reconnect=False,
            max_reconnect_attempts=1,
            reconnect_time_wait=0,
            connect_timeout=CONNECT_S,
            ping_interval=3600,  # the link pings by itself, more often than whole seconds allow
            pending_size=MAX_UNSENT_BYTES,
            flush_timeout=CONNECT_S,
            **arguments,
        )
        client.require_asked()
    except BaseException as error:
        await end(client)
        if not isinstance(error, Exception):
            raise
        cause = met[-1] if isinstance(error, NoServersError) and met else error
        if isinstance(cause, _NoTlsError):
            raise BrokerError(
                f"the broker {broker} does not speak TLS, which its URL requires: nothing was sent"
                " to it; configure TLS there",
                REFUSED_S,
            ) from None
        raise trouble(cause, broker) from None
    return client


async def _look_up(broker: SplitResult) -> None:
    """Check that the host's name has an address, so that a failure occurs here and not in the
    library: there, on cancellation, uvloop leaves a look-up behind whose exception nobody
    retrieves.
    """
    looking = asyncio.get_running_loop().getaddrinfo(broker.hostname, broker.port or NATS_PORT)
    await asyncio.wait_for(looking, CONNECT_S)


async def end(client: BrokerClient) -> None:
    """Close a connection, whatever its state."""
    with contextlib.suppress(Exception):
        await asyncio.wait_for(client.close(), 1.0)
    client.cut()


def _login(options: ClusterOptions, broker: SplitResult) -> dict[str, Any]:
    """How to prove this server's identity; the file is read each time, since such keys are
    rotated.
    """
    if broker.username is not None:
        user = unquote(broker.username)
        if broker.password is None:
            return {"token": user}
        return {"user": user, "password": unquote(broker.password)}
    path = options.credentials
    if not path:
        return {}
    try:
        text = read_ordinary(Path(path), MAX_CREDENTIALS_BYTES).decode()
    except OSError as error:
        raise unusable_credentials(path, f"cannot be read: {cause(error)}") from None
    except UnicodeDecodeError:
        raise unusable_credentials(path, "it is not a text file") from None
    if "BEGIN NATS USER JWT" in text and "BEGIN USER NKEY SEED" in text:
        return {"user_credentials": RawCredentials(text)}
    if text.strip().startswith("SU") and len(text.split()) == 1:
        return {"nkeys_seed_str": text.strip()}
    raise unusable_credentials(
        path, "it contains neither .creds (a JWT and a seed) nor an nkey (SU...)"
    )


def _tls_context(options: ClusterOptions) -> ssl.SSLContext:
    try:
        _require_ordinary(options.tls_ca)
        context = ssl.create_default_context(cafile=options.tls_ca or None)
    except (OSError, ssl.SSLError) as error:
        raise BrokerError(
            f"cluster.tls_ca: {options.tls_ca} holds no certificates ({_why(error)})",
            REFUSED_S,
        ) from None
    if options.tls_cert:
        try:
            _require_ordinary(options.tls_cert)
            _require_ordinary(options.tls_key)
            context.load_cert_chain(options.tls_cert, options.tls_key, password=_no_password)
        except (OSError, ssl.SSLError, ValueError) as error:
            raise BrokerError(
                f"cluster.tls_cert: {options.tls_cert} with {options.tls_key} cannot be used"
                f" ({_why(error)})",
                REFUSED_S,
            ) from None
    return context


def _require_ordinary(path: str) -> None:
    """Refuse other kinds of files: OpenSSL reads everything, and would wait forever on a pipe."""
    if path:
        read_ordinary(Path(path), MAX_CERTIFICATES_BYTES)


def _no_password() -> str:
    """No password: otherwise OpenSSL would ask on the terminal."""
    raise ValueError("the key has a password")


def _why(error: Exception) -> str:
    return str(getattr(error, "reason", None) or cause(error))
