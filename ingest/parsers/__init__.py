"""Parsers of file formats, run in child processes. `rag` comes first: it silences what reports home when loaded."""

import rag  # noqa: F401
