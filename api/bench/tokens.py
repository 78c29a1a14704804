"""Verifying a token against PyJWT as its manual uses it: with keys at hand, and with keys that are fetched."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from time import perf_counter
from typing import Any

import httpx
import jwt
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm

from api.tokens.auth import AsIssued, Identity, Issuer
from api.tokens.jwks import MAX_AGE_S, HttpKeys
from eval.bench.figures import Figure, at_most, percentile
from rag.settings import Settings

ISSUER, AUDIENCE, CLIENT, KID = "https://id.example/realms/bench", "kustos", "bench", "key"
TIMES, TIMES_FETCHED = 2_000, 200
WARM_UP = 50
GOAL = 1.2


def token_figures(_: Settings) -> Iterator[Figure]:
    """Both in turn, the same token, its signature, issuer, audience and times; rights are read on our side only."""
    key = rsa.generate_private_key(public_exponent=65_537, key_size=2_048)
    token = jwt.encode(_claims(), key, "RS256", headers={"kid": KID})
    published = {**RSAAlgorithm.to_jwk(key.public_key(), as_dict=True), "kid": KID, "use": "sig", "alg": "RS256"}
    with _publishing(published) as url, httpx.Client(trust_env=False) as client:
        at_hand, theirs = _identity(HttpKeys(url, client)), jwt.PyJWKClient(url, cache_keys=True)
        yield _figure("token, keys at hand", TIMES, lambda: at_hand.verified(token), lambda: _bare(theirs, token))
        ages = [0.0]
        too_old, fetching = (
            _identity(HttpKeys(url, client, lambda: ages[-1])),
            jwt.PyJWKClient(url, cache_jwk_set=False),
        )

        def fetched() -> None:
            ages.append(ages[-1] + 2 * MAX_AGE_S)
            too_old.verified(token)

        yield _figure("token, keys fetched", TIMES_FETCHED, fetched, lambda: _bare(fetching, token))


def _claims() -> dict[str, Any]:
    """As much as Keycloak says of somebody with ten groups and ten roles."""
    now = int(time.time())
    return {
        "iss": ISSUER, "aud": AUDIENCE, "azp": CLIENT, "typ": "Bearer", "sub": "f" * 36, "sid": "s" * 24,
        "jti": "j" * 43, "iat": now, "exp": now + 3_600, "acr": "1", "scope": "openid profile",
        "groups": [f"/company/department-{at}" for at in range(10)],
        "realm_access": {"roles": [f"role-{at}" for at in range(10)]},
        "resource_access": {AUDIENCE: {"roles": ["reader"]}, "account": {"roles": ["view-profile"]}},
    }  # fmt: skip


def _identity(keys: HttpKeys) -> Identity:
    return Identity([Issuer(ISSUER, AUDIENCE, "bench", "bench", frozenset({CLIENT}), keys, AsIssued())])


def _bare(keys: jwt.PyJWKClient, token: str) -> None:
    key = keys.get_signing_key_from_jwt(token)
    jwt.decode(
        token, key, algorithms=["RS256"], audience=AUDIENCE, issuer=ISSUER, options={"require": ["exp", "iat", "sub"]}
    )


def _figure(name: str, times: int, ours: Callable[[], object], theirs: Callable[[], object]) -> Figure:
    taken: dict[Callable[[], object], list[float]] = {ours: [], theirs: []}
    for number in range(WARM_UP + times):
        for verify in (ours, theirs) if number % 2 else (theirs, ours):
            started = perf_counter()
            verify()
            taken[verify].append(1_000 * (perf_counter() - started))
    values = {verify: percentile(each[WARM_UP:], 50) for verify, each in taken.items()}
    return at_most(f"{name}, p50", values[ours], "ms", values[theirs], GOAL)


@contextmanager
def _publishing(key: dict[str, Any]) -> Iterator[str]:
    body = json.dumps({"keys": [key]}).encode()

    class Keys(BaseHTTPRequestHandler):
        disable_nagle_algorithm = True

        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Keys)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/certs"
    finally:
        server.shutdown()
        server.server_close()
