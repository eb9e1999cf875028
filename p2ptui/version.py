"""The version of this build, in one place for the package, the command line and the wire."""

VERSION = "0.4.0"


def is_compiled() -> bool:
    """Whether the modules that handle datagrams are compiled in this build; finds out without
    importing them.
    """
    from importlib.machinery import ExtensionFileLoader
    from importlib.util import find_spec

    found = find_spec("p2ptui.wire.frames")
    return found is not None and isinstance(found.loader, ExtensionFileLoader)


def described() -> str:
    """The version, and whether this build is compiled, for people."""
    return f"{VERSION} (compiled)" if is_compiled() else VERSION
