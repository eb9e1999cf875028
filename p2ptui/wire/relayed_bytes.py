"""Relayed bytes as deployed programs write them, a JSON list of integers: passed on as they came.

A list that is written as this node would write it (digits, commas and nothing else) is checked, and
passed on as the same text. Any other list is parsed and written anew.
"""

from typing import Final

import msgspec
from msgspec import UNSET

from p2ptui.wire.codec import MalformedError, decode_payload, encode_payload
from p2ptui.wire.message import (
    Byte,
    Envelope,
    ReceivedRelayRequest,
    RelayedText,
    RelayRequestPayload,
)

_AS_WRITTEN: Final = b"0123456789,[]"
_bytes_decoder: Final = msgspec.json.Decoder(list[Byte])


def read_relay_request(
    message: Envelope, kind: type[RelayRequestPayload] = RelayRequestPayload
) -> RelayedText:
    """Read a RelayRequest.

    Args:
        message: The request.
        kind: The class to decode its payload as, where it must be decoded whole.

    Raises:
        MalformedError: It is not a RelayRequest; the message says where.
    """
    payload = message.payload
    try:
        request = decode_payload(payload, ReceivedRelayRequest)
        written = bytes(request.data)
        if not written.translate(None, _AS_WRITTEN):
            _bytes_decoder.decode(written)
            request_id = None if request.request_id is UNSET else request.request_id
            return RelayedText(request.target_peer_id, written, request_id)
    except (MalformedError, msgspec.DecodeError):
        pass  # the fault is found below
    whole = decode_payload(payload, kind)
    request_id = None if whole.request_id is UNSET else whole.request_id
    return RelayedText(whole.target_peer_id, bytes(encode_payload(whole.data)), request_id)
