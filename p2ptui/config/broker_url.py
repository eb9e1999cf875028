"""The URL of a NATS server, `nats://HOST:PORT` or `tls://HOST:PORT`: what is wrong with one, and
how it is shown.

The port may be left out. A user and password, or a token, may stand before the host (RFC 3986,
section 3.2.1).
"""

import ipaddress
import re
from typing import Final
from urllib.parse import SplitResult, unquote, urlsplit

from p2ptui.config.option import Form, UnfitError
from p2ptui.wire.address import MAX_PORT

NATS_PORT: Final = 4222
"""Where a NATS server listens if nothing else is said."""

SCHEMES: Final = ("nats", "tls")
HIDDEN: Final = "***"
"""Stands for a user and password where a URL is shown."""

_USER_INFO: Final = re.compile(r"^([a-z]*://|).*@", re.DOTALL)
_PORT: Final = re.compile(r"[0-9]{1,5}")
_BAD_ESCAPE: Final = re.compile(r"%(?![0-9A-Fa-f]{2})")
_LABEL: Final = re.compile(r"[\w-]{1,63}")
MAX_NAME: Final = 253
"""Characters of a host's name (RFC 1035, section 2.3.4)."""


def split_broker(url: str) -> SplitResult:
    """The parts of a broker's URL.

    Raises:
        UnfitError: It is none; the message says why, without a secret in it.
    """
    scheme, slashes, rest = url.partition("://")
    if not slashes or scheme.lower() not in SCHEMES:
        raise UnfitError("it must begin with nats:// or tls://")
    if not url.isprintable() or " " in url:
        raise UnfitError("it holds a space or a control character")
    if "," in rest:
        raise UnfitError("it holds a comma; write each URL as a separate entry")
    place = re.split(r"[/?#]", rest, maxsplit=1)[0]
    if rest.removesuffix("/") != place:
        if "@" in rest[len(place) :]:
            raise UnfitError("write /, ? and # in a user or password as %2F, %3F and %23")
        raise UnfitError("nothing may follow the host and port")
    user_info, at, host_and_port = place.rpartition("@")
    if at:
        _require_user(user_info)
    _require_host_and_port(host_and_port)
    return urlsplit(url)


def shown_broker(url: str) -> str:
    """A broker's URL for people to see: without user, password or token."""
    return _USER_INFO.sub(rf"\1{HIDDEN}@", url)


def reached_broker(url: str) -> str:
    """The same with its port, which the URL may leave out: what is connected to."""
    parts = split_broker(url)
    port = "" if parts.port is not None else f":{NATS_PORT}"
    return f"{shown_broker(url).rstrip('/')}{port}"


def _require_user(user_info: str) -> None:
    if not user_info.partition(":")[0]:
        raise UnfitError("there is no user or token before the @")
    if _BAD_ESCAPE.search(user_info):
        raise UnfitError("write a % in a user or password as %25")
    try:
        unquote(user_info, errors="strict")
    except UnicodeDecodeError:
        raise UnfitError("the %-escapes in the user or password are not UTF-8") from None


def _require_host_and_port(text: str) -> None:
    if text.startswith("["):
        host, bracket, after = text[1:].partition("]")
        is_host = bool(bracket) and _is_ipv6(host) and (not after or after.startswith(":"))
        port = after[1:] if after else None
    else:
        if text.count(":") > 1:
            raise UnfitError("an IPv6 address needs brackets, as in nats://[::1]:4222")
        host, colon, after = text.partition(":")
        port = after if colon else None
        is_host = _is_name(host)
    if not host:
        raise UnfitError("the host is missing")
    if not is_host:
        raise UnfitError("the host is neither a name nor an IP address")
    if port is not None and not (_PORT.fullmatch(port) and 0 < int(port) <= MAX_PORT):
        raise UnfitError(f"the port must be 1 to {MAX_PORT}")


def _is_ipv6(host: str) -> bool:
    try:
        ipaddress.IPv6Address(host)
    except ValueError:
        return False
    return True


def _is_name(host: str) -> bool:
    labels = host.removesuffix(".").split(".")
    if labels[-1].isdecimal():  # no name ends so (RFC 3696, section 2): it is meant as an address
        try:
            ipaddress.IPv4Address(host)
        except ValueError:
            return False
    return len(host) <= MAX_NAME and all(map(_LABEL.fullmatch, labels))


BROKER_URL: Final = Form(
    f"nats://HOST:PORT or tls://HOST:PORT ({NATS_PORT} without :PORT)", split_broker
)
