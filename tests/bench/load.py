"""The load generator of the loopback benchmark: a process of its own, bounded in count and time.

It shakes hands if the server is a node, and then keeps a number of messages in flight. If there is
a C compiler, the compiled generator takes over the socket after the handshake, so that no server
waits for a load made by Python.
"""

import argparse
import json
import os
import socket
import time
import uuid
from typing import Any, Final

HANDSHAKE_TIMEOUT_S: Final = 5.0
PATIENCE_S: Final = 0.1
"""A message not answered after this time is lost."""

TEXT: Final = "x" * 64
PAYLOADS: Final[dict[str, Any]] = {
    "Ping": {"nonce": "0123456789abcdef"},
    "Data": {"text": TEXT},
}


def template(kind: str) -> str:
    """A message whose id begins with eight zeros."""
    return _message(kind, PAYLOADS[kind], "00000000-0000-4000-8000-feedfeedfeed")


def message(kind: str, payload: Any, message_id: str, **fields: Any) -> str:
    """The text of a message that requires no Ack, unless the fields say so."""
    made = {
        "id": message_id,
        "message_type": kind,
        "timestamp": int(time.time()),
        "payload": payload,
        "sequence_number": None,
        "requires_ack": False,
        "ack_for": None,
    }
    return json.dumps(made | fields, separators=(",", ":"))


_message = message


def shake_hands(sock: socket.socket, server: tuple[str, int]) -> None:
    """Become a peer that has proved its address, without extensions."""
    sock.settimeout(HANDSHAKE_TIMEOUT_S)
    node_id = str(uuid.uuid4())
    payload = {"node_id": node_id, "listen_addr": "127.0.0.1:1", "capabilities": ["data_transfer"]}
    request = _message(
        "HandshakeRequest",
        payload | {"metadata": {"padding": " " * 500}},
        str(uuid.uuid4()),
        sequence_number=1,
        requires_ack=True,
    )
    sock.sendto(request.encode(), server)
    while True:
        answer = json.loads(sock.recv(65_535))
        if answer["message_type"] == "HandshakeResponse":
            assert answer["payload"]["success"], answer
            key = answer["sequence_number"] or answer["id"]
            ack = _message("Ack", None, str(uuid.uuid4()), ack_for=key)
            sock.sendto(ack.encode(), server)
            break
    sock.settimeout(0.3)
    try:
        while True:
            sock.recv(65_535)  # the peer list, and other opening messages
    except TimeoutError:
        pass


def generate(
    sock: socket.socket, server: tuple[str, int], text: str, count: int, seconds: float, window: int
) -> tuple[int, float, int]:
    """Send messages, and count the answers.

    Returns:
        Answers, the seconds that they took, and messages without an answer.
    """
    sock.settimeout(PATIENCE_S)
    head, _, tail = text.partition("00000000")
    sent = answers = lost = under_way = 0
    began = last = time.perf_counter()
    while answers + lost < count and last - began < seconds:
        while under_way < window and sent < count:
            sent += 1
            under_way += 1
            sock.sendto(f"{head}{sent:08x}{tail}".encode(), server)
        try:
            sock.recv(65_535)
            answers += 1
            under_way -= 1
        except TimeoutError:
            lost += under_way
            under_way = 0
        last = time.perf_counter()
    return answers, last - began, lost


def main() -> None:
    """Generate one load, and print its three figures."""
    parser = argparse.ArgumentParser()
    parser.add_argument("port", type=int)
    parser.add_argument("kind", choices=PAYLOADS)
    parser.add_argument("--node", action="store_true", help="shake hands first")
    parser.add_argument("--compiled", help="the compiled generator")
    parser.add_argument("--count", type=int, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--window", type=int, required=True)
    options = parser.parse_args()
    server = ("127.0.0.1", options.port)
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    if options.node:
        shake_hands(sock, server)
    text = template(options.kind)
    if options.compiled:
        sock.setblocking(True)
        os.set_inheritable(sock.fileno(), True)
        numbers = (options.port, options.count, options.seconds, options.window)
        port, count, seconds, window = map(str, numbers)
        head = [options.compiled, "load", str(sock.fileno()), "127.0.0.1"]
        os.execv(options.compiled, [*head, port, count, seconds, window, text])
    print(*generate(sock, server, text, options.count, options.seconds, options.window))


if __name__ == "__main__":
    main()
