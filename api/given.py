"""What a route may ask for as an argument: the parts of Kustos, the caller whom its door admitted, the request's id.

None of these works, so they are awaited: a plain function would cost a thread for each argument.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, cast

from fastapi import Depends, Request

from api.admission.doors import Doors
from api.admission.subjects import Subjects
from api.explaining import Explaining
from api.readiness import SharedLook
from api.slow_work import SlowWork
from api.tokens.confirmation import Unconfirmed
from ingest.bootstrap import Ingesting
from ingest.pages import PageImages
from rag.access.scope import Caller
from rag.bootstrap import Kustos


async def _kustos(request: Request) -> Kustos:
    return cast(Kustos, request.app.state.kustos)


async def _doors(request: Request) -> Doors:
    return cast(Doors, request.app.state.doors)


async def _caller(request: Request) -> Caller:
    return cast(Caller, request.state.caller)  # set by the door; on a public route this fails


async def _unconfirmed(request: Request) -> Unconfirmed:
    return cast(Unconfirmed, request.state.unconfirmed)


async def _explaining(request: Request) -> Explaining:
    return cast(Explaining, request.app.state.explaining)


async def _ingesting(request: Request) -> Ingesting:
    return cast(Ingesting, request.app.state.ingesting)


async def _pages(request: Request) -> PageImages:
    return cast(PageImages, request.app.state.pages)


async def _answers(request: Request) -> SlowWork:
    return cast(SlowWork, request.app.state.answers)


async def _drawings(request: Request) -> SlowWork:
    return cast(SlowWork, request.app.state.drawings)


async def _evaluations(request: Request) -> SlowWork:
    return cast(SlowWork, request.app.state.evaluations)


async def _count(request: Request) -> Callable[[int], None]:
    return cast(Callable[[int], None], request.state.count)  # so many further requests of this caller


async def _request_id(request: Request) -> str:
    return cast(str, request.state.request_id)


async def _look(request: Request) -> SharedLook:
    return cast(SharedLook, request.app.state.look)


async def _subjects(request: Request) -> Subjects:
    return cast(Subjects, request.app.state.subjects)


TheKustos = Annotated[Kustos, Depends(_kustos)]
TheDoors = Annotated[Doors, Depends(_doors)]
TheCaller = Annotated[Caller, Depends(_caller)]
TheUnconfirmed = Annotated[Unconfirmed, Depends(_unconfirmed)]
TheExplaining = Annotated[Explaining, Depends(_explaining)]
TheSubjects = Annotated[Subjects, Depends(_subjects)]
TheIngesting = Annotated[Ingesting, Depends(_ingesting)]
ThePages = Annotated[PageImages, Depends(_pages)]
TheAnswers = Annotated[SlowWork, Depends(_answers)]
TheEvaluations = Annotated[SlowWork, Depends(_evaluations)]
Count = Annotated[Callable[[int], None], Depends(_count)]
TheDrawings = Annotated[SlowWork, Depends(_drawings)]
TheLook = Annotated[SharedLook, Depends(_look)]
RequestId = Annotated[str, Depends(_request_id)]
