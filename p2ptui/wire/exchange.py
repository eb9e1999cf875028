"""What a key exchange carries inside its messages 2 and 3, and the key of a request that names one.

Inside travels what counts: who a node is. It is MessagePack, each structure an array, so that the
answer stays within one datagram; what follows in an array is for later versions, and passed over.
"""

import hashlib
from collections.abc import Iterator
from typing import Annotated, Final

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from p2ptui.wire.codec import MalformedError
from p2ptui.wire.message import MessageId, NodeInfo, ReceivedNodeInfo, SequenceNumber

Key = Annotated[bytes, Meta(min_length=32, max_length=32)]

REFUSAL_BYTES: Final = 8

LONGEST_NETWORK_BYTES: Final = 64
"""In UTF-8, of a network's id that stands inside as it is."""

BOOT_BYTES: Final = 8

MAX_STATEMENT: Final = 256
"""Bytes of a statement; those of this version have 136."""


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
    ephemeral: bool = False
    """Whether the keys last no longer than the node runs."""
    statement: Annotated[bytes, Meta(max_length=MAX_STATEMENT)] = b""
    """Of an ephemeral node: whose it is, signed by its user's identity; empty without one. As
    `secure.identity.Statement.to_bytes` writes it."""
    boot: Annotated[bytes, Meta(max_length=BOOT_BYTES)] = b""
    """Made anew each time the node starts; empty: it names none. An offer for it names this."""


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
    is_choosy: bool = False
    """Whether it depends on who asks, which message 3 shows, if there is a session: whoever asks
    has one when the first frame comes."""


class InFinish(Struct, array_like=True):
    """Inside message 3."""

    account: Account


class InFarAnswer(Struct, array_like=True):
    """Inside message 2 of an exchange by way of others."""

    account: Account
    refusal: Annotated[bytes, Meta(min_length=REFUSAL_BYTES, max_length=REFUSAL_BYTES)]
    """As in `InAnswer`."""


_NAME_BYTES: Final = (128, 96, 64, 32)

_encoder: Final = msgspec.msgpack.Encoder()
_answers: Final = msgspec.msgpack.Decoder(InAnswer)
_finishes: Final = msgspec.msgpack.Decoder(InFinish)
_far_answers: Final = msgspec.msgpack.Decoder(InFarAnswer)


def account_of(
    info: NodeInfo,
    ed_public: bytes,
    *,
    ephemeral: bool = False,
    statement: bytes = b"",
    boot: bytes = b"",
) -> Account:
    """What a node says of itself inside.

    Args:
        info: Who it is.
        ed_public: Its key for statements.
        ephemeral: Whether its keys last no longer than it runs.
        statement: Whose it is then.
        boot: What it made when it started.
    """
    return Account(
        ed_public,
        info.name,
        info.version,
        info.listen_addr,
        network_inside(info.network_id),
        list(info.capabilities),
        info.metadata,
        ephemeral,
        statement,
        boot,
    )


def network_inside(network_id: str) -> str:
    """A network's id as it stands inside: of a long one its hash, so that the answer fits."""
    data = network_id.encode("utf-8", "replace")
    if len(data) <= LONGEST_NETWORK_BYTES:
        return network_id
    return f"sha256:{hashlib.sha256(data).hexdigest()[:32]}"


def as_received(account: Account, node_id: str, network_id: str = "") -> ReceivedNodeInfo:
    """The same as if it had come outside, to be checked alike.

    Args:
        account: What came inside.
        node_id: The id of the keys that were shown.
        network_id: This node's network: what stands inside for it means it.
    """
    is_own = account.network_id == network_inside(network_id)
    return ReceivedNodeInfo(
        id=node_id,
        name=account.name,
        version=account.version,
        listen_addr=account.listen_addr,
        capabilities=account.capabilities,
        metadata=account.metadata,
        network_id=network_id if is_own else account.network_id,
    )


def shorter_accounts(account: Account) -> Iterator[Account]:
    """What a node may say in place of an account that does not fit a datagram, the longest first:
    whose it is, and the end of its name, others learn when it asks them itself."""
    account = msgspec.structs.replace(account, statement=b"")
    yield account
    for length in _NAME_BYTES:
        name = account.name.encode("utf-8", "replace")[:length].decode("utf-8", "ignore")
        yield msgspec.structs.replace(account, name=name)


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
