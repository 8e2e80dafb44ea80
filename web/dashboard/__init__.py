"""The page of the operator at `/`, and `/docs`: templates, assets, and who sees what.

Nothing here is built or fetched: the scripts are hand-written modules, and Swagger UI is vendored.
What a page may do is bounded by its policy: no inline script, no other host.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, select_autoescape
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.staticfiles import StaticFiles

from auth import Principal
from core.errors import PermissionDenied
from core.version import NAME, VERSION
from turns.state import State
from web.sign_in import SignIn

DIRECTORY = Path(__file__).parent
DOCS_PATH = "/docs"
SECTIONS = {
    "overview": "Overview",
    "usage": "Usage",
    "requests": "Requests",
    "approvals": "Approvals",
    "keys": "Keys",
    "sessions": "Sessions",
    "tools": "Tools",
    "playground": "Playground",
    "connect": "Connect",
}
POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data: blob:",
        "connect-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
)
DOCS_POLICY = POLICY.replace("style-src 'self'", "style-src 'self' 'unsafe-inline'")
"""Swagger UI sets styles of its elements."""


def assets() -> StaticFiles:
    """Scripts, styles and Swagger UI, under /assets."""
    return StaticFiles(directory=DIRECTORY / "static")


async def home(request: Request, state: State, principal: Principal | None) -> Response:
    """The page; a way to sign in where a key is needed."""
    sign_in: SignIn = request.app.state.sign_in
    if principal is None:
        is_private = sign_in.is_private(request.scope)
        return page("sign_in.html", is_private=is_private)
    return page(
        "page.html",
        sections=SECTIONS,
        key=principal.name,
        is_operator=is_operator(state, principal),
        is_signed_in=principal.key_id is not None,
        token=sign_in.token(request.scope),
        logs_bodies=state.settings.log_bodies,
        default_model=state.settings.default_model,
    )


def page(template: str, *, policy: str = POLICY, **values: Any) -> HTMLResponse:
    text = _templates().get_template(template).render(name=NAME, version=VERSION, **values)
    headers = {"content-security-policy": policy, "cache-control": "no-store", "vary": "Accept"}
    return HTMLResponse(text, headers=headers)


@cache
def _templates() -> Environment:
    loader = FileSystemLoader(DIRECTORY / "templates")
    return Environment(loader=loader, autoescape=select_autoescape(), trim_blocks=True)


def is_operator(state: State, principal: Principal) -> bool:
    try:
        state.tools.check_operator(principal)
    except PermissionDenied:
        return False
    return True


def prefers_html(accept: str) -> bool:
    """Whether a browser asks: `text/html` is named, and before any JSON."""
    kinds = [part.partition(";")[0].strip() for part in accept.split(",")]
    if "text/html" not in kinds:
        return False
    return "application/json" not in kinds or kinds.index("text/html") < kinds.index(
        "application/json"
    )
