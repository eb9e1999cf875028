"""Print what CHANGELOG.md says of a version, for its release; it must be the version of this tree.

python .ci/release_notes.py 0.4.0         # or v0.4.0, as the tag is called
"""

import re
import sys
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent


def check_version(version: str, module: str) -> None:
    """Compare a release's version with the package's.

    Args:
        version: The version of the release.
        module: The text of p2ptui/version.py.

    Raises:
        SystemExit: They differ.
    """
    [own] = re.findall(r'^VERSION = "(.+)"$', module, flags=re.MULTILINE)
    if version != own:
        raise SystemExit(
            f"p2ptui/version.py says {own}, not {version}: set the version, then tag that commit"
        )


def notes_of(version: str, changelog: str) -> str:
    """The section of a version, without its heading.

    Raises:
        SystemExit: There is no such section, or it is empty.
    """
    for section in re.split(r"^## ", changelog, flags=re.MULTILINE)[1:]:
        heading, _, text = section.partition("\n")
        if re.search(rf"(?<![\d.]){re.escape(version)}(?![\d.])", heading):
            if notes := text.strip():
                return notes
            raise SystemExit(f"CHANGELOG.md says nothing of version {version}: fill its section")
    raise SystemExit(f"CHANGELOG.md has no section of version {version}: add it before the tag")


def main() -> None:
    """The command line."""
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    version = sys.argv[1].removeprefix("v")
    check_version(version, (ROOT / "p2ptui" / "version.py").read_text("utf-8"))
    print(notes_of(version, (ROOT / "CHANGELOG.md").read_text("utf-8")))


if __name__ == "__main__":
    main()
