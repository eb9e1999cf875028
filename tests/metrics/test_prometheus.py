"""A real Prometheus scrapes a node, and sees when it is gone."""

import asyncio
import json
import shutil
import socket
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

import pytest

from p2ptui import Config, Node
from p2ptui.operating import serving_metrics
from tests.patience import PATIENCE_S

pytestmark = pytest.mark.skipif(not shutil.which("prometheus"), reason="needs Prometheus")

OPTIONS = {"address": "127.0.0.1:0", "enable_discovery": False, "ephemeral": True}


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return int(sock.getsockname()[1])


class Prometheus:
    """One that scrapes a target each second."""

    def __init__(self, folder: Path, target: str) -> None:
        job = {"job_name": "p2ptui", "static_configs": [{"targets": [target]}]}
        scrape = {"scrape_interval": "1s", "scrape_timeout": "1s"}
        path = folder / "prometheus.yml"
        path.write_text(json.dumps({"global": scrape, "scrape_configs": [job]}))
        self._where = f"127.0.0.1:{free_port()}"
        self._process = subprocess.Popen(
            [
                "prometheus",
                f"--config.file={path}",
                f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address={self._where}",
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def _ask(self, query: str) -> float | None:
        url = f"http://{self._where}/api/v1/query?" + urllib.parse.urlencode({"query": query})
        try:
            with urllib.request.urlopen(url, timeout=PATIENCE_S) as answer:
                found = json.load(answer)["data"]["result"]
        except urllib.error.URLError:
            return None
        return float(found[0]["value"][1]) if found else None

    async def wait_for(self, query: str, value: float) -> None:
        """Until that is the answer."""
        async with asyncio.timeout(PATIENCE_S):
            while await asyncio.to_thread(self._ask, query) != value:  # noqa: ASYNC110
                await asyncio.sleep(0.1)

    def close(self) -> None:
        self._process.kill()
        self._process.wait()


async def test_it_scrapes_a_node_and_sees_it_go(tmp_path: Path) -> None:
    config = Config().with_options(**OPTIONS, metrics={"address": "127.0.0.1:0"})
    node = Node(config)
    async with serving_metrics(node, config) as serving, node:
        prometheus = Prometheus(tmp_path, "{}:{}".format(*serving.address))
        try:
            await prometheus.wait_for("up", 1)
            await prometheus.wait_for('p2ptui_peers{status="authenticated"}', 0)
            async with Node(Config().with_options(**OPTIONS)) as client:
                await client.connect(node.address)
                await prometheus.wait_for('p2ptui_peers{status="authenticated"}', 1)
                await prometheus.wait_for("p2ptui_handshakes_accepted_total", 1)
            await node.close()
            await prometheus.wait_for("up", 0)
        finally:
            prometheus.close()
