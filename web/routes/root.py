"""What this server is."""

from __future__ import annotations

from fastapi import APIRouter, FastAPI, Request
from pydantic import BaseModel
from starlette.responses import Response

from web.dashboard import DOCS_PATH, home, prefers_html
from web.dependencies import KnownPrincipal, State

router = APIRouter(tags=["about"])

FEATURES = (
    "chat completions",
    "streaming",
    "images",
    "native sampling parameters",
    "exact usage and cost",
    "model aliases",
)


class About(BaseModel):
    """`endpoints` lists every method and path, as `POST /v1/chat/completions`."""

    name: str
    version: str
    description: str
    endpoints: list[str]
    features: list[str]
    docs: str | None


@router.get(
    "/",
    response_model=About,
    responses={200: {"content": {"text/html": {"schema": {"type": "string"}}}}},
    summary="Name, version, endpoints, features; the page of the operator in a browser",
)
async def about(request: Request, state: State, principal: KnownPrincipal) -> About | Response:
    """HTML for those who ask for it before JSON, as browsers do."""
    if prefers_html(request.headers.get("accept", "")):
        return await home(request, state, principal)
    app: FastAPI = request.app
    return About(
        name=app.title,
        version=app.version,
        description=app.description,
        endpoints=endpoints(app),
        features=list(FEATURES),
        docs=DOCS_PATH,
    )


def endpoints(app: FastAPI) -> list[str]:
    """Out of the OpenAPI document, so that none is forgotten."""
    paths = app.openapi()["paths"]
    return [f"{method.upper()} {path}" for path, methods in paths.items() for method in methods]
