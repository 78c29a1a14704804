"""What a request of the page has to be before its cookie counts: from our own page, and from nowhere else (UI-07).

Cookies go along with requests that other sites cause. So a request by cookie needs a header that no other site's page
can set without being asked first (and nobody here answers such a question), and what the browser itself says of its
origin must not speak against it. SameSite=Strict is the third of three.

Both cookies have the prefix `__Host-`: no other host, no plain connection and no path can set them. Browsers accept
them on loopback without TLS too (Chromium 89 and Firefox 75 onward; Safari does not, there a TLS proxy is needed).
"""

from __future__ import annotations

from fastapi import Request, Response

from rag.errors import BadInput, NotAllowed

SESSION_COOKIE = "__Host-kustos-session"
SIGN_IN_COOKIE = "__Host-kustos-sign-in"
PAGE_HEADER = "x-kustos-page"


def cookie(request: Request, name: str) -> str | None:
    """The cookie's value; None if there is none, or an empty one.

    Raises:
        BadInput: there are several, so nobody knows which is ours.
    """
    pairs = (each.partition("=") for header in request.headers.getlist("cookie") for each in header.split(";"))
    found = [value.strip() for key, _, value in pairs if key.strip() == name]
    if len(found) > 1:
        raise BadInput(f"the request has several cookies {name}; remove this site's cookies and sign in again")
    return found[0] or None if found else None


def check_own_page(request: Request, origin: str) -> None:
    """Whether the page at `origin` itself sends this.

    Raises:
        NotAllowed: it does not, or cannot show that it does.
    """
    if request.headers.get(PAGE_HEADER) != "1":
        raise NotAllowed("a request by cookie needs the header 'X-Kustos-Page: 1'")
    if request.headers.get("origin", origin) != origin:
        raise NotAllowed("requests by cookie are for this service's own page only")
    if request.headers.get("sec-fetch-site", "same-origin") != "same-origin":
        raise NotAllowed("requests by cookie are for this service's own page only")


def set_cookie(response: Response, name: str, value: str, *, samesite: str, max_age_s: int | None = None) -> None:
    """A cookie that no script reads; without an age it ends with the browser."""
    lasting = "" if max_age_s is None else f"; Max-Age={max_age_s}"
    attributes = f"Path=/; Secure; HttpOnly; SameSite={samesite}{lasting}"
    response.headers.append("set-cookie", f"{name}={value}; {attributes}")


def drop_cookie(response: Response, name: str) -> None:
    set_cookie(response, name, "", samesite="Strict", max_age_s=0)
