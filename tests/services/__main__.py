"""`make services`: fetches the servers that tests need and that are not here yet. Exit status 1 if one cannot be had."""

from __future__ import annotations

import sys

from tests.services import keycloak
from tests.services.cache import Missing


def main() -> int:
    try:
        print(f"Keycloak {keycloak.VERSION}: {keycloak.fetch()}")
    except Missing as error:
        print(f"Keycloak {keycloak.VERSION} cannot be had. {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
