"""Print what CHANGELOG.md says of a version, for its release.

python .ci/release_notes.py 0.4.0
"""

import re
import sys
from pathlib import Path
from typing import Final

CHANGELOG: Final = Path(__file__).resolve().parent.parent / "CHANGELOG.md"


def notes_of(version: str, changelog: str) -> str:
    """The section of a version, without its heading.

    Raises:
        SystemExit: It has none.
    """
    for section in re.split(r"^## ", changelog, flags=re.MULTILINE)[1:]:
        heading, _, text = section.partition("\n")
        if re.search(rf"(?<![\d.]){re.escape(version)}(?![\d.])", heading):
            return text.strip()
    raise SystemExit(f"CHANGELOG.md has no section of version {version}: add it before the tag")


def main() -> None:
    """The command line."""
    [version] = sys.argv[1:]
    print(notes_of(version, CHANGELOG.read_text("utf-8")))


if __name__ == "__main__":
    main()
