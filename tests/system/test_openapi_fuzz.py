"""schemathesis over the OpenAPI document: nothing that it allows or forbids breaks the server, and
every answer is one that it describes."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import Case, GenerationMode, Response
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.support.harness import Gateway

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
ALLOWED, FORBIDDEN = GenerationMode.POSITIVE, GenerationMode.NEGATIVE
CHAT = ("/v1/chat/completions", "POST")
DEBUG = ("/v1/debug/request", "POST")
RESPONSES = ("/v1/responses", "POST")
TRIALS = [
    (*CHAT, ALLOWED),
    (*CHAT, FORBIDDEN),
    (*RESPONSES, ALLOWED),
    (*RESPONSES, FORBIDDEN),
    (*DEBUG, ALLOWED),
    (*DEBUG, FORBIDDEN),
    ("/v1/models", "GET", ALLOWED),
    ("/v1/models/{model}", "GET", ALLOWED),
    ("/v1/compatibility", "GET", ALLOWED),
]
BOUNDED = settings(
    max_examples=12,
    deadline=None,
    database=None,
    derandomize=True,
    phases=[Phase.generate],  # shrinking takes a request for each try
    suppress_health_check=list(HealthCheck),
)
QUESTION = [{"role": "user", "content": "Hi"}]


@pytest.fixture(scope="session")
def document(shared_gateway: Gateway) -> Any:
    return schemathesis.openapi.from_dict(shared_gateway.app.openapi())


def cases(document: Any, path: str, method: str, mode: GenerationMode) -> Any:
    return document[path][method].as_strategy(generation_mode=mode)


UNSENDABLE = ("authorization", "content-length")
"""Headers for which it makes up values that httpx refuses to send."""


def request_of(gateway: Gateway, case: Case[Any]) -> dict[str, Any]:
    request: dict[str, Any] = case.as_transport_kwargs(base_url=gateway.url)
    request.pop("cookies", None)
    for name in [name for name in request["headers"] if name.lower() in UNSENDABLE]:
        del request["headers"][name]
    return request


async def answered(gateway: Gateway, case: Case[Any]) -> httpx.Response:
    """Sends the case and holds the answer against the document."""
    request = request_of(gateway, case)
    if isinstance(request.get("data"), bytes):  # as `requests` names it
        request["content"] = request.pop("data")
    answer = await gateway.http.request(**request)
    case.validate_response(Response.from_httpx(answer, verify=True), checks=CHECKS)
    return answer


@pytest.mark.parametrize(("path", "method", "mode"), TRIALS)
@given(data=st.data())
@BOUNDED
async def test_an_answer_is_always_one_that_is_described(
    gateway: Gateway, document: Any, path: str, method: str, mode: GenerationMode, data: Any
) -> None:
    await answered(gateway, data.draw(cases(document, path, method, mode)))


@given(data=st.data())
@BOUNDED
async def test_a_question_with_any_other_fields_is_answered_or_refused(
    gateway: Gateway, document: Any, data: Any
) -> None:
    case = data.draw(cases(document, *CHAT, ALLOWED))
    case.headers.pop("x-session-id", None)
    body = {name: value for name, value in case.body.items() if name not in ("session_id", "tools")}
    asked = {"model": "claude-sonnet-5", "messages": QUESTION, "stream": data.draw(st.booleans())}
    case.body = {**body, **asked}
    answer = await answered(gateway, case)
    assert answer.status_code in (200, 400, 403), answer.text


OTHERS = [
    ("/v1/sessions", "GET"),
    ("/v1/sessions", "POST"),
    ("/v1/sessions/stats", "GET"),
    ("/v1/sessions/{session_id}", "GET"),
    ("/v1/sessions/{session_id}", "DELETE"),
    ("/v1/sessions/{session_id}/clear", "POST"),
    ("/v1/sessions/{session_id}/interrupt", "POST"),
    ("/v1/sessions/{session_id}/tell", "POST"),
    ("/v1/approvals", "GET"),
    ("/v1/approvals/all", "GET"),
    ("/v1/approvals/{approval_id}", "POST"),
    ("/v1/sessions/{session_id}/fork", "POST"),
    ("/v1/sessions/{session_id}/export", "GET"),
    ("/v1/responses/compact", "POST"),
    ("/v1/responses/input_tokens", "POST"),
    ("/v1/responses/{response_id}", "GET"),
    ("/v1/responses/{response_id}", "DELETE"),
    ("/v1/responses/{response_id}/cancel", "POST"),
    ("/v1/responses/{response_id}/input_items", "GET"),
    ("/v1/conversations", "POST"),
    ("/v1/conversations/{conversation_id}", "GET"),
    ("/v1/conversations/{conversation_id}", "POST"),
    ("/v1/conversations/{conversation_id}", "DELETE"),
    ("/v1/conversations/{conversation_id}/items", "GET"),
    ("/v1/conversations/{conversation_id}/items", "POST"),
    ("/v1/conversations/{conversation_id}/items/{item_id}", "GET"),
    ("/v1/conversations/{conversation_id}/items/{item_id}", "DELETE"),
    ("/v1/messages", "POST"),
    ("/v1/messages/count_tokens", "POST"),
    ("/v1/completions", "POST"),
    ("/v1/embeddings", "POST"),
    ("/v1/keys", "GET"),
    ("/v1/keys/{name}", "GET"),
    ("/v1/usage", "GET"),
    ("/v1/usage/limits", "GET"),
    ("/v1/usage/requests", "GET"),
    ("/v1/usage/requests/{request_id}", "GET"),
    ("/v1/usage/requests/{request_id}/body", "GET"),
    ("/metrics", "GET"),
    ("/v1/tools", "GET"),
    ("/v1/tools/config", "GET"),
    ("/v1/tools/config", "PUT"),
    ("/v1/tools/stats", "GET"),
    ("/v1/sessions/{session_id}/changes", "GET"),
    ("/v1/sessions/{session_id}/changes/undo", "POST"),
    ("/v1/sessions/{session_id}/files", "GET"),
    ("/v1/sessions/{session_id}/files/{path}", "GET"),
    ("/v1/sessions/{session_id}/files/{path}", "PUT"),
    ("/v1/mcp/servers", "GET"),
    ("/v1/mcp/servers", "POST"),
    ("/v1/mcp/servers/{name}", "GET"),
    ("/v1/mcp/servers/{name}", "DELETE"),
    ("/v1/pool", "GET"),
    ("/v1/auth/status", "GET"),
    ("/health", "GET"),
    ("/health/ready", "GET"),
    ("/", "GET"),
]


APART = {
    ("/v1/usage/requests/live", "GET"),  # has no end
    ("/v1/keys", "POST"),  # a key would close the server that all tests share
    ("/v1/keys/{name}", "PATCH"),
    ("/v1/keys/{name}", "DELETE"),
}
"""Tried elsewhere."""


def test_every_route_is_tried(gateway: Gateway) -> None:
    paths = gateway.app.openapi()["paths"]
    described = {(path, method.upper()) for path in paths for method in paths[path]}
    assert described == {(path, method) for path, method, *_ in TRIALS} | set(OTHERS) | APART


@pytest.mark.parametrize(("path", "method"), OTHERS)
@given(data=st.data())
@settings(BOUNDED, max_examples=6)
async def test_whatever_is_sent_to_another_route_is_not_our_fault(
    gateway: Gateway, document: Any, path: str, method: str, data: Any
) -> None:
    mode = data.draw(st.sampled_from([ALLOWED, FORBIDDEN])) if method == "POST" else ALLOWED
    case = data.draw(cases(document, path, method, mode))
    request = request_of(gateway, case)
    if isinstance(request.get("data"), bytes):
        request["content"] = request.pop("data")
    answer = await gateway.http.request(**request)
    assert answer.status_code < 500, answer.text
    if (path, method) == ("/v1/tools/config", "PUT"):  # other tests count on the defaults
        assert (await gateway.http.put(path, json={})).status_code == 200
