"""Problems between this server and its broker, on one line: what happened, to what, what to do."""

import asyncio
import re
import socket
import ssl
from typing import Final

from p2ptui.text import cause

AWAY_S: Final = 2.0
"""A broker that is away is tried at least this often."""

REFUSED_S: Final = 10.0
"""A broker that refuses this server until someone changes something is tried this often."""

INSTALL: Final = (
    "[cluster] needs the NATS client, which is not installed: install p2ptui with its extra (in a"
    " checkout: pip install '.[cluster]')"
)

_DENIED: Final = re.compile(r'permissions violation for (\w+)(?: to)? "?([^"]+)')
_REFUSED_WORDS: Final = ("authorization", "authentication", "expired", "revoked")


class BrokerError(Exception):
    """There is no link to the broker, and this is why.

    Args:
        text: One line for people.
        again_s: How soon another attempt may help, at most, seconds.
    """

    def __init__(self, text: str, again_s: float = AWAY_S) -> None:
        super().__init__(text)
        self.again_s = again_s


class StoodStillError(BrokerError):
    """This server stood still for so long that the broker ended its subscription."""


def trouble(error: BaseException, broker: str) -> BrokerError:
    """What went wrong, for people.

    Args:
        error: How an attempt to connect, or a link, ended.
        broker: The broker, without passwords.
    """
    if isinstance(error, BrokerError):
        return error
    if isinstance(error, ssl.SSLCertVerificationError):
        return BrokerError(
            f"the certificate of the broker {broker} is not trusted ({error.verify_message}): set"
            " cluster.tls_ca to its CA file, and use the host name that the certificate has",
            REFUSED_S,
        )
    if isinstance(error, ssl.SSLError):
        why = getattr(error, "reason", None) or error
        return BrokerError(
            f"TLS with the broker {broker} failed ({why}): it may require this server's"
            " certificate (cluster.tls_cert, cluster.tls_key)",
            REFUSED_S,
        )
    if isinstance(error, socket.gaierror):
        return BrokerError(
            f"the host of the broker {broker} was not found ({cause(error)}): check cluster.servers"
        )
    if isinstance(error, asyncio.TimeoutError):
        return BrokerError(
            f"the broker {broker} does not answer: check that nats-server runs there, and that no"
            " firewall is in the way"
        )
    if isinstance(error, ConnectionRefusedError):
        return BrokerError(f"there is no broker at {broker}: start nats-server -js there")
    return _trouble_told(error, broker)


def _trouble_told(error: BaseException, broker: str) -> BrokerError:
    """The same, for errors that can be told only by their text."""
    text = str(error).removeprefix("nats: ").strip("'\" ") or type(error).__name__
    lower = text.lower()
    if (denied := _DENIED.search(lower)) is not None:
        what = "to publish" if denied[1] == "publish" else "to subscribe"
        return BrokerError(
            f"the broker {broker} does not permit this server {what} (subject, in lower case:"
            f" {denied[2]}): give its user what docs/cluster.md lists",
            REFUSED_S,
        )
    if any(word in lower for word in _REFUSED_WORDS):
        return BrokerError(
            f"the broker {broker} refuses this server ({text}): check cluster.credentials, or the"
            " user and password in cluster.servers",
            REFUSED_S,
        )
    if isinstance(error, (ConnectionError, EOFError)) or "unexpected eof" in lower:
        return BrokerError(f"the broker {broker} ended the connection: see its log")
    return BrokerError(f"the broker {broker} cannot be used: {text}")


def no_jetstream(broker: str) -> BrokerError:
    """The broker stores nothing."""
    return BrokerError(
        f"the broker {broker} has no JetStream, at least for this user: start it with"
        " nats-server -js, or enable jetstream for the account",
        REFUSED_S,
    )


def unusable_credentials(path: str, why: str) -> BrokerError:
    """The file that should prove this server's identity cannot be used."""
    return BrokerError(f"cluster.credentials: {path}: {why}", REFUSED_S)
