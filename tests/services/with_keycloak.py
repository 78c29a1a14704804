"""Runs a command beside a Keycloak of its own, as `make revocation` does: python -m tests.services.with_keycloak COMMAND...

The command finds its address in KEYCLOAK_URL, and its administrator's password in KEYCLOAK_ADMIN_PASSWORD.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence

from tests.services import keycloak
from tests.services.cache import Missing


def main(command: Sequence[str]) -> int:
    """Exit status of the command; 1 if there is no Keycloak."""
    try:
        with keycloak.running() as server:
            about = {"KEYCLOAK_URL": server.url, "KEYCLOAK_ADMIN_PASSWORD": server.password}
            return subprocess.run(command, env={**os.environ, **about}, check=False).returncode
    except Missing as error:
        sys.stderr.write(f"{error}\n")
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
