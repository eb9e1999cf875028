"""What a key exchange carries inside its messages 2 and 3, and the request field that offers one.

What counts travels inside: who a node is. It is MessagePack, each structure an array, so that the
answer fits one datagram; additional elements of an array are from later versions, and ignored.
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
"""Longest network id, in UTF-8, that is carried inside as it is."""

BOOT_BYTES: Final = 8

MAX_STATEMENT: Final = 256
"""Bytes of a statement; one of this version has 136."""


class ExchangeKey(Struct):
    """The field of a request's payload that offers a key exchange."""

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
    """Whether the keys last only as long as the node runs."""
    statement: Annotated[bytes, Meta(max_length=MAX_STATEMENT)] = b""
    """Of an ephemeral node: who owns it, signed by its user's identity; empty without one. Written
    by `secure.identity.Statement.to_bytes`.
    """
    boot: Annotated[bytes, Meta(max_length=BOOT_BYTES)] = b""
    """Made anew each time the node starts; empty if it names none. A sealed offer for the node
    names it.
    """


class InAnswer(Struct, array_like=True):
    """Inside message 2."""

    account: Account
    public_addr: str | None
    """The address at which the requesting node is seen."""
    response_id: MessageId
    """Id of the response that carries it; the next field is its sequence number. Proof that nobody
    on the path has changed them.
    """
    sequence: SequenceNumber
    refusal: Annotated[bytes, Meta(min_length=REFUSAL_BYTES, max_length=REFUSAL_BYTES)]
    """What a refusal of message 3 must name: only a node that has read this can know it."""
    is_choosy: bool = False
    """Whether it depends on the requester's identity, which message 3 shows, if there is a session:
    the requester knows that it has one when the first frame comes.
    """


class InFinish(Struct, array_like=True):
    """Inside message 3."""

    account: Account


class InFarAnswer(Struct, array_like=True):
    """Inside message 2 of an exchange by way of other nodes."""

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
    """A node's account of itself, for the inside of an exchange.

    Args:
        info: The node's description.
        ed_public: Its public key for statements.
        ephemeral: Whether its keys last only as long as it runs.
        statement: Who owns it, if they are ephemeral.
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
    """A network's id as it is carried inside: a long one as its hash, so that the answer fits."""
    data = network_id.encode("utf-8", "replace")
    if len(data) <= LONGEST_NETWORK_BYTES:
        return network_id
    return f"sha256:{hashlib.sha256(data).hexdigest()[:32]}"


def as_received(account: Account, node_id: str, network_id: str = "") -> ReceivedNodeInfo:
    """The account as if it had come outside, so that both are checked alike.

    Args:
        account: What came inside.
        node_id: The id of the keys that were shown.
        network_id: This node's network, which its inside form stands for.
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
    """Shorter accounts to send when the full one does not fit a datagram, the longest first: others
    learn the owner and the end of the name when they ask the node itself.
    """
    account = msgspec.structs.replace(account, statement=b"")
    yield account
    for length in _NAME_BYTES:
        name = account.name.encode("utf-8", "replace")[:length].decode("utf-8", "ignore")
        yield msgspec.structs.replace(account, name=name)


def encode_inside(inside: InAnswer | InFinish | InFarAnswer) -> bytes:
    """Write what goes inside."""
    return _encoder.encode(inside)


def decode_answer(data: bytes) -> InAnswer:
    """Read what was inside message 2. MalformedError if it is malformed."""
    try:
        return _answers.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise MalformedError(str(error)) from None


def decode_finish(data: bytes) -> InFinish:
    """Read what was inside message 3. MalformedError if it is malformed."""
    try:
        return _finishes.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise MalformedError(str(error)) from None


def decode_far_answer(data: bytes) -> InFarAnswer:
    """Read what was inside message 2 of an exchange by way of other nodes. MalformedError if it is
    malformed.
    """
    try:
        return _far_answers.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise MalformedError(str(error)) from None
