"""The one writer of errors: in the envelope of the API that the path belongs to."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response
from starlette.types import Scope

from config.logs import current_request_id
from core.errors import GatewayError, InvalidRequest, NotFound
from dialects import messages
from dialects.base import Dialect
from turns.dialects import of_path
from web.anthropic import is_anthropics

log = logging.getLogger(__name__)

Loc = Sequence[int | str]
Problem = Mapping[str, Any]
"""One entry of `ValidationError.errors()`."""


def error_response(error: GatewayError, asked: Scope | str = "") -> JSONResponse:
    """The answer to a request, or to one for this path; an empty one where none is known yet."""
    dialect = _dialect(asked)
    error.request_id = current_request_id.get()
    headers = error.headers() | error.extra_headers
    return JSONResponse(dialect.error(error), dialect.status(error), headers)


def _dialect(asked: Scope | str) -> Dialect[Any]:
    if isinstance(asked, str):
        return of_path(asked)
    return messages.DIALECT if is_anthropics(asked) else of_path(asked["path"])


def install(app: FastAPI) -> None:
    """What no handler catches is answered by `telemetry.RequestLog`."""
    app.add_exception_handler(GatewayError, _gateway_error)
    app.add_exception_handler(RequestValidationError, _validation_error)
    app.add_exception_handler(HTTPException, _http_exception)


async def _gateway_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, GatewayError)
    if error.status >= 500:
        log.warning("%s: %s", error.code, error.message)
    return error_response(error, request.scope)


async def _validation_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    invalid = _not_json(request, error.body) or invalid_request(
        error.errors(), error.body, brief=is_anthropics(request.scope)
    )
    return error_response(invalid, request.scope)


def _not_json(request: Request, body: object) -> InvalidRequest | None:
    """Where the body was not read as JSON: what to change."""
    if not isinstance(body, bytes):
        return None
    kind = request.headers.get("content-type") or "no Content-Type"
    message = f"Send JSON with the header `Content-Type: application/json`, not {kind[:100]!r}."
    return InvalidRequest(message, code="invalid_content_type")


async def _http_exception(request: Request, error: Exception) -> Response:
    """Starlette's own: an unknown URL, an unsupported method, a body that is not UTF-8."""
    assert isinstance(error, HTTPException)
    method, path = request.method, request.url.path
    known: GatewayError
    match error.status_code:
        case 404:
            known = NotFound(f"Invalid URL ({method} {path})", code="unknown_url")
        case 405:
            known = InvalidRequest(
                f"Method {method} not allowed for {path}",
                code="method_not_allowed",
            )
        case _:
            known = InvalidRequest(str(error.detail), code="invalid_request")
    answer = error_response(known, request.scope)
    answer.status_code = error.status_code
    answer.headers.update(error.headers or {})
    return answer


def invalid_request(
    problems: Sequence[Problem], body: object, *, brief: bool = False
) -> InvalidRequest:
    """One error out of all that a validation found: the one deepest in the body. `brief` puts it as
    Anthropic does: `messages.0.role: Field required`.

    A union reports a failure for each of its members, and the members that never applied fail
    early; what is deepest is what the caller meant.
    """
    paths = [_path(problem, body) for problem in problems]
    deepest = max(range(len(paths)), key=lambda index: len(paths[index]))
    problem, path = problems[deepest], paths[deepest]
    if brief and path:
        place = ".".join(map(str, path))
        return InvalidRequest(f"{place}: {problem['msg']}", param=place)
    return _described(problem, param_name(path))


def _described(problem: Problem, param: str | None) -> InvalidRequest:
    kind, text = problem["type"], problem["msg"].removeprefix("Value error, ")
    if kind == "json_invalid":
        why = problem.get("ctx", {}).get("error", text)
        message = f"We could not parse the JSON body of your request: {why}."
        return InvalidRequest(message, code="invalid_json")
    if kind in ("missing", "union_tag_not_found"):
        message = f"Missing required parameter: '{param}'." if param else "The body is missing."
        return InvalidRequest(message, param=param, code="missing_required_parameter")
    if kind == "union_tag_invalid":
        text = f"must be one of {problem['ctx']['expected_tags']}"
    wrong_type = kind.endswith(("_type", "_parsing", "_attributes"))
    word, code = ("type", "invalid_type") if wrong_type else ("value", "invalid_value")
    message = f"Invalid {word} for '{param or 'body'}': {text}."
    return InvalidRequest(message, param=param, code=code)


def _path(problem: Problem, body: object) -> Loc:
    """The part of `loc` that exists in the body: Pydantic puts the names of union members in it."""
    place, *loc = problem["loc"]
    if place != "body" or problem["type"] == "json_invalid":
        return loc if place != "body" else ()
    path: list[int | str] = []
    for position, step in enumerate(loc):
        is_absent = problem["type"] == "missing" and position == len(loc) - 1
        if is_absent or _has(body, step):
            path.append(step)
            body = None if is_absent else body[step]  # type: ignore[index]  # _has saw it
    if problem["type"].startswith("union_tag_"):
        path.append(problem["ctx"]["discriminator"].strip("'"))
    return path


def _has(body: object, step: int | str) -> bool:
    if isinstance(body, dict):
        return step in body
    return isinstance(body, list) and isinstance(step, int) and step < len(body)


def param_name(path: Loc) -> str | None:
    """`messages[0].role`, as OpenAI names it."""
    name = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)
    return name.removeprefix(".") or None
