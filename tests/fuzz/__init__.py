"""A fuzzer for the parsers, and what it found: `python -m tests.fuzz --help`."""
