"""A person at Keycloak's own pages, as far as forms go: signs in and agrees, without a browser."""

from __future__ import annotations

import html
import re
from urllib.parse import urljoin

import httpx

_FORM = re.compile(r'<form[^>]*\baction="([^"]+)"')


def browser() -> httpx.Client:
    """Like browsers do, it takes loopback for safe and gives secure cookies back there."""

    def keep(_: httpx.Response) -> None:
        for cookie in client.cookies.jar:
            cookie.secure = False

    client = httpx.Client(trust_env=False, timeout=60, event_hooks={"response": [keep]})
    return client


def sign_in(client: httpx.Client, address: str, person: str, password: str, *, agrees: bool = True) -> str:
    """Opens the address, signs in and agrees, or does not, to what is asked; where Keycloak sends the person then."""
    page = _followed(client, client.get(address), address)
    page = _followed(client, _submitted(client, page, username=person, password=password), address)
    if page.status_code == 200 and 'name="accept"' in page.text:
        page = _followed(
            client, _submitted(client, page, **({"accept": "Yes"} if agrees else {"cancel": "No"})), address
        )
    return page.headers.get("location", str(page.url))


def _submitted(client: httpx.Client, page: httpx.Response, **fields: str) -> httpx.Response:
    found = _FORM.search(page.text)
    assert found, page.text[:2000]
    hidden = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', page.text))
    return client.post(urljoin(str(page.url), html.unescape(found[1])), data={**hidden, **fields})


def _followed(client: httpx.Client, reply: httpx.Response, address: str) -> httpx.Response:
    """Redirects within Keycloak; one that leads elsewhere stays unfollowed."""
    origin = httpx.URL(address).netloc
    for _ in range(10):
        if not reply.is_redirect or httpx.URL(reply.headers["location"]).netloc not in (origin, b""):
            break
        reply = client.get(urljoin(str(reply.url), reply.headers["location"]))
    return reply
