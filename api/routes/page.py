"""The page at / and its files. The files are read once, by name: a path from a request never reaches the disk."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from fastapi import APIRouter, Request, Response
from starlette.exceptions import HTTPException

from api.admission.doors import GuardedRoute

router = APIRouter(route_class=GuardedRoute, include_in_schema=False)

FOLDER = Path(__file__).parents[1] / "web"
MEDIA_TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}


@dataclass(frozen=True, slots=True)
class WebFile:
    content: bytes
    media_type: str
    etag: str


@router.get("/")
def index(request: Request) -> Response:
    return _reply(request, "index.html")


@router.get("/static/{name}")
def static(request: Request, name: str) -> Response:
    return _reply(request, name)


@cache
def web_files() -> Mapping[str, WebFile]:
    """Every file of the page by its name."""
    return {path.name: _read(path) for path in sorted(FOLDER.iterdir()) if path.suffix in MEDIA_TYPES}


def _read(path: Path) -> WebFile:
    content = path.read_bytes()
    etag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
    return WebFile(content, f"{MEDIA_TYPES[path.suffix]}; charset=utf-8", etag)


def _reply(request: Request, name: str) -> Response:
    file = web_files().get(name)
    if file is None:
        raise HTTPException(404)
    headers = {"Cache-Control": "no-cache", "ETag": file.etag}
    if request.headers.get("if-none-match") == file.etag:
        return Response(status_code=304, headers=headers)
    return Response(file.content, headers={**headers, "Content-Type": file.media_type})
