"""How long tests in real time wait for what must happen.

How fast something is on a quiet machine is asserted in virtual time, and measured by the
benchmarks. What is started for real shares the machine with whatever else runs there, so it is
waited for until it happens, and only what would never happen fails.
"""

PATIENCE_S = 90.0
"""For one thing to happen, be it the start of a program."""

SLOWER = 10
"""How many times slower than on a quiet machine something may be, where it must not be slow."""
