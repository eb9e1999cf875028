"""Floor 0: what the program says about itself, from one source: the parsers of its command line.

`topics` holds the texts of `p2ptui help TOPIC`, `arguments` reads a parser, `roff` writes the
manual page of both, and `reference` docs/commands.md.
"""
