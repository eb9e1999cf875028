"""Two builds of the same sources are identical to the byte: nothing tells who built, when or where.

Compiled code also depends on the compiler, and compressed data on the version of zlib.
"""

import gzip
import io
import os
import stat
import subprocess
import tarfile
import zipfile
from pathlib import Path
from typing import Final

VARIABLE: Final = "SOURCE_DATE_EPOCH"
"""Environment: the time of everything packed, in seconds, as defined by reproducible-builds.org."""

_EARLIEST: Final = 315_532_800
"""1980; a zip file cannot hold earlier times."""
_FILE: Final = 0o644
_PROGRAM: Final = 0o755


def source_date() -> int:
    """The date of the sources in the current folder, in seconds since 1970.

    `SOURCE_DATE_EPOCH` if it is set; else the time of the commit; else, in a source distribution,
    the time of its files; else 1980.
    """
    given = os.environ.get(VARIABLE, "")
    if given:
        try:
            return max(int(given), _EARLIEST)
        except ValueError:
            raise SystemExit(
                f"p2ptui: {VARIABLE} = {given!r}: must be seconds since 1970"
            ) from None
    if Path(".git").exists():
        try:
            command = ["git", "log", "-1", "--format=%ct"]
            committed = subprocess.run(command, capture_output=True, check=True).stdout
            return max(int(committed), _EARLIEST)
        except (OSError, ValueError, subprocess.CalledProcessError):
            pass  # no git here, or no commit yet
    about = Path("PKG-INFO")
    return max(int(about.stat().st_mtime), _EARLIEST) if about.is_file() else _EARLIEST


def repack_sdist(path: Path, when: int) -> None:
    """Rewrite a source distribution without any trace of who built it, when or where.

    Args:
        path: The `.tar.gz`.
        when: The time of everything in it.
    """
    plain = io.BytesIO()
    with tarfile.open(path) as old, tarfile.open(fileobj=plain, mode="w") as new:
        for member in sorted(old.getmembers(), key=lambda member: member.name):
            member.mtime = when
            member.uid = member.gid = 0
            member.uname = member.gname = ""
            member.pax_headers = {}
            is_program = member.isdir() or bool(member.mode & stat.S_IXUSR)
            member.mode = _PROGRAM if is_program else _FILE
            new.addfile(member, old.extractfile(member) if member.isfile() else None)
    packed = io.BytesIO()
    with gzip.GzipFile("", "wb", 9, packed, mtime=when) as stream:
        stream.write(plain.getvalue())
    path.write_bytes(packed.getvalue())


def repack_wheel(path: Path, when: int) -> None:
    """Rewrite a wheel in the same way; the order of its files is kept.

    Args:
        path: The `.whl`.
        when: The time of everything in it.
    """
    import time

    packed = io.BytesIO()
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(packed, "w") as new:
        for entry in old.infolist():
            fresh = zipfile.ZipInfo(entry.filename, time.gmtime(when)[:6])
            fresh.create_system = 3  # Unix, on every system
            is_library = entry.filename.endswith((".so", ".pyd", ".dylib"))
            fresh.external_attr = (stat.S_IFREG | (_PROGRAM if is_library else _FILE)) << 16
            new.writestr(fresh, old.read(entry), zipfile.ZIP_DEFLATED, 6)
    path.write_bytes(packed.getvalue())
