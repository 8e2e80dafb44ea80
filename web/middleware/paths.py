"""Small courtesies to clients: HEAD wherever GET works, a slash too many, and an icon."""

from __future__ import annotations

from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

ICON_PATH = "/favicon.ico"
ICON = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32"><rect width="32" height="32" '
    'rx="7" fill="#c2622d"/><path d="M8 11h16v10H14l-4 4v-4H8z" fill="#fff"/></svg>'
)
A_DAY = {"cache-control": "public, max-age=86400"}


class Courtesies:
    """Pure ASGI: rewrites the path and the method of a request before it is routed."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        is_head = scope["method"] == "HEAD"
        asked = {**scope, "path": plain(scope["path"])}
        asked["method"] = "GET" if is_head else scope["method"]
        answer = _without_body(send) if is_head else send
        if asked["path"] == ICON_PATH and asked["method"] == "GET":
            await Response(ICON, 200, A_DAY, "image/svg+xml")(asked, receive, answer)
            return
        await self.app(asked, receive, answer)


def plain(path: str) -> str:
    """Without a slash at its end, which some clients put there. A session's files may mean it."""
    if len(path) == 1 or not path.endswith("/") or "/files/" in path:
        return path
    return path.rstrip("/") or "/"


def _without_body(send: Send) -> Send:
    """The headers of the answer to GET, its length among them, and nothing else."""

    async def headers_only(message: Message) -> None:
        if message["type"] == "http.response.body":
            message = {**message, "body": b""}
        await send(message)

    return headers_only
