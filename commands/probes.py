"""What a first-time user tries on a running server, one probe each: against any URL, over plain
HTTP.

A probe returns what it saw in a few words. It raises Failed with what to do, or Skipped where there
is nothing to try.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any
from uuid import uuid4

import httpx

from core.version import PROGRAM
from models import AnswerMessage, ChatCompletion, ChatCompletionChunk

CHAT = "/v1/chat/completions"
RESPONSES = "/v1/responses"
MESSAGES = "/v1/messages"
DONE = "[DONE]"
CLEANUP_SECONDS = 10.0
AT_ONCE_SECONDS = 1.0
"""An answer that took less may come in one piece: its words were there together."""

BUFFERED = "A proxy in front may collect answers: turn its buffering off for this server."

GREETING = "Say hello in one word."
COUNT = "Count from one to twenty in words, separated by commas."
REMEMBER = "My lucky number is 4711. Please remember it, and answer with one word."
RECALL = "What is my lucky number?"
MEASURE = "What is the temperature in Rome? Find out with get_temperature."
MEASURED = "17"
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "get_temperature",
            "description": "The present temperature of a city in degrees Celsius",
            "parameters": {
                "type": "object",
                "properties": {"city": {"type": "string"}},
                "required": ["city"],
            },
        },
    }
]

START = f"Start it with `{PROGRAM}`, or name the address that it printed with --url."
HINTS = {
    "invalid_api_key": "Set TEST_API_KEY to a key of that server: its API_KEY, or the one that it "
    "printed when it started.",
    "too_many_requests": "Wait for a minute and check again. The limits are RATE_LIMIT_* in .env, "
    "or those of the Claude account.",
    "claude_auth_failed": f"Set ANTHROPIC_API_KEY in the server's .env, or run `{PROGRAM} login` "
    "there; then start it again.",
    "model_not_found": "Name one of its models with --model.",
    "model_not_allowed": "Name a model that this key may use with --model.",
    "overloaded": "Check again in a moment. Where it lasts, raise MAX_PROCESSES or QUEUE_TIMEOUT.",
    "upstream_error": "Claude failed, not this server: check again, and see its log and "
    "ANTHROPIC_BASE_URL where it persists.",
    "timeout": "See how long Claude takes, and raise MAX_TIMEOUT where that is needed.",
    "session_store_unavailable": "See that the database of DATABASE_URL runs and can be reached.",
    "unprotected_server": "Set API_KEY in its .env, and TEST_API_KEY here.",
}
SEE_LOG = "See the server's log for the request."


class Failed(Exception):
    """What was seen instead, and what to do about it."""

    def __init__(self, seen: str, hint: str = SEE_LOG) -> None:
        super().__init__(seen)
        self.seen = seen
        self.hint = hint


class Skipped(Exception):
    """Why there is nothing to try."""


@dataclass(slots=True)
class Visit:
    """`http` knows the server and the key; the model is the cheapest offered, unless named."""

    http: httpx.AsyncClient
    model: str | None = None

    async def get(self, path: str, **options: Any) -> Any:
        """The JSON of a 200. Raises Failed for anything else."""
        return _json(await self.http.get(path, **options))

    async def ask(self, messages: list[dict[str, Any]], **fields: Any) -> ChatCompletion:
        body = {"model": self.model, "messages": messages, **fields}
        return ChatCompletion.model_validate(_json(await self.http.post(CHAT, json=body)))


async def reach(visit: Visit) -> str:
    try:
        response = await visit.http.get("/health")
    except httpx.RequestError as error:
        why = str(error) or type(error).__name__
        raise Failed(f"nothing answers at {visit.http.base_url}: {why}", START) from None
    if response.is_redirect:
        target = response.headers.get("location", "").removesuffix("/health")
        raise Failed("it sends elsewhere", f"Try --url {target}")
    try:
        return f"version {response.json()['version']}"
    except (ValueError, KeyError, TypeError):
        raise Failed("something else answers there, not this server", START) from None


async def be_ready(visit: Visit) -> str:
    response = await visit.http.get("/health/ready")
    if response.status_code == 200:
        return ""
    checks = _fields(response).get("checks")
    if not isinstance(checks, dict):
        raise refusal(response)
    wrong = [
        f"{name}: {check.get('detail') or 'no'}"
        for name, check in checks.items()
        if not check.get("ok")
    ]
    raise Failed("not ready: " + "; ".join(wrong), "See its log and /v1/auth/status.")


async def refuse_a_wrong_key(visit: Visit) -> str:
    wrong = {"Authorization": f"Bearer wrong-{uuid4().hex}"}
    response = await visit.http.get("/v1/models", headers=wrong)
    if response.status_code == 200:
        raise Skipped("no API key is required")
    if response.status_code != 401:
        raise refusal(response)
    return ""


async def list_models(visit: Visit) -> str:
    models = (await visit.get("/v1/models"))["data"]
    if not models:
        raise Failed("the list is empty", "See `models` of the key in API_KEYS_FILE.")
    visit.model = visit.model or min(models, key=_price)["id"]
    return f"{len(models)}; asking {visit.model}"


def _price(model: dict[str, Any]) -> float:
    """US dollars of a million tokens' input; unknown is dearest."""
    return float((model.get("pricing") or {}).get("input", "inf"))


async def tell_credentials(visit: Visit) -> str:
    status = await visit.get("/v1/auth/status")
    if status.get("refused"):
        raise Failed(status["refused"], status["hint"] or SEE_LOG)
    if status["method"] == "none":
        raise Failed("; ".join(status["missing"]) or "no credentials", status["hint"] or SEE_LOG)
    return f"{status['method']}: {status['detected_by']}"


async def chat(visit: Visit) -> str:
    answer = await visit.ask([_user(GREETING)])
    _text(answer.choices[0].message)
    return f"{answer.usage.total_tokens} tokens, answered by {answer.model}"


async def stream(visit: Visit) -> str:
    started = perf_counter()
    arrivals = [perf_counter() - started async for _ in _pieces(visit, COUNT)]
    if not arrivals:
        raise Failed("the answer held no text", "Check again, or with another --model.")
    if len(arrivals) == 1 and arrivals[0] > AT_ONCE_SECONDS:
        raise Failed("the answer came in one piece, not as it was written", BUFFERED)
    return f"{len(arrivals)} pieces, the first after {arrivals[0] * 1000:.0f} ms"


async def _pieces(visit: Visit, text: str) -> AsyncIterator[str]:
    """The texts of a stream, which must end as OpenAI's do."""
    body = {"model": visit.model, "messages": [_user(text)], "stream": True}
    async with visit.http.stream("POST", CHAT, json=body) as response:
        if response.status_code != 200:
            await response.aread()
            raise refusal(response)
        async for line in response.aiter_lines():
            data = line.removeprefix("data:").strip()
            if data == DONE:
                return
            if line.startswith("data:"):
                for piece in _texts(data):
                    yield piece
    raise Failed("the stream broke off", "See whether a proxy in front ends long answers.")


def _texts(data: str) -> list[str]:
    frame = json.loads(data)
    if "error" in frame:
        raise _failure(frame["error"])
    choices = ChatCompletionChunk.model_validate(frame).choices
    return [choice.delta.content for choice in choices if choice.delta.content]


async def call_a_tool(visit: Visit) -> str:
    asked = [_user(MEASURE)]
    message = (await visit.ask(asked, tools=TOOLS)).choices[0].message
    if not message.tool_calls:
        raise Failed("the model did not call the function", "Check again, or with another --model.")
    asked.append(message.model_dump(exclude_none=True))
    asked += [
        {"role": "tool", "tool_call_id": call.id, "content": json.dumps({"celsius": int(MEASURED)})}
        for call in message.tool_calls
    ]
    reported = _text((await visit.ask(asked, tools=TOOLS)).choices[0].message)
    if MEASURED not in reported:
        raise Failed(
            "the answer does not use the function's result", "Check again, or with another --model."
        )
    return f"{message.tool_calls[0].function.name} was called, and its result used"


async def keep_a_session(visit: Visit) -> str:
    """The size of the second prompt shows whether the model received the first turn."""
    session = f"check-{uuid4().hex}"
    path = f"/v1/sessions/{session}"
    try:
        sizes = [
            (await visit.ask([_user(text)], session_id=session)).usage.prompt_tokens
            for text in (REMEMBER, RECALL)
        ]
        count = (await visit.get(path))["message_count"]
    finally:
        with suppress(httpx.RequestError):
            await visit.http.delete(path, timeout=CLEANUP_SECONDS)
    if count != 4 or sizes[1] <= sizes[0]:
        raise Failed(f"{count} messages were kept, prompts of {sizes[0]} and {sizes[1]} tokens")
    if (await visit.http.get(path)).status_code != 404:
        raise Failed(f"the session {session} is still there after it was deleted")
    return "remembered, and deleted again"


async def use_other_apis(visit: Visit) -> str:
    """One question by each of the newer APIs; nothing is stored."""
    asked = {"model": visit.model, "input": GREETING, "store": False}
    response = _json(await visit.http.post(RESPONSES, json=asked))
    body = {"model": visit.model, "max_tokens": 64, "messages": [_user(GREETING)]}
    message = _json(await visit.http.post(MESSAGES, json=body))
    for name, blocks in (("Responses", response["output"]), ("Messages", message["content"])):
        if not blocks:
            raise Failed(
                f"the {name} API's answer is empty", "Check again, or with another --model."
            )
    return "Responses and Messages answer"


def refusal(response: httpx.Response) -> Failed:
    """What an answer that is no 200 says."""
    error = _fields(response).get("error")
    if isinstance(error, dict):
        return _failure(error, f"{response.status_code} ")
    return Failed(
        f"{response.status_code} without a reason",
        "A proxy in front may have answered: try the server's own address, and see both logs.",
    )


def _failure(error: dict[str, Any], status: str = "") -> Failed:
    code, message = error.get("code"), error.get("message")
    return Failed(f"{status}{code}: {message}", HINTS.get(str(code), SEE_LOG))


def _json(response: httpx.Response) -> Any:
    if response.status_code != 200:
        raise refusal(response)
    return response.json()


def _fields(response: httpx.Response) -> dict[str, Any]:
    """Of a JSON object; none of anything else."""
    try:
        body = response.json()
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}


def _text(message: AnswerMessage) -> str:
    if not message.content:
        raise Failed("the answer is empty", "Check again, or with another --model.")
    return message.content


def _user(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


@dataclass(frozen=True, slots=True)
class Probe:
    """`needs` names the probes without which this one has nothing to report."""

    name: str
    run: Callable[[Visit], Awaitable[str]]
    needs: tuple[str, ...] = field(default=("reachable", "models", "chat"))


PROBES = (
    Probe("reachable", reach, ()),
    Probe("ready", be_ready, ("reachable",)),
    Probe("wrong key", refuse_a_wrong_key, ("reachable",)),
    Probe("models", list_models, ("reachable",)),
    Probe("credentials", tell_credentials, ("reachable", "models")),
    Probe("chat", chat, ("reachable", "models")),
    Probe("stream", stream),
    Probe("tools", call_a_tool),
    Probe("sessions", keep_a_session),
    Probe("other APIs", use_other_apis),
)
