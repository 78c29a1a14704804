"""How much is tried of what has no end: random histories, checks, kills."""

from __future__ import annotations

import os

EFFORT = int(os.environ.get("KUSTOS_TEST_EFFORT", "1"))


def times(usual: int) -> int:
    """`usual` in a run of all tests, and as many times more as KUSTOS_TEST_EFFORT says."""
    return usual * EFFORT
