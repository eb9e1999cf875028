"""The version of this build, in one place for the package, the command line and the wire."""

VERSION = "0.4.0"
