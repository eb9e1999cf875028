"""The bucket of a network: its configuration, and the check of an existing one."""

from typing import Final

from nats.errors import NoRespondersError
from nats.js import JetStreamContext, api
from nats.js.errors import APIError, NotFoundError, ServiceUnavailableError

from p2ptui.io.nats_names import Names
from p2ptui.io.nats_trouble import REFUSED_S, BrokerError, no_jetstream
from p2ptui.text import seconds_words
from p2ptui.wire.cluster import MAX_PRESENCE_BYTES

MAX_ENTRY_BYTES: Final = MAX_PRESENCE_BYTES + 512
"""Most bytes of a message that sets an entry, including its headers."""

ENTRY_BYTES: Final = 1024
"""Average disk space per node at the broker."""

_NO_ROOM: Final = frozenset({10023, 10028, 10047})
"""Error codes of JetStream: no memory or storage left, for the account or on the machine."""

_NO_JETSTREAM: Final = frozenset({10035, 10039, 10076})
"""JetStream is off for the account, or altogether."""


def bucket_shape(names: Names, heartbeat_s: float, max_nodes: int) -> api.StreamConfig:
    """The bucket as a stream, which any program for key-value buckets can read.

    On disk, since memory is lost in a crash; one value per key; an entry that is not put again for
    three heartbeats expires; a full bucket refuses new entries instead of dropping old ones.
    """
    ttl_s = round(3 * heartbeat_s, 3)
    return api.StreamConfig(
        name=names.stream,
        description="p2ptui: which server holds which node",
        subjects=[f"{names.keys}>"],
        retention=api.RetentionPolicy.LIMITS,
        storage=api.StorageType.FILE,
        discard=api.DiscardPolicy.NEW,
        max_msgs_per_subject=1,
        max_age=float(ttl_s),
        max_bytes=max_nodes * ENTRY_BYTES,
        max_msg_size=MAX_ENTRY_BYTES,
        # No order is sent twice: detecting duplicates costs the broker memory.
        duplicate_window=min(ttl_s, 1.0),
        deny_delete=True,
        allow_rollup_hdrs=True,
        num_replicas=1,
    )


async def require_bucket(js: JetStreamContext, shape: api.StreamConfig, broker: str) -> int:
    """Make sure that the bucket exists, creating it if needed.

    Args:
        js: The broker's JetStream.
        shape: Its required configuration.
        broker: The broker's name.

    Returns:
        The highest revision ever assigned there.

    Raises:
        BrokerError: It cannot be created, or is configured differently.
    """
    name = shape.name or ""
    try:
        try:
            info = await js.stream_info(name)
        except NotFoundError:
            info = await js.add_stream(shape)
    except (NoRespondersError, ServiceUnavailableError):
        raise no_jetstream(broker) from None
    except APIError as error:
        raise _refused(error, shape, broker) from None
    if (differs := _difference(info.config, shape)) is not None:
        bucket = name.removeprefix("KV_")
        raise BrokerError(
            f"the bucket {bucket} of the broker {broker} is configured differently: {differs} stop"
            f" all servers of the network and delete the bucket (nats kv del {bucket}, or see"
            " docs/cluster.md): the first server to start creates it again",
            REFUSED_S,
        )
    return info.state.last_seq


def _refused(error: APIError, shape: api.StreamConfig, broker: str) -> BrokerError:
    if error.err_code in _NO_JETSTREAM:
        return no_jetstream(broker)
    if error.err_code in _NO_ROOM:
        return BrokerError(
            f"the broker {broker} has no room for {shape.max_bytes} bytes (cluster.max_nodes of"
            f" {ENTRY_BYTES} each): lower that, or raise max_file_store of JetStream"
            f" ({error.description})",
            REFUSED_S,
        )
    return BrokerError(
        f"the broker {broker} did not create the bucket {shape.name}: {error.description}"
    )


def _difference(is_: api.StreamConfig, shape: api.StreamConfig) -> str | None:
    """What is wrong with an existing bucket, as the first part of the advice; None if it will do.
    It may be larger, and replicated on several servers of the broker.
    """
    if (ttl_s := float(is_.max_age or 0)) != float(shape.max_age or 0):
        return _other_heartbeat(ttl_s, float(shape.max_age or 0))
    exact = (
        ("subjects", is_.subjects, shape.subjects),
        ("retention", is_.retention, shape.retention),
        ("storage", is_.storage, shape.storage),
        ("history", is_.max_msgs_per_subject, shape.max_msgs_per_subject),
    )
    for what, has, wanted in exact:
        if has != wanted:
            return f"its {what} is {_plain(has)}, and must be {_plain(wanted)};"
    if is_.mirror or is_.sources or is_.sealed or is_.no_ack:
        return "it is a mirror, collects other streams, is sealed, or does not acknowledge;"
    for what, size, least in (
        ("largest value", is_.max_msg_size, MAX_ENTRY_BYTES),
        ("size", is_.max_bytes, ENTRY_BYTES),
    ):
        if size is not None and 0 <= size < least:
            return f"its {what} is {size} bytes, and must be at least {least};"
    return None


def _other_heartbeat(has_s: float, wanted_s: float) -> str:
    """The bucket was made for another heartbeat: most likely this server is the odd one out."""
    if has_s <= 0:
        return "its entries never expire;"
    return (
        f"its entries expire after {seconds_words(has_s)}, not {seconds_words(wanted_s)}; set"
        f" cluster.heartbeat = {round(has_s / 3, 3)} here to match; or, to change it everywhere,"
    )


def _plain(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return str(getattr(value, "value", value))
