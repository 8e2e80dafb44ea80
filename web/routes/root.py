"""What this server is."""

from __future__ import annotations

from fastapi import APIRouter, FastAPI, Request
from pydantic import BaseModel

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


@router.get("/", summary="Name, version, endpoints, features")
async def about(request: Request) -> About:
    app: FastAPI = request.app
    return About(
        name=app.title,
        version=app.version,
        description=app.description,
        endpoints=endpoints(app),
        features=list(FEATURES),
        docs=app.docs_url,
    )


def endpoints(app: FastAPI) -> list[str]:
    """Out of the OpenAPI document, so that none is forgotten."""
    paths = app.openapi()["paths"]
    return [f"{method.upper()} {path}" for path, methods in paths.items() for method in methods]
