"""The HTTP side: routes of Anthropic, Bedrock and Vertex, all answered by the same model."""

import asyncio
import json
import re
import time
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route, Router
from starlette.types import Receive, Scope, Send

from demo import conversation, directives, eventstream, sse
from demo.errors import ApiError, bedrock_type, error_json, invalid, new_request_id
from demo.model import DemoModel
from demo.recording import Provider, RecordedRequest, Recorder
from demo.validation import betas_of, validate
from demo.writer import ClientLeft, Delivery, Encoder, Line, error_headers

MODELS: Final[dict[str, str]] = {
    "claude-opus-4-5-20251101": "Claude Opus 4.5",
    "claude-sonnet-4-5-20250929": "Claude Sonnet 4.5",
    "claude-haiku-4-5-20251001": "Claude Haiku 4.5",
}
_LARGEST_BODY: Final[dict[Provider, int]] = {
    "anthropic": 32 * 1024 * 1024,
    "vertex": 30 * 1024 * 1024,
    "bedrock": 20 * 1024 * 1024,
}
# half of a surrogate pair, as JSON escapes it: what `json.loads` takes and the API does not
_SURROGATE: Final = re.compile(rb"\\u[dD][89a-fA-F]")
_ENCODERS: Final[dict[Provider, tuple[bytes, Encoder]]] = {
    "anthropic": (b"text/event-stream; charset=utf-8", sse.encode),
    "vertex": (b"text/event-stream; charset=utf-8", sse.encode),
    "bedrock": (b"application/vnd.amazon.eventstream", eventstream.encode),
}


class Upstream:
    """What all endpoints share: the model, the recorder and the sign that the server closes."""

    def __init__(self, record: int, *, speaks: bool = False) -> None:
        self.recorder = Recorder(record)
        self.model = DemoModel(speaks=speaks)
        self.closing = asyncio.Event()


class Messages:
    """One way to ask the model. `stream` is None where the body's own field decides."""

    def __init__(self, upstream: Upstream, provider: Provider, stream: bool | None = None) -> None:
        self.upstream, self.provider, self.stream = upstream, provider, stream

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, whatever happens to it."""
        raw = await Request(scope, receive).body()
        body, problem = parsed(raw, self.provider)
        request = recorded(scope, self.provider, body, raw)
        line = Line(receive, send, self.upstream.closing)
        request_id = new_request_id()
        with self.upstream.recorder.answering(request) as outcome:
            outcome.text = "disconnected"
            try:
                if problem is not None:
                    raise problem
                outcome.text = await self.answer(request, line, len(raw), request_id)
            except ApiError as error:
                outcome.text = f"error {error.status}"
                await refuse(line, error, request_id, self.provider)
            except ClientLeft:
                pass
            finally:
                await line.end()

    async def answer(self, request: RecordedRequest, line: Line, size: int, request_id: str) -> str:
        """Let the model answer; return the outcome. Raises `ApiError` before anything is sent."""
        check_access(self.provider, request.headers)
        betas = betas_of(request.headers, request.body)
        validate(request.body, self.provider, request.model, betas)
        talk = conversation.read(request.body, request.model)
        asks = directives.read(directives.pairs(talk.system) | directives.pairs(talk.asked))
        if asks.round != talk.rounds:
            asks = directives.without_faults(asks)
        self.upstream.model.check(talk, asks)
        answer = self.upstream.model.answer(talk, asks, size // 4 + 1)
        pacing = self.upstream.model.paced(asks)
        delivery = Delivery(line, pacing, request_id, request.usage.update)
        streams = request.body.get("stream", False) if self.stream is None else self.stream
        content_type, encode = _ENCODERS[self.provider]
        named = (b"request-id", request_id.encode())
        if not streams:
            return await delivery.body(answer, [(b"content-type", b"application/json"), named])
        headers = [(b"content-type", content_type), (b"cache-control", b"no-cache"), named]
        return await delivery.stream(answer, encode, headers)


class Other:
    """An endpoint beside the model: what it is asked is recorded apart."""

    def __init__(self, upstream: Upstream, provider: Provider, content: Any = None) -> None:
        self.upstream, self.provider, self.content = upstream, provider, content

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer with the fixed content; 404 in Anthropic's shape without one."""
        raw = await Request(scope, receive).body()
        body, _ = parsed(raw)
        self.upstream.recorder.other_requests.append(recorded(scope, self.provider, body, raw))
        if self.content is None:
            line = Line(receive, send, self.upstream.closing)
            await refuse(line, ApiError(404, "Not found"), new_request_id())
        else:
            await JSONResponse(self.content)(scope, receive, send)


class CountTokens:
    """`POST /v1/messages/count_tokens`: a fourth of the request's characters."""

    def __init__(self, upstream: Upstream) -> None:
        self.upstream = upstream

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer `{"input_tokens": n}`, or refuse what the model would refuse."""
        raw = await Request(scope, receive).body()
        body, problem = parsed(raw)
        request = recorded(scope, "anthropic", body, raw)
        self.upstream.recorder.other_requests.append(request)
        try:
            if problem is not None:
                raise problem
            check_access("anthropic", request.headers)
            betas = betas_of(request.headers, body)
            validate({"max_tokens": 1, **body}, "anthropic", request.model, betas)
        except ApiError as error:
            line = Line(receive, send, self.upstream.closing)
            await refuse(line, error, new_request_id())
        else:
            await JSONResponse({"input_tokens": len(raw) // 4 + 1})(scope, receive, send)


def create_app(upstream: Upstream) -> Router:
    """All routes of the three providers."""
    publisher = "{prefix:path}/publishers/anthropic/models/{model}"
    routes = [
        Route("/", Home()),
        Route("/v1/messages", Messages(upstream, "anthropic")),
        Route("/v1/messages/count_tokens", CountTokens(upstream)),
        Route("/v1/models", Other(upstream, "anthropic", _model_list())),
        Route("/inference-profiles", Other(upstream, "bedrock", _profiles())),
        Route(
            "/model/{model:path}/invoke-with-response-stream", Messages(upstream, "bedrock", True)
        ),
        Route("/model/{model:path}/invoke", Messages(upstream, "bedrock", False)),
        Route(f"/{publisher}:streamRawPredict", Messages(upstream, "vertex", True)),
        Route(f"/{publisher}:rawPredict", Messages(upstream, "vertex", False)),
    ]
    return Router(routes, redirect_slashes=False, default=Other(upstream, "anthropic"))


class Home:
    """`HEAD /`, by which a client looks whether anybody is there."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer 200 with an empty body."""
        await Response(b"")(scope, receive, send)


def _no_constant(name: str) -> None:
    """Refuse NaN and the infinities, which Python's parser takes and JSON has not."""
    raise ValueError(f"unexpected {name}")


_DECODER: Final = json.JSONDecoder(parse_constant=_no_constant)


def parsed(raw: bytes, provider: Provider = "anthropic") -> tuple[dict[str, Any], ApiError | None]:
    """A JSON object, or {} and what is wrong with it."""
    if len(raw) > _LARGEST_BODY[provider]:
        return {}, ApiError(413, "Request exceeds the maximum size")
    try:
        body = _DECODER.decode(raw.decode()) if raw else {}
        if b"\\u" in raw and _SURROGATE.search(raw):
            json.dumps(body, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        return {}, invalid(f"The request body is not valid JSON: {error.reason} in string")
    except (ValueError, RecursionError) as error:
        return {}, invalid(f"The request body is not valid JSON: {error}")
    if not isinstance(body, dict):
        return {}, invalid("Input should be a valid dictionary or object to extract fields from")
    return body, None


def recorded(scope: Scope, provider: Provider, body: dict[str, Any], raw: bytes) -> RecordedRequest:
    """The record of a request that just arrived; `body` is kept, not copied."""
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
    return RecordedRequest(provider, scope["path"], headers, body, time.monotonic(), raw)


def check_access(provider: Provider, headers: dict[str, str]) -> None:
    """Raise the 401 or 400 of missing headers; a key that contains "invalid" is refused."""
    if provider != "anthropic":
        return
    key = headers.get("x-api-key") or headers.get("authorization", "")
    if not key:
        raise ApiError(401, "x-api-key header is required")
    if "invalid" in key:
        raise ApiError(401, "invalid x-api-key")
    if "anthropic-version" not in headers:
        raise invalid("anthropic-version: header is required")


async def refuse(
    line: Line, error: ApiError, request_id: str, provider: Provider = "anthropic"
) -> None:
    """Send an error as the only answer, in the provider's own shape."""
    data = error_json(error.type, error.message, request_id).encode()
    headers = error_headers(error, request_id)
    if provider == "bedrock":
        data = json.dumps({"message": error.message}).encode()
        headers.append((b"x-amzn-errortype", bedrock_type(error.status).encode()))
    await line.start(error.status, [*headers, (b"content-length", b"%d" % len(data))])
    await line.write(data, last=True)


def _model_list() -> dict[str, Any]:
    created = "2025-11-01T00:00:00Z"
    models = [
        {"type": "model", "id": name, "display_name": shown, "created_at": created}
        for name, shown in MODELS.items()
    ]
    ends = {"first_id": models[0]["id"], "last_id": models[-1]["id"]}
    return {"data": models, "has_more": False, **ends}


def _profiles() -> dict[str, Any]:
    profiles = [
        {"inferenceProfileId": f"us.anthropic.{name}-v1:0", "status": "ACTIVE"} for name in MODELS
    ]
    return {"inferenceProfileSummaries": profiles}
