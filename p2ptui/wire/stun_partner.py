"""What two nodes that are each other's STUN partners say to each other, as typed values."""

from typing import Annotated

from msgspec import Meta, Struct

from p2ptui.wire.message import Port


class StunPartnerPayload(Struct, omit_defaults=True):
    """The ports on which a STUN partner serves, at the address at which it is seen."""

    primary: Port | None = None
    alternate_port: Port | None = None


class StunDelegationPayload(Struct, omit_defaults=True):
    """A STUN reply that the partner is to send."""

    transaction_id: Annotated[str, Meta(max_length=32)]
    """Of the request, in hexadecimal digits."""
    client: str
    """Where the request came from."""
    to_port: Port
    """The client's port that the reply goes to."""
    place: str
    """The partner's socket that sends the reply: `primary` or `alternate_port`."""
    other_address: str | None = None
    """The server's other address that the reply names."""
    fingerprint: bool = False


class StunDelegatedPayload(Struct):
    """The partner has sent the reply."""

    transaction_id: Annotated[str, Meta(max_length=32)]
