"""Pure ASGI: what a browser may be made to do to this server, and what its pages may do.

A server without keys trusts its own computer, and every web page that is open there runs on it. So
without keys a request must be meant for this computer by name, which stops DNS rebinding, and come
from no other site's page. With keys neither matters: another site's page has none.
"""

from __future__ import annotations

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from auth import KeyBook
from config.settings import Settings
from core.addresses import is_loopback
from core.errors import PermissionDenied
from web.errors import error_response

ALWAYS = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
)
PAGE_POLICY = b"default-src 'none'; base-uri 'none'; frame-ancestors 'none'"
"""Of pages that bring none of their own (web/dashboard/)."""


PAGES = frozenset({"/", "/docs", "/openapi.json"})
"""What a link may lead to; they start nothing."""


class Browsers:
    """Refuses cross-origin requests and unknown hosts while no key is needed; security headers
    always."""

    def __init__(self, app: ASGIApp, settings: Settings, keys: KeyBook) -> None:
        self.app = app
        self._settings = settings
        self._keys = keys

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        send = _securing(scope, send)
        error = None if self._keys.is_protected else self._objection(scope)
        if error is None:
            await self.app(scope, receive, send)
        else:
            await error_response(error, scope)(scope, receive, send)

    def _objection(self, scope: Scope) -> PermissionDenied | None:
        if scope["path"] == "/health":  # asked for by address, and tells nothing
            return None
        headers = Headers(scope=scope)
        host, origin = headers.get("host", ""), headers.get("origin")
        if host and not self._settings.allow_unprotected and not self._is_own(host):
            return PermissionDenied(
                "Without an API key only loopback host names are allowed, "
                "such as localhost: set API_KEY to allow others.",
                code="host_not_allowed",
            )
        if _is_embedded(scope, headers) or (
            origin is not None and not self._may_call(origin, host)
        ):
            return PermissionDenied(
                "Cross-origin requests are refused on a server without an API key: "
                "add the origin to CORS_ORIGINS, or set API_KEY.",
                code="origin_not_allowed",
            )
        return None

    def _is_own(self, host: str) -> bool:
        name = host_name(host)
        return is_loopback(name) or name == self._settings.host.lower()

    def _may_call(self, origin: str, host: str) -> bool:
        named = self._settings.cors_origins
        return "*" in named or origin in named or (host != "" and authority(origin) == host)


def _is_embedded(scope: Scope, headers: Headers) -> bool:
    """Whether another site's page asks, by an image or a script, which send no `Origin`. Following
    a link is a visitor's own wish; so is what a page may call by CORS_ORIGINS.
    https://www.w3.org/TR/fetch-metadata/"""
    site, mode = headers.get("sec-fetch-site"), headers.get("sec-fetch-mode")
    is_foreign = site in ("cross-site", "same-site") and "origin" not in headers
    return is_foreign and not (mode == "navigate" and scope["path"] in PAGES)


def authority(origin: str) -> str:
    """`localhost:8000` of `http://localhost:8000`."""
    return origin.partition("://")[2]


def host_name(host: str) -> str:
    """`localhost` of `LocalHost.:8000`, `::1` of `[::1]:8000`."""
    name, _, rest = host.lower().partition(":")
    if host.startswith("["):
        name = host[1:].partition("]")[0]
    elif ":" in rest:
        return ""
    return name.removesuffix(".")


def _securing(scope: Scope, send: Send) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = [_relative(scope, header) for header in message.get("headers", ())]
            names = {name for name, _ in headers}
            headers += [header for header in ALWAYS if header[0] not in names]
            if _is_page(headers) and b"content-security-policy" not in names:
                headers.append((b"content-security-policy", PAGE_POLICY))
            message["headers"] = headers
        await send(message)

    return sending


def _relative(scope: Scope, header: tuple[bytes, bytes]) -> tuple[bytes, bytes]:
    """A redirect within this server without scheme and host: behind a proxy that ends TLS, this
    server knows neither."""
    name, value = header
    if name == b"location":
        own = f"{scope['scheme']}://{Headers(scope=scope).get('host', '')}/".encode("latin-1")
        value = value[len(own) - 1 :] if value.startswith(own) else value
    return name, value


def _is_page(headers: list[tuple[bytes, bytes]]) -> bool:
    return any(
        name == b"content-type" and value.startswith(b"text/html") for name, value in headers
    )
