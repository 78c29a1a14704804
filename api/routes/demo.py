"""GET /demo/accounts and POST /demo/token: signing in as a sample account, at this machine, while the demo is on."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.exceptions import HTTPException

from api.admission.doors import Doors, GuardedRoute
from api.given import TheDoors
from api.schemas import SampleAccount, SampleAccounts, SignInReply, SignInRequest
from api.tokens.demo_issuer import TOKEN_LIFETIME_S, DemoIssuer

router = APIRouter(route_class=GuardedRoute, include_in_schema=False)


@router.get("/demo/accounts")
def accounts(doors: TheDoors) -> SampleAccounts:
    return SampleAccounts(
        accounts=[
            SampleAccount(name=each.name, display_name=each.display_name, about=each.about)
            for each in _demo(doors).accounts
        ]
    )


@router.post("/demo/token")
def sign_in(body: SignInRequest, doors: TheDoors) -> SignInReply:
    return SignInReply(token=_demo(doors).token(body.account), expires_in=TOKEN_LIFETIME_S)


def _demo(doors: Doors) -> DemoIssuer:
    if doors.demo is None:
        raise HTTPException(404)
    return doors.demo
