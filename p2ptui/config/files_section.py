"""The options of files that others send: whether they are kept, whose, where, and how many."""

from typing import Annotated

from p2ptui.config.option import COUNT, About, Section


class FilesOptions(Section, frozen=True, kw_only=True):
    """Files that others send in messages."""

    receive_into: Annotated[
        str,
        About(
            "The directory into which files are written; empty: none is written, and only its"
            " arrival is logged.",
            max_length=4096,
        ),
    ] = ""
    receive_from: Annotated[
        str,
        About(
            "The node whose files are taken: its id, the beginning of its id, or its name;"
            " empty: any node.",
            max_length=64,
        ),
    ] = ""
    max_files: Annotated[
        int,
        About(
            "Files that are kept until the node ends, at most; what was taken out of the directory"
            " does not count.",
            "files",
            1,
            COUNT,
        ),
    ] = 1000
    max_bytes: Annotated[
        int,
        About(
            "Bytes of files that are kept until the node ends, at most; likewise.",
            "bytes",
            1,
            1 << 50,
        ),
    ] = 1_073_741_824
