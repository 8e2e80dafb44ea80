"""The middleware in its order."""

from __future__ import annotations

from fastapi import FastAPI
from fastapi.middleware.cors import CORSMiddleware

from auth import KeyBook
from config.settings import Settings
from rate_limiter import RateLimiter
from web.middleware.access import Gate
from web.middleware.body_limits import Bounds
from web.middleware.browser_security import Browsers
from web.middleware.paths import Courtesies
from web.middleware.request_log import RequestLog
from web.middleware.unread_bodies import UnreadBodies
from web.sign_in import SignIn

EXPOSED_HEADERS = (
    "x-request-id",
    "x-client-request-id",
    "retry-after",
    "x-should-retry",
    "x-ignored-parameters",
    "x-claude-cost-usd",
    "x-model-replaced",
    "x-session-id",
    "x-session-status",
    "x-context-trimmed",
    "x-ratelimit-limit-requests",
    "x-ratelimit-remaining-requests",
    "x-ratelimit-reset-requests",
    "request-id",
    "x-token-count",
    "anthropic-ratelimit-requests-limit",
    "anthropic-ratelimit-requests-remaining",
    "anthropic-ratelimit-requests-reset",
)


def add_middleware(
    app: FastAPI, settings: Settings, book: KeyBook, limiter: RateLimiter, sign_in: SignIn
) -> None:
    """The last added is the outermost."""
    app.add_middleware(Bounds, settings=settings)
    app.add_middleware(Gate, settings=settings, keys=book, limiter=limiter, sign_in=sign_in)
    if settings.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.cors_origins,
            allow_methods=["*"],
            allow_headers=["*"],
            allow_credentials=False,  # the page's cookie is for no other origin
            allow_private_network=True,  # of the origins above, as this server is on one
            expose_headers=EXPOSED_HEADERS,
        )
    app.add_middleware(Browsers, settings=settings, keys=book)
    app.add_middleware(Courtesies)
    app.add_middleware(UnreadBodies)
    app.add_middleware(RequestLog)
