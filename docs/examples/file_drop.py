"""Keep the files that others send in a folder, and print who sent which. Ctrl+C ends it.

python file_drop.py inbox --address 0.0.0.0:8080
p2ptui send 127.0.0.1:8080 --file notes.txt --name alice
"""

import argparse
import asyncio
import sys
from pathlib import Path

from p2ptui import Config, Node
from p2ptui.core.events import FileReceived
from p2ptui.errors import P2PError
from p2ptui.text import printable


async def main(folder: Path, address: str, join: list[str]) -> None:
    options = Config().with_options(
        name="file drop",
        address=address,
        join=join,
        enable_discovery=False,
        files={"receive_into": str(folder), "max_files": 100},
    )
    async with Node(options) as node:
        print(f"files go to {folder}; send them to {node.address[0]}:{node.address[1]}", flush=True)
        async for event in node.events():
            if isinstance(event, FileReceived):
                print(line_about(event), flush=True)


def line_about(event: FileReceived) -> str:
    """What became of a file. Names are remote text, which must not control the terminal."""
    sender = f"{printable(event.sender, 64)} ({event.node_id[:8]})"
    if event.path is None:
        return f"{sender} sent {printable(event.name)}: not kept, {printable(event.reason or '')}"
    return f"{sender} sent {printable(event.path)}, {event.size_bytes} bytes"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--address", default="0.0.0.0:0", help="listen here (any free port)")
    parser.add_argument("--join", action="append", default=[], metavar="HOST:PORT")
    given = parser.parse_args()
    try:
        given.folder.mkdir(exist_ok=True)
    except OSError as error:
        sys.exit(f"cannot make the folder {given.folder}: {error.strerror}")
    try:
        asyncio.run(main(given.folder, given.address, given.join))
    except P2PError as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        pass
