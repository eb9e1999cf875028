"""A connection to a NATS server: made or refused in a bounded time, and ended without a trace.

The client library can reconnect by itself, but gives up for good when the broker says no, holds
what is written meanwhile, and replays what nobody wants any more. So a connection is used until it
breaks, and another one is made then.
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
"""A connection, and each step of its handshake, takes this long at most; there are two tries."""

MAX_UNSENT_BYTES: Final = 1 << 20
"""Of what was written and not sent yet; who writes waits then. With the connection it is gone."""

MAX_TAKEN_BYTES: Final = 2 << 20
"""Of one message of the broker, and of what has come and was not read yet."""

MAX_CREDENTIALS_BYTES: Final = 65_536
"""Of a file with credentials."""

MAX_CERTIFICATES_BYTES: Final = 1 << 22
"""Of a file with certificates or their key: the CAs of a system have a quarter of a million."""

# It logs what a handler or a message of the broker broke, with tracebacks, to whoever listens.
logging.getLogger("nats").addHandler(logging.NullHandler())


class _BoundedParser(Parser):
    """Reads what comes, and no message that is too long for a buffer: the broker says how long."""

    async def parse(self, data: bytes = b"") -> None:
        await super().parse(data)
        if max(self.needed, len(self.buf)) > MAX_TAKEN_BYTES:
            raise ProtocolError


class BrokerClient(Client):
    """A client that can insist on TLS, can be cut off, and holds no more than it should."""

    insists_on_tls = False
    was_asked = False
    """Whether `_process_info` was called before anything secret was sent."""

    def __init__(self) -> None:
        super().__init__()
        self._ps = _BoundedParser(self)

    async def _process_info(self, info: dict[str, Any], initial_connection: bool = False) -> None:
        info.pop("connect_urls", None)  # where to go is in the options
        if initial_connection:
            self.was_asked = True
            if self.insists_on_tls and not info.get("tls_required"):
                if not info.get("tls_available"):
                    raise _NoTlsError
                info["tls_required"] = True
        await super()._process_info(info, initial_connection)

    def require_asked(self) -> None:
        """A library that has changed, so that nobody has insisted on TLS, is of no use."""
        if self.insists_on_tls and not self.was_asked:
            raise _NoTlsError

    def cut(self) -> None:
        """Give the connection up, whatever is on the way: where it breaks while it is closed, the
        library leaves tasks behind."""
        for subscription in list(self._subs.values()):
            subscription._stop_processing()
        for task in (self._reading_task, self._ping_interval_task, self._flusher_task):
            if task is not None:
                task.cancel()
        writer = getattr(self._transport, "_io_writer", None)
        if writer is not None:
            writer.transport.abort()


class _NoTlsError(Error):
    """The broker does not speak TLS, and the URL says that it must."""


async def connect(
    url: str,
    options: ClusterOptions,
    own_id: str,
    on_error: Callable[[BaseException], None],
    on_closed: Callable[[], None],
) -> BrokerClient:
    """Connect to one NATS server.

    Args:
        url: Which.
        options: How.
        own_id: Of this server: the broker calls the connection so where it shows them, and what is
            answered goes to subjects that begin so, which nobody else has to be able to read.
        on_error: Told what the connection meets later; it may go on or not.
        on_closed: Called when it has ended.

    Raises:
        BrokerError: It did not work; the text says why.
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
            ping_interval=3600,  # the link asks for itself, more often than whole seconds allow
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
    """Find out that the host's name has an address, so that this fails here and not in the
    library: where that is ended meanwhile, uvloop leaves a look-up behind whose failure nobody
    takes."""
    looking = asyncio.get_running_loop().getaddrinfo(broker.hostname, broker.port or NATS_PORT)
    await asyncio.wait_for(looking, CONNECT_S)


async def end(client: BrokerClient) -> None:
    """Close a connection, however it is."""
    with contextlib.suppress(Exception):
        await asyncio.wait_for(client.close(), 1.0)
    client.cut()


def _login(options: ClusterOptions, broker: SplitResult) -> dict[str, Any]:
    """How to prove who this server is; the file is read each time, since such a key is changed."""
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
    """OpenSSL reads all of what it is given, and would wait for whoever writes to a pipe."""
    if path:
        read_ordinary(Path(path), MAX_CERTIFICATES_BYTES)


def _no_password() -> str:
    """Without it OpenSSL would ask on the terminal."""
    raise ValueError("the key has a password")


def _why(error: Exception) -> str:
    return str(getattr(error, "reason", None) or cause(error))
