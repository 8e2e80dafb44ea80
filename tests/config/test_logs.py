"""Request ids on every answer, one access line per request, and what a log line may hold."""

from __future__ import annotations

import io
import json
import logging
import re
import sys
from collections.abc import AsyncIterator, Iterator

import httpx
import pytest
from fastapi import FastAPI, Request
from pydantic import BaseModel, ValidationError
from starlette.datastructures import Headers
from starlette.types import Message, Receive, Scope, Send

from config.logs import ConsoleLine, JsonLine, configure_logging, current_request_id, is_loggable
from config.settings import Settings
from core.errors import ModelNotFound, RateLimited
from tests.support.harness import Gateway
from web import errors
from web.middleware.request_log import RequestLog, client_request_id, described

REQUEST_ID = re.compile(r"req_[0-9a-f]{32}")


class Wanted(BaseModel):
    number: int


async def _ok(request: Request) -> dict[str, object]:
    return {"seen": request.state.request_id, "current": current_request_id.get()}


async def _refused() -> None:
    raise ModelNotFound("no such model", param="model")


async def _limited() -> None:
    raise RateLimited("slow down", retry_after=1.2)


async def _broken() -> None:
    raise RuntimeError("s3cret")


async def _typed(wanted: Wanted) -> None:
    return None


SCOPE = {"type": "http", "method": "POST", "path": "/slow", "headers": []}


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    app = FastAPI()
    for path, endpoint in (
        ("/ok", _ok),
        ("/refused", _refused),
        ("/limited", _limited),
        ("/broken", _broken),
    ):
        app.add_api_route(path, endpoint, response_model=None)
    app.add_api_route("/typed", _typed, methods=["POST"])
    errors.install(app)
    app.add_middleware(RequestLog)
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        yield client


@pytest.fixture
def access(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.INFO, logger="access")
    return caplog


def access_lines(caplog: pytest.LogCaptureFixture) -> list[dict[str, object]]:
    return [
        json.loads(JsonLine().format(record))
        for record in caplog.records
        if record.name == "access"
    ]


ANSWERS = [
    ("GET", "/ok", 200),
    ("GET", "/refused", 404),
    ("GET", "/limited", 429),
    ("GET", "/nowhere", 404),
    ("DELETE", "/ok", 405),
    ("POST", "/typed", 400),
    ("GET", "/broken", 500),
]


@pytest.mark.parametrize(("method", "path", "status"), ANSWERS)
async def test_every_answer_has_a_request_id_and_one_access_line(
    client: httpx.AsyncClient,
    access: pytest.LogCaptureFixture,
    method: str,
    path: str,
    status: int,
) -> None:
    answer = await client.request(method, path)
    assert answer.status_code == status
    request_id = answer.headers["x-request-id"]
    assert REQUEST_ID.fullmatch(request_id)
    [line] = access_lines(access)
    assert (line["method"], line["path"], line["status"]) == (method, path, status)
    assert line["request_id"] == request_id
    assert isinstance(line["duration_ms"], float)


@pytest.mark.parametrize(("method", "path", "status"), ANSWERS[1:])
async def test_every_error_has_the_openai_shape(
    client: httpx.AsyncClient, method: str, path: str, status: int
) -> None:
    error = (await client.request(method, path)).json()
    assert set(error) == {"error"}
    assert set(error["error"]) == {"message", "type", "param", "code"}


async def test_a_bug_is_a_500_that_tells_nothing(
    client: httpx.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    answer = await client.get("/broken")
    assert answer.json()["error"]["code"] == "internal_error"
    assert "s3cret" not in answer.text
    assert [record.name for record in caplog.records if record.exc_info] == [
        "web.middleware.request_log"
    ]


async def test_retry_after_reaches_the_caller(client: httpx.AsyncClient) -> None:
    assert (await client.get("/limited")).headers["retry-after"] == "2"


async def test_a_route_and_its_log_lines_know_the_request_id(client: httpx.AsyncClient) -> None:
    answer = await client.get("/ok")
    request_id = answer.headers["x-request-id"]
    assert answer.json() == {"seen": request_id, "current": request_id}
    assert current_request_id.get() is None


async def test_a_failure_after_the_answer_began_gets_no_second_answer(
    access: pytest.LogCaptureFixture,
) -> None:
    async def half(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise RuntimeError("half-way")

    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    await RequestLog(half)(SCOPE, _nothing, send)
    assert [message["type"] for message in sent] == ["http.response.start"]
    assert [line["status"] for line in access_lines(access)] == [200]


@pytest.mark.parametrize(
    ("value", "echoed"),
    [
        ("my-id 7", "my-id 7"),
        ("x" * 512, "x" * 512),
        ("x" * 513, None),
        ("a\tb", None),
        ("caf\u00e9", None),
        ("", None),
    ],
)
def test_the_callers_own_id_is_kept_where_it_is_printable_ascii(
    value: str, echoed: str | None
) -> None:
    headers = Headers(raw=[(b"x-client-request-id", value.encode("latin-1"))])
    assert client_request_id(headers) == echoed


async def test_the_callers_own_id_is_echoed_and_logged(
    client: httpx.AsyncClient, access: pytest.LogCaptureFixture
) -> None:
    answer = await client.get("/nowhere", headers={"X-Client-Request-Id": "mine"})
    assert answer.headers["x-client-request-id"] == "mine"
    assert [line["client_request_id"] for line in access_lines(access)] == ["mine"]


async def test_a_path_cannot_forge_a_log_line_and_a_query_is_not_logged(
    client: httpx.AsyncClient, access: pytest.LogCaptureFixture
) -> None:
    await client.get("/a%0A12:00 INFO forged?key=s3cret")
    [line] = access_lines(access)
    assert "\n" not in str(line["message"])
    assert "s3cret" not in json.dumps(line)


@pytest.mark.parametrize(
    ("method", "path", "status", "level"),
    [
        ("GET", "/health", 200, "DEBUG"),
        ("GET", "/health/ready", 503, "INFO"),
        ("GET", "/v1/approvals/all", 200, "DEBUG"),
        ("GET", "/assets/main.js", 200, "DEBUG"),
        ("POST", "/v1/approvals/one", 200, "INFO"),
        ("GET", "/v1/models", 200, "INFO"),
    ],
)
async def test_what_comes_every_few_seconds_is_told_only_in_detail(
    access: pytest.LogCaptureFixture, method: str, path: str, status: int, level: str
) -> None:
    async def answering(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": status, "headers": []})

    async def send(message: Message) -> None:
        pass

    access.set_level(logging.DEBUG, logger="access")
    await RequestLog(answering)({**SCOPE, "method": method, "path": path}, _nothing, send)
    assert [record.levelname for record in access.records if record.name == "access"] == [level]


async def test_a_client_that_leaves_before_the_answer_is_logged_as_499(
    access: pytest.LogCaptureFixture,
) -> None:
    async def silent(scope: Scope, receive: Receive, send: Send) -> None:
        return None

    await RequestLog(silent)(SCOPE, _nothing, _nowhere)
    assert [line["status"] for line in access_lines(access)] == [499]


async def _nothing() -> dict[str, object]:
    return {"type": "http.disconnect"}


async def _nowhere(message: object) -> None:
    raise AssertionError(message)


def record(level: int = logging.INFO, path: str = __file__, **more: object) -> logging.LogRecord:
    made = logging.LogRecord("a.module", level, path, 1, "said %s", ("this",), None)
    made.__dict__.update(more)
    return made


def test_a_json_line_is_one_object() -> None:
    line = JsonLine().format(record(fields={"status": 200, "left_out": None}))
    entry = json.loads(line)
    assert "\n" not in line
    assert (entry["message"], entry["level"], entry["status"]) == ("said this", "info", 200)
    assert "left_out" not in entry


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


ID = {"request_id": "req_0123456789abcdef0123456789abcdef"}


def test_a_line_in_a_file_has_the_date_and_no_colours() -> None:
    line = ConsoleLine(io.StringIO()).format(record(fields=ID))
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d INFO    01234567 said this", line)


def test_a_line_on_a_terminal_has_the_time_and_colours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    line = ConsoleLine(Terminal()).format(record(logging.WARNING, fields=ID))
    assert re.fullmatch(
        r"\x1b\[2m[\d:]{8}\x1b\[0m \x1b\[33mWARNING\x1b\[0m \x1b\[2m01234567\x1b\[0m said this",
        line,
    )
    monkeypatch.setenv("NO_COLOR", "1")
    line = ConsoleLine(Terminal()).format(record(logging.WARNING))
    assert re.fullmatch(r"\d\d:\d\d:\d\d WARNING said this", line)


async def test_what_watches_a_server_is_logged_only_when_something_is_wrong(
    caplog: pytest.LogCaptureFixture,
) -> None:
    statuses = {"/health": 200, "/health/ready": 503}

    async def probed(scope: Scope, receive: Receive, send: Send) -> None:
        status = statuses[scope["path"]]
        await send({"type": "http.response.start", "status": status, "headers": []})

    async def send(message: Message) -> None:
        pass

    caplog.set_level(logging.DEBUG, logger="access")
    for path in statuses:
        await RequestLog(probed)({**SCOPE, "path": path}, _nothing, send)
    levels = [record.levelname for record in caplog.records if record.name == "access"]
    assert levels == ["DEBUG", "INFO"]


def test_the_line_of_a_turn_says_who_asked_what_and_what_it_took() -> None:
    fields = {
        "method": "POST",
        "path": "/v1/chat/completions",
        "status": 200,
        "duration_ms": 1240.4,
        "key": "0a1b2c3d",
        "key_name": "alice",
        "model": "claude-sonnet-5-5",
        "prompt_tokens": 812,
        "completion_tokens": 40,
        "cost_usd": 0.00312,
        "first_token_ms": 312,
    }
    assert described(fields) == (
        "POST /v1/chat/completions 200 1.24 s, alice, claude-sonnet-5-5, 812 + 40 tokens, $0.0031, "
        "first token 312 ms"
    )
    few = {name: fields[name] for name in ("method", "path", "status")} | {"duration_ms": 4.2}
    assert described(few) == "POST /v1/chat/completions 200 4.2 ms"


@pytest.mark.wire
async def test_a_turn_is_one_line(gateway: Gateway, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    body = {"model": "haiku", "n": 2, "messages": [{"role": "user", "content": "Hello"}]}
    await gateway.http.post("/v1/chat/completions", json=body)
    [line] = access_lines(caplog)
    asked = [request for request in gateway.upstream.requests if request.model == line["model"]]
    assert len(asked) == 2
    assert line["completion_tokens"] == 2 * 5
    for name in ("first_token_ms", "prompt_tokens", "cost_usd"):
        assert line[name]
    own = [each.name for each in caplog.records if each.levelno >= logging.INFO]
    others = ("uvicorn", "httpx", "sqlalchemy")
    assert [name for name in own if not name.startswith(others)] == ["access"]


def test_libraries_are_heard_only_when_they_warn() -> None:
    library = str(logging.__file__)
    assert not is_loggable(record(logging.INFO, library))
    assert is_loggable(record(logging.WARNING, library))
    assert is_loggable(record(logging.DEBUG))


@pytest.mark.parametrize("line", [ConsoleLine(), JsonLine()])
def test_a_traceback_of_a_validation_error_keeps_the_input_out(line: logging.Formatter) -> None:
    said = {"number": "".join(("s3", "cret"))}  # the frame shows this source line
    try:
        Wanted.model_validate(said)
    except ValidationError:
        text = line.format(record(exc_info=sys.exc_info()))
    assert "ValidationError: 1 in Wanted" in text
    assert "s3cret" not in text


@pytest.fixture
def restored_logging() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    uvicorn_access = logging.getLogger("uvicorn.access")
    disabled = uvicorn_access.disabled
    yield
    root.handlers[:], uvicorn_access.disabled = handlers, disabled
    root.setLevel(level)


@pytest.mark.usefixtures("restored_logging")
def test_the_log_goes_to_stderr_in_the_configured_form_and_level(
    capsys: pytest.CaptureFixture[str],
) -> None:
    configure_logging(Settings.model_construct(log_level="WARNING", log_format="json"))
    logging.getLogger("anything").info("too quiet")
    logging.getLogger("anything").warning("loud")
    [line] = capsys.readouterr().err.splitlines()
    assert json.loads(line)["message"] == "loud"
