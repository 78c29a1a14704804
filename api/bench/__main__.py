"""`make bench`: the benchmarks of `eval.bench`, and those of the service.

Those that need a Keycloak find it by KEYCLOAK_URL and KEYCLOAK_ADMIN_PASSWORD.
"""

from __future__ import annotations

import os
from functools import partial

from api.bench.confirming import confirming_figures
from api.bench.tokens import token_figures
from eval.bench.__main__ import PARTS, bench

if __name__ == "__main__":
    keycloak = os.environ.get("KEYCLOAK_URL", ""), os.environ.get("KEYCLOAK_ADMIN_PASSWORD", "")
    bench({**PARTS, "tokens": token_figures, "keycloak": partial(confirming_figures, *keycloak)})()
