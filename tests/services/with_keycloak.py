"""Runs a command beside a Keycloak of its own: python -m tests.services.with_keycloak [--if-there] COMMAND...

The command finds its address in KEYCLOAK_URL, and its administrator's password in KEYCLOAK_ADMIN_PASSWORD. Where there is
no Keycloak it is not run, unless `--if-there` says that it can do without.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence

from tests.services import keycloak
from tests.services.cache import Missing

IF_THERE = "--if-there"


def main(arguments: Sequence[str]) -> int:
    """Exit status of the command; 1 if it could not be run."""
    command = [each for each in arguments if each != IF_THERE]
    try:
        with keycloak.running(java_options=keycloak.LASTING) as server:
            about = {"KEYCLOAK_URL": server.url, "KEYCLOAK_ADMIN_PASSWORD": server.password}
            return subprocess.run(command, env={**os.environ, **about}, check=False).returncode
    except Missing as error:
        sys.stderr.write(f"{error}\n")
        return subprocess.run(command, check=False).returncode if IF_THERE in arguments else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
