"""The package as it is compiled, and the tests on it: `python -m tests.compiled`."""
