"""A small status page in the browser that shows the metrics of a node.

pip install '.[metrics]'        # in the checkout of p2ptui
p2ptui --no-ui --metrics 127.0.0.1:9100
python status_page.py http://127.0.0.1:9100/metrics --port 8000
"""

import argparse
import sys
from collections.abc import Iterator
from contextlib import suppress
from html import escape
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from threading import BoundedSemaphore
from typing import Any
from urllib.parse import urlsplit
from urllib.request import urlopen

try:
    from prometheus_client.parser import text_string_to_metric_families
except ModuleNotFoundError:
    sys.exit("this needs prometheus_client; in the checkout of p2ptui: pip install '.[metrics]'")

SHOWN = {
    "p2ptui_uptime_seconds": "Seconds since the start",
    "p2ptui_peers": "Peers",
    "p2ptui_peer_paths": "Peers by path",
    "p2ptui_servers_joined": "Servers joined",
    "p2ptui_connections_total": "Connections",
    "p2ptui_received_bytes_total": "Bytes received",
    "p2ptui_sent_bytes_total": "Bytes sent",
}

PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta http-equiv="refresh" content="5">
<title>p2ptui</title>
<style>body {{ font: 1rem sans-serif; margin: 2rem }} td {{ padding: .2rem 1rem .2rem 0 }}</style>
<h1>p2ptui</h1>{body}</html>
"""

TIMEOUT_S = 5.0
MOST_CLIENTS = 16


def read_rows(url: str) -> Iterator[tuple[str, float]]:
    """The node's metrics, each with a readable name.

    Raises:
        OSError: The node does not answer.
        ValueError: The answer does not hold metrics.
    """
    with urlopen(url, timeout=TIMEOUT_S) as answer:
        text = answer.read().decode()
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name in SHOWN:
                yield " ".join([SHOWN[sample.name], *sample.labels.values()]), sample.value


def page(url: str) -> str:
    """The whole page. If the node does not answer, the page says so."""
    try:
        rows = [f"<tr><td>{escape(name)}<td>{value:,.0f}" for name, value in read_rows(url)]
    except (OSError, ValueError) as error:
        return PAGE.format(body=f"<p>The node does not answer: {escape(str(error))}</p>")
    return PAGE.format(body=f"<table>{''.join(rows)}</table>")


def is_own_host(host: str) -> bool:
    """Whether a Host header is an IP address, or localhost.

    Without this check any web page could read the numbers: the name of its own site may lead to
    this machine (DNS rebinding).
    """
    try:
        name = urlsplit(f"//{host}").hostname or ""
        return name == "localhost" or bool(ip_address(name))
    except ValueError:
        return False


class Server(ThreadingHTTPServer):
    """A thread for each client, but never more than a few."""

    free = BoundedSemaphore(MOST_CLIENTS)

    def process_request(self, request: Any, client_address: Any) -> None:
        if self.free.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self.free.release()


def serve(url: str, port: int) -> None:
    """Serve the page on this machine until interrupted."""

    class Handler(BaseHTTPRequestHandler):
        timeout = TIMEOUT_S

        def do_GET(self) -> None:
            if not is_own_host(self.headers.get("Host", "")):
                self.send_error(421, explain="ask for it by its IP address, or as localhost")
                return
            body = page(url).encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    with Server(("127.0.0.1", port), Handler) as server:
        print(f"http://127.0.0.1:{server.server_port}", flush=True)
        server.serve_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("url", help="address of the node's metrics")
    parser.add_argument("--port", type=int, default=0, help="port of the page (any free port)")
    given = parser.parse_args()
    with suppress(KeyboardInterrupt):
        serve(given.url, given.port)
