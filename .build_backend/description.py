"""What the package index shows: README.md, whose relative links would be dead there.

A link to another file of the checkout becomes a link to that file in the repository, at the tag of
this version. `[project.urls]` may name the repository, as "Source"; otherwise GitHub's workflows
name it in their environment. If neither does, a link becomes its text, and a picture is left out.
"""

import os
import re
from typing import Any

from setuptools.dist import Distribution

_LINK = re.compile(r"(!?)\[([^]]*)\]\((?!\w+:|#)([^)\s]+)\)")
_COMMENT = re.compile(r"^<!--.*?-->\n", re.MULTILINE | re.DOTALL)


def mend_links() -> None:
    """From now on, have setuptools describe a package with links that work anywhere."""
    described: Any = type(Distribution().metadata)
    original = described.get_long_description

    def get_long_description(metadata: Any) -> str | None:
        text = original(metadata)
        return text and linked(text, repository(metadata), f"v{metadata.get_version()}")

    described.get_long_description = get_long_description


def repository(metadata: Any) -> str | None:
    """The repository's address, without a trailing slash; None if it is not known."""
    if url := (getattr(metadata, "project_urls", None) or {}).get("Source"):
        return str(url).rstrip("/")
    if name := os.environ.get("GITHUB_REPOSITORY"):
        return f"{os.environ.get('GITHUB_SERVER_URL', 'https://github.com')}/{name}"
    return None


def linked(text: str, repository: str | None, tag: str) -> str:
    """A page whose relative links lead into the repository, or are removed."""

    def replaced(link: re.Match[str]) -> str:
        mark, shown, target = link.groups()
        if repository is None:
            return "" if mark else shown
        return f"{mark}[{shown}]({repository}/{'raw' if mark else 'blob'}/{tag}/{target})"

    return re.sub(r"\n{3,}", "\n\n", _LINK.sub(replaced, _COMMENT.sub("", text)))
