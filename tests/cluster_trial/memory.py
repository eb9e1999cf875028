"""What it takes to know many nodes elsewhere: a bucket is filled as other servers would fill it."""

import asyncio
import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import nats

from p2ptui.io.nats_names import SERVERS, Names
from p2ptui.secure.identity import KEY_BYTES, Identity, PublicKeys
from p2ptui.secure.secret import Secret
from p2ptui.wire.cluster import (
    KNOWN_CAPABILITIES,
    About,
    Beacon,
    Presence,
    encode_about,
    encode_presence,
    split_capabilities,
)
from p2ptui.wire.exchange import BOOT_BYTES
from p2ptui.wire.frames import node_id_bytes
from tests.cluster.brokers import Broker
from tests.cluster_trial.processes import Server, until
from tests.core.cluster_rooms import UNIX, signed

NETWORK: Final = "p2p_crowded"
PRETENDED: Final = 10
"""Servers that hold them."""

AT_ONCE: Final = 500


def entries(nodes: int, rng: random.Random, servers: list[bytes]) -> Iterator[tuple[str, bytes]]:
    """Ids of nodes with keys, and what their servers say of them."""
    known, _ = split_capabilities(KNOWN_CAPABILITIES)
    for number in range(nodes):
        keys = rng.randbytes(2 * KEY_BYTES)
        node_id = PublicKeys(keys[:KEY_BYTES], keys[KEY_BYTES:]).id
        host = f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"
        boot = rng.randbytes(BOOT_BYTES)
        about = About(host, 40_000, True, f"node-{number}", "1.0.0", known, (), {}, keys, boot)
        instance = b"instance"
        server = servers[number % len(servers)]
        yield (
            node_id,
            encode_presence(Presence(NETWORK, server, instance, 0, b"", encode_about(about))),
        )


async def fill(broker: Broker, folder: Path, nodes: int) -> dict[str, Any]:
    """Start a server, have it know so many nodes, and see what that takes."""
    server = Server(folder, "crowded", broker.url, "--network-id", NETWORK)
    server.start()
    client = await nats.connect(broker.url)
    names, rng = Names.of(NETWORK), random.Random(1)
    keys = [Identity(Secret(rng.randbytes(32))) for _ in range(PRETENDED)]
    servers = [node_id_bytes(one.id) for one in keys]

    async def beat() -> None:
        while True:
            for number, one in enumerate(servers):
                told = Beacon(NETWORK, one, b"instance", f"pretended-{number}", "", 1, False, 1, 1)
                data = signed(keys[number], told, time.time() - UNIX)
                await client.publish(names.subject(SERVERS), data)
            await asyncio.sleep(1)

    beating = asyncio.create_task(beat())
    try:

        async def is_up() -> bool:
            return bool(server.lines("linked to the broker"))

        await until(is_up, 30)
        await asyncio.sleep(3)
        before = server.rss_bytes
        began = time.monotonic()
        for number, (node_id, value) in enumerate(entries(nodes, rng, servers)):
            await client.publish(f"{names.keys}{node_id}", value)
            if number % AT_ONCE == AT_ONCE - 1:
                await client.flush()
        await client.flush()
        put_s = time.monotonic() - began
        # Quiet once all was taken in: then its memory grows no more.
        size, since = server.rss_bytes, time.monotonic()
        while time.monotonic() - since < 4:
            await asyncio.sleep(0.5)
            if server.rss_bytes > size:
                size, since = server.rss_bytes, time.monotonic()
        return {
            "nodes": nodes,
            "before": before,
            "after": server.rss_bytes,
            "put_s": put_s,
            "troubles": server.lines("WARN")[-3:],
            "line": (server.lines("nodes elsewhere") or [""])[-1],
        }
    finally:
        beating.cancel()
        await client.close()
        server.kill()
