"""The options of the screen: colours, keys, and how much of the past it keeps."""

from typing import Annotated

from p2ptui.config.option import About, Section


class UiOptions(Section, frozen=True, kw_only=True):
    """The screen."""

    theme: Annotated[
        str,
        About("The name of a theme; empty: the last one chosen on the screen.", max_length=64),
    ] = ""
    keys: Annotated[
        dict[str, str],
        About(
            "Other keys for actions, by the id of the action: see docs/screen.md.", max_length=100
        ),
    ] = {}  # noqa: RUF012 - msgspec copies it for each
    max_records: Annotated[
        int, About("Records of the message log that are kept.", "records", 100, 1_000_000)
    ] = 10_000
    max_record_bytes: Annotated[
        int, About("Bytes of messages that the log keeps.", "bytes", 65_536, 1 << 30)
    ] = 8_388_608
