"""Who is signed in at the page: a signed cookie that names a key, and the token against CSRF.

The cookie holds no key, and opens nothing once its key is revoked or expired. It is read where no
key is sent, and only by requests that this server's own page may have sent: a browser sends it to
no other site (`SameSite=Strict`), what changes anything needs a token that only the page knows, and
over plain http it is neither given nor taken unless the browser is on this computer.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
import time
from collections.abc import Callable
from http.cookies import CookieError, SimpleCookie

from starlette.datastructures import Headers
from starlette.types import Scope

from auth import KeyBook, Principal
from config.settings import Settings
from core.addresses import is_loopback, parsed
from core.errors import PermissionDenied

SIGNED_IN_SECONDS = 12 * 3600
COOKIE = "claude_gateway"
SECURE_COOKIE = "__Host-claude_gateway"
"""By its name a browser takes it over https only, from no other host (RFC 6265bis, 4.1.3.2)."""

TOKEN_HEADER = "x-csrf-token"
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


class SignIn:
    """Makes and reads cookies. `secret` None is a new one, which ends with the process."""

    def __init__(
        self, settings: Settings, book: KeyBook, *, clock: Callable[[], float] = time.time
    ) -> None:
        self._settings = settings
        self._book = book
        self._clock = clock
        self._secret = (settings.cookie_secret or secrets.token_urlsafe(32)).encode()

    async def principal(self, scope: Scope) -> Principal | None:
        """Who is signed in; None without a sign-in, or where the request is not the page's."""
        headers = Headers(scope=scope)
        found = self._read(headers)
        if found is None or not self.is_private(scope):
            return None
        cookie, name, key_id = found
        if scope["method"] not in SAFE_METHODS:
            sent = headers.get(TOKEN_HEADER, "")
            if not hmac.compare_digest(sent.encode(), self._token(cookie).encode()):
                return None
        if headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
            return None
        return await self._book.named(name, key_id)

    def cookie(self, principal: Principal, scope: Scope) -> str:
        """The value of `Set-Cookie`. Raises PermissionDenied over plain http from elsewhere."""
        self.check_private(scope)
        until = int(self._clock()) + SIGNED_IN_SECONDS
        text = json.dumps([principal.name, principal.key_id, until]).encode()
        payload = base64.urlsafe_b64encode(text).decode().rstrip("=")
        return self._set(f"{payload}.{self._signature(payload)}", SIGNED_IN_SECONDS, scope)

    def no_cookie(self, scope: Scope) -> str:
        return self._set("", 0, scope)

    def token(self, scope: Scope) -> str:
        """What the page sends with what changes something; empty without a sign-in."""
        found = self._read(Headers(scope=scope))
        return self._token(found[0]) if found else ""

    def check_private(self, scope: Scope) -> None:
        if not self.is_private(scope):
            raise PermissionDenied(
                "Signing in over plain http would show the key to the network: use https, or "
                "http://localhost on this computer (or SIGN_IN_OVER_HTTP=true).",
                code="https_required",
            )

    def is_private(self, scope: Scope) -> bool:
        """Whether the connection from the browser is encrypted or local."""
        host = Headers(scope=scope).get("host", "")
        return self.is_https(scope) or self._settings.sign_in_over_http or _is_local(host)

    def is_https(self, scope: Scope) -> bool:
        """By the connection, or by a proxy that TRUSTED_PROXIES names."""
        if scope.get("scheme") == "https":
            return True
        peer = parsed((scope.get("client") or ("",))[0])
        proxies = self._settings.trusted_proxies
        if peer is None or not any(peer in network for network in proxies):
            return False
        return Headers(scope=scope).get("x-forwarded-proto", "").split(",")[-1].strip() == "https"

    def _set(self, value: str, seconds: int, scope: Scope) -> str:
        is_https = self.is_https(scope)
        name = SECURE_COOKIE if is_https else COOKIE
        flags = f"Max-Age={seconds}; Path=/; HttpOnly; SameSite=Strict"
        return f"{name}={value}; {flags}{'; Secure' if is_https else ''}"

    def _read(self, headers: Headers) -> tuple[str, str, str] | None:
        """The cookie, and the name and id of the key that it was given for."""
        cookies: SimpleCookie = SimpleCookie()
        try:
            cookies.load(headers.get("cookie", ""))
        except CookieError:
            return None
        morsel = cookies.get(SECURE_COOKIE) or cookies.get(COOKIE)
        cookie = morsel.value if morsel else ""
        payload, _, signature = cookie.partition(".")
        expected = self._signature(payload)
        if not payload or not hmac.compare_digest(signature.encode(), expected.encode()):
            return None
        name, key_id, until = json.loads(
            base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4))
        )
        return (cookie, name, key_id) if self._clock() < until else None

    def _signature(self, payload: str) -> str:
        return hmac.new(self._secret, b"cookie " + payload.encode(), hashlib.sha256).hexdigest()

    def _token(self, cookie: str) -> str:
        return hmac.new(self._secret, b"token " + cookie.encode(), hashlib.sha256).hexdigest()


def _is_local(host: str) -> bool:
    """Whether a browser that was sent to this name is on this computer."""
    name = host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]
    return name == "localhost" or is_loopback(name)
