"""What a key exchange carries inside its messages 2 and 3, and the key of a request that names one.

Inside travels what counts: who a node is. It is MessagePack, each structure an array, so that the
answer stays within one datagram; what follows in an array is for later versions, and passed over.
"""

from typing import Annotated, Final

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from p2ptui.wire.codec import MalformedError
from p2ptui.wire.message import MessageId, NodeInfo, ReceivedNodeInfo, SequenceNumber

Key = Annotated[bytes, Meta(min_length=32, max_length=32)]

REFUSAL_BYTES: Final = 8


class ExchangeKey(Struct):
    """Of the payload of a request: the key that offers a key exchange."""

    exchange: str | UnsetType = UNSET
    retry: str | UnsetType = UNSET


class Account(Struct, array_like=True):
    """Who a node is; its id follows from its keys."""

    ed_public: Key
    name: str
    version: str
    listen_addr: str
    network_id: str
    capabilities: list[str]
    metadata: dict[str, str]


class InAnswer(Struct, array_like=True):
    """Inside message 2."""

    account: Account
    public_addr: str | None
    """Where whoever asked is seen."""
    response_id: MessageId
    """Of the response that it came in, as the next one: nobody on the path has changed them."""
    sequence: SequenceNumber
    refusal: Annotated[bytes, Meta(min_length=REFUSAL_BYTES, max_length=REFUSAL_BYTES)]
    """What a refusal of message 3 names: only who has read this can know it."""


class InFinish(Struct, array_like=True):
    """Inside message 3."""

    account: Account


class InFarAnswer(Struct, array_like=True):
    """Inside message 2 of an exchange by way of others."""

    account: Account
    refusal: Annotated[bytes, Meta(min_length=REFUSAL_BYTES, max_length=REFUSAL_BYTES)]
    """As in `InAnswer`."""


_encoder: Final = msgspec.msgpack.Encoder()
_answers: Final = msgspec.msgpack.Decoder(InAnswer)
_finishes: Final = msgspec.msgpack.Decoder(InFinish)
_far_answers: Final = msgspec.msgpack.Decoder(InFarAnswer)


def account_of(info: NodeInfo, ed_public: bytes) -> Account:
    """What a node says of itself inside."""
    return Account(
        ed_public,
        info.name,
        info.version,
        info.listen_addr,
        info.network_id,
        list(info.capabilities),
        info.metadata,
    )


def as_received(account: Account, node_id: str) -> ReceivedNodeInfo:
    """The same as if it had come outside, to be checked alike.

    Args:
        account: What came inside.
        node_id: The id of the keys that were shown.
    """
    return ReceivedNodeInfo(
        id=node_id,
        name=account.name,
        version=account.version,
        listen_addr=account.listen_addr,
        capabilities=account.capabilities,
        metadata=account.metadata,
        network_id=account.network_id,
    )


def encode_inside(inside: InAnswer | InFinish | InFarAnswer) -> bytes:
    """Write what goes inside."""
    return _encoder.encode(inside)


def decode_answer(data: bytes) -> InAnswer:
    """Read what was inside message 2. MalformedError if it is something else."""
    try:
        return _answers.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise MalformedError(str(error)) from None


def decode_finish(data: bytes) -> InFinish:
    """Read what was inside message 3. MalformedError if it is something else."""
    try:
        return _finishes.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise MalformedError(str(error)) from None


def decode_far_answer(data: bytes) -> InFarAnswer:
    """Read what was inside message 2 that came by way of others. MalformedError if it is something
    else."""
    try:
        return _far_answers.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise MalformedError(str(error)) from None
