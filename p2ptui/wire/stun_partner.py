"""What two nodes that are each other's STUN partners say to each other, as typed values."""

from typing import Annotated

from msgspec import Meta, Struct

from p2ptui.wire.message import Port


class StunPartnerPayload(Struct, omit_defaults=True):
    """On which ports a STUN partner serves, at the address that it is seen at."""

    primary: Port | None = None
    alternate_port: Port | None = None


class StunDelegationPayload(Struct, omit_defaults=True):
    """A STUN reply that the partner is to send."""

    transaction_id: Annotated[str, Meta(max_length=32)]
    """Of the request, in hexadecimal digits."""
    client: str
    """Whence the request came."""
    to_port: Port
    """The port of the client that the reply goes to."""
    place: str
    """The partner's socket that it leaves by: `primary` or `alternate_port`."""
    other_address: str | None = None
    """What the reply says of the server's other address."""
    fingerprint: bool = False


class StunDelegatedPayload(Struct):
    """The partner has sent it."""

    transaction_id: Annotated[str, Meta(max_length=32)]
