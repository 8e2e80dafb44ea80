"""The facts that the engine stands on, each on the real CLI and by every way to reach Claude. An
upgrade must pass these before its version joins CONTRACT_TESTED_VERSIONS
(engine/tested_versions.py). They stand in docs/claude-cli.md, "The whole body"."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, aclosing, asynccontextmanager, suppress
from typing import Any, get_args

import pytest

from core.conversation import JsonObject
from core.errors import ContextTooLong, GatewayError, InvalidRequest, ModelNotFound
from core.events import Finished, Reply, TextDelta
from demo import FakeAnthropic
from demo.recording import RecordedRequest
from demo.server import Form
from engine.ask import Ask
from engine.control import interrupt_line
from engine.launch_profile import LaunchProfile
from engine.tested_versions import CONTRACT_TESTED_VERSIONS
from engine.worker import ClaudeWorker
from tests.conftest import MakeGateway
from tests.support.harness import Gateway, gateway_at, png

MODEL = "claude-sonnet-5"
SAMPLED_MODEL = "claude-sonnet-4-6"
"""One that takes sampling parameters and an effort. Of a model that the CLI does not know it drops
the effort, by Bedrock and Vertex."""

FORMS = get_args(Form)
SYSTEM = "Be exact."
ADDED = {"model", "stream", "anthropic_version", "anthropic_beta"}
"""What the CLI, or the provider's protocol, has in a body beside what it was given."""

LOOK = {"name": "look", "description": "d", "input_schema": {"type": "object", "properties": {}}}


class Way:
    """One process of one form, without the engine's choices."""

    def __init__(self, form: str, gateway: Gateway) -> None:
        self.form = form
        self.gateway = gateway
        self.profile = LaunchProfile(SYSTEM if self.is_login else "")

    @property
    def is_login(self) -> bool:
        return self.form == "oauth"

    @property
    def upstream(self) -> FakeAnthropic:
        return self.gateway.upstream

    @asynccontextmanager
    async def worker(self) -> AsyncIterator[ClaudeWorker]:
        """The process; it is used again where the turn came to its end."""
        async with self.gateway.engine.pool.lease(self.profile) as lease:
            assert isinstance(lease.worker, ClaudeWorker)
            if not lease.worker.bound:
                await lease.worker.bind(self.profile)
            self.done = lease.park
            yield lease.worker

    async def say(self, text: str, **fields: Any) -> Reply:
        """Asks with a body of one message, and of these fields."""
        return await self.ask(body_of(text, **fields))

    async def ask(self, body: JsonObject, model: str = MODEL, headers: str | None = None) -> Reply:
        reply = Reply()
        if self.is_login:  # there it is the CLI's to write
            body = {key: value for key, value in body.items() if key != "system"}
        async with (
            self.worker() as worker,
            aclosing(worker.run(Ask(model, body, headers=headers), on_done=self.done)) as events,
        ):
            async for event in events:
                reply.feed(event)
        return reply

    def pid(self) -> int:
        """Of the only process, which is idle."""
        [slot] = self.gateway.engine.pool.in_state("idle")
        pid: int = slot.worker.describe()["pid"]
        return pid

    def check(self, request: RecordedRequest, body: JsonObject) -> None:
        """The model received this body, in this order of keys, and nothing else."""
        given = {k: v for k, v in body.items() if not (self.is_login and k == "system")}
        received = {k: v for k, v in request.body.items() if k in given}
        assert {k: json.dumps(v) for k, v in received.items()} == {
            k: json.dumps(v) for k, v in given.items()
        }
        assert set(request.body) - set(given) <= ADDED | ({"system"} if self.is_login else set())
        if self.is_login:
            assert request.body["system"][-1]["text"] == SYSTEM


def body_of(text: str, **fields: Any) -> JsonObject:
    """A body of one message, whole: the CLI adds nothing to it."""
    body = {
        "messages": [{"role": "user", "content": [{"type": "text", "text": text}]}],
        "system": [{"type": "text", "text": SYSTEM}],
        "tools": [],
        "max_tokens": 1000,
        "metadata": {"user_id": "u"},
        "thinking": {"type": "disabled"},
        "output_config": {"effort": "high"},
    }
    return {**body, **fields}


@pytest.fixture(scope="module")
async def running(
    shared_upstream: FakeAnthropic, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[dict[str, Way]]:
    async with AsyncExitStack() as stack:
        made = {}
        for form in FORMS:
            home = tmp_path_factory.mktemp(form)
            gateway = await stack.enter_async_context(
                gateway_at(shared_upstream, home, form, max_processes=1, pool_warm=0)
            )
            made[form] = Way(form, gateway)
        yield made


@pytest.fixture(params=FORMS)
def form(request: pytest.FixtureRequest, running: dict[str, Way], upstream: Any) -> Way:
    """Each way to reach Claude, with the one process that earlier tests left."""
    found: Way = running[request.param]
    return found


@pytest.fixture
def api(running: dict[str, Way], upstream: FakeAnthropic) -> Way:
    """The way with an API key."""
    return running["anthropic"]


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a busy machine an interrupt may take longer than a client's next request should wait."""
    monkeypatch.setattr("engine.worker.INTERRUPT_SECONDS", 10)


async def test_the_bundled_version_is_one_that_these_tests_passed_on(gateway: Gateway) -> None:
    info = await gateway.engine.server_info()
    assert info is not None
    assert info["claude_code_version"] in CONTRACT_TESTED_VERSIONS


# --- The body -----------------------------------------------------------------------------------


def full_body(number: int) -> JsonObject:
    """Every key, each with something that the CLI would write otherwise."""
    image = {"type": "base64", "media_type": "image/png", "data": png(64)}
    use = {"type": "tool_use", "id": f"toolu_{number}", "name": "zeta", "input": {"b": 1, "a": [1]}}
    cached = {"type": "text", "text": "One.", "cache_control": {"type": "ephemeral", "ttl": "1h"}}
    result = {
        "type": "tool_result",
        "tool_use_id": f"toolu_{number}",
        "content": [{"type": "text", "text": "no\u2028city"}],
        "is_error": True,
    }
    return {
        "max_tokens": 1000 + number,
        "tool_choice": {"type": "auto", "disable_parallel_tool_use": True},
        "tools": [
            {**LOOK, "name": "zeta", "description": "é \U0001d11e " * 2_000},
            {**LOOK, "name": "Bash", "cache_control": {"type": "ephemeral", "ttl": "1h"}},
        ],
        "system": [{"type": "text", "text": f"Be exact {number}.\n"}, {**cached}],
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": "@/etc/hostname"}, cached]},
            {"role": "assistant", "content": [{"type": "text", "text": "One moment."}, use]},
            {"role": "user", "content": [result, {"type": "image", "source": image}]},
            {"role": "assistant", "content": "Then nothing."},
            {"role": "user", "content": f"/help {number}"},
        ],
        "temperature": 0.25,
        "top_k": 7,
        "stop_sequences": ["END", "\nHuman:"],
        "thinking": {"type": "disabled"},
        "metadata": {"user_id": f"user {number}"},
        "output_config": {"effort": "low"},
    }


async def test_the_whole_body_arrives_exactly_and_nothing_else(form: Way) -> None:
    for number in range(3):
        await form.ask(full_body(number), SAMPLED_MODEL)
    for number, request in enumerate(form.upstream.requests):
        form.check(request, full_body(number))


async def test_nothing_of_a_body_stays_for_the_next(form: Way) -> None:
    await form.ask(full_body(0), SAMPLED_MODEL)
    await form.say("next")
    form.check(form.upstream.requests[-1], body_of("next"))


async def test_a_body_of_four_megabytes_arrives_whole(form: Way) -> None:
    text = "".join(f"𝄞 {n} é\n" for n in range(300_000))
    await form.say(text, system=[{"type": "text", "text": "Rules. " * 50_000}])
    [request] = form.upstream.requests
    [block] = request.messages[0]["content"]
    assert len(text.encode()) > 4_000_000
    assert block["text"] == text


async def test_two_hundred_messages_arrive_in_order(form: Way) -> None:
    roles = ("user", "assistant")
    messages = [
        {"role": roles[i % 2], "content": [{"type": "text", "text": f"message {i} " + "x" * 500}]}
        for i in range(201)
    ]
    await form.say("", messages=messages)
    form.check(form.upstream.requests[-1], body_of("", messages=messages))


@pytest.mark.parametrize("text", ["/help", "/clear", "/compact", "@/etc/hostname", "!ls", "# note"])
async def test_commands_and_paths_stay_text(api: Way, text: str) -> None:
    await api.say(text)
    api.check(api.upstream.requests[-1], body_of(text))


async def test_an_answer_at_the_end_is_gone_on_with(api: Way) -> None:
    messages = [
        {"role": "user", "content": "Count."},
        {"role": "assistant", "content": "One, two,"},
    ]
    await api.ask(body_of("", messages=messages), "claude-haiku-4-5")
    assert api.upstream.requests[-1].messages == messages


async def test_without_max_tokens_it_is_the_most_that_the_model_can_write(api: Way) -> None:
    for model in (MODEL, "claude-haiku-4-5"):
        body = body_of("hi")
        del body["max_tokens"]
        await api.ask(body, model)
    assert [r.body["max_tokens"] for r in api.upstream.requests] == [128_000, 64_000]


async def test_where_the_body_is_silent_the_cli_speaks(api: Way) -> None:
    """Which is why the body says it all."""
    await api.ask({"messages": [{"role": "user", "content": "hi"}]}, "sonnet")
    body = api.upstream.requests[-1].body
    assert body["output_config"] == {"effort": "medium"}
    assert body["thinking"]["type"] == "adaptive"
    assert body["tools"] == []
    assert body["metadata"]


@pytest.mark.parametrize("model", ["claude-opus-4-1", "claude-opus-4-20250514", "claude-opus-4-5"])
async def test_the_model_that_was_asked_for_is_the_one_that_is_asked(api: Way, model: str) -> None:
    with suppress(ModelNotFound):  # the API's own word
        await api.ask(body_of("hi"), model)
    assert {request.model for request in api.upstream.requests} == {model}


async def test_betas_of_the_body_become_the_header(form: Way) -> None:
    await form.say("hi", betas=["first-2025-01-01", "second-2025-01-01"])
    await form.say("next")
    one, two = (
        [
            *(request.headers.get("anthropic-beta") or "").split(","),
            *request.body.get("anthropic_beta", []),
        ]
        for request in form.upstream.requests
    )
    assert {"first-2025-01-01", "second-2025-01-01"} <= {*one}
    assert not {"first-2025-01-01", "second-2025-01-01"} & {*two}
    assert "betas" not in form.upstream.requests[0].body


async def test_headers_of_a_request_are_its_own(form: Way) -> None:
    for headers in ("x-one: 1\nx-two: 2", "x-one: 3", ""):
        await form.ask(body_of("hi"), headers=headers)
    named = ("x-one", "x-two")
    received = [[r.headers.get(name) for name in named] for r in form.upstream.requests]
    assert received == [["1", "2"], ["3", None], [None, None]]


async def test_a_body_that_is_not_json_asks_the_model_a_dot(
    api: Way, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without an error: the code must never write one."""
    with monkeypatch.context() as context:
        context.setattr("engine.control.body_text", lambda body: '{"messages": NaN}')
        await api.say("secret")
    [message] = api.upstream.requests[-1].messages
    assert message["content"] in (".", [{"type": "text", "text": "."}]) or (
        [block["text"] for block in message["content"]] == ["."]
    )


async def test_a_number_that_json_has_not_is_refused_before_it_is_written(api: Way) -> None:
    for number in (math.nan, math.inf):
        with pytest.raises(InvalidRequest, match="number that JSON does not have"):
            await api.say("hi", temperature=number)
    assert not api.upstream.requests
    assert api.pid()
    assert (await api.say("next")).text == 'Demo model: you said "next".'


# --- One request a turn -------------------------------------------------------------------------

ENDINGS: dict[str, tuple[str, JsonObject]] = {
    "max_tokens": ("!demo tokens=50", {"max_tokens": 5}),
    "empty": ("!demo empty", {}),
    "a thought alone": (
        '!demo thinking=hm thinking_force text=""',
        {"thinking": {"type": "adaptive"}},
    ),
    "refusal": ('!demo stop=refusal text="I will not."', {}),
    "empty refusal": ("!demo stop=refusal empty", {}),
    "tool calls": ("!demo call=look,look", {"tools": [LOOK]}),
    "a call of no tool": ("!demo call=unknown", {"tools": [LOOK]}),
    "a call that was cut": (
        f'!demo call=look args={{"a":"{"x" * 99}"}} chars=2',
        {"tools": [LOOK], "max_tokens": 5},
    ),
    "cut stream": ("!demo tokens=9 cut=3", {}),
    "SSE error": ("!demo tokens=9 error_midstream=overloaded_error", {}),
    "400": ("!demo error=400", {}),
    "413": ("!demo error=413", {}),
    "429": ("!demo error=429", {}),
    "500": ("!demo error=500", {}),
    "529": ("!demo error=529", {}),
    "pause_turn": ("!demo stop=pause_turn text=hm", {}),
    "model_context_window_exceeded": ("!demo stop=model_context_window_exceeded text=hm", {}),
    "stop_sequence": ("!demo text='one END two'", {"stop_sequences": ["END"]}),
    "end_turn": ("!demo text=hm", {}),
}


ASKED_TWICE = {("bedrock", "400"), ("vertex", "400")}
"""There the CLI sends a request that was refused once more, as it was: nothing is paid for it."""

UNGUARDED = {"empty", "empty refusal", "a thought alone"}
"""Under a login the guard has no time where the upstream ends such an answer in the moment in which
it begins: its process may end, or ask once more."""


@pytest.mark.parametrize("ending", ENDINGS)
async def test_however_a_turn_ends_it_was_one_request_and_the_process_serves_on(
    form: Way, ending: str
) -> None:
    text, fields = ENDINGS[ending]
    await form.say("before")
    pid = form.pid()
    asked = body_of(f"{text} input=2000", **fields)
    try:
        reply = await form.ask(asked)
        assert reply.finished is not None
    except GatewayError as error:
        assert not isinstance(error, ContextTooLong)  # noqa: PT017  # it may also not fail
    assert (await form.say("next")).text == 'Demo model: you said "next".'
    if not (form.is_login and ending in UNGUARDED):
        assert form.pid() == pid
    before, *turns, after = form.upstream.requests
    form.check(before, body_of("before"))
    for turn in turns:
        form.check(turn, asked)
    form.check(after, body_of("next"))
    if not (form.is_login and ending in UNGUARDED):
        assert len(turns) == (2 if (form.form, ending) in ASKED_TWICE else 1)


@pytest.mark.parametrize("ending", ["max_tokens", "refusal"])
async def test_under_a_login_a_tiny_prompt_makes_no_second_request_either(
    running: dict[str, Way], upstream: FakeAnthropic, ending: str
) -> None:
    """The limit counts the CLI's reminders there, so it lets such a call pass: it is guarded."""
    text, fields = ENDINGS[ending]
    reply = await running["oauth"].say(f"{text} input=1 delay_after=1:0.5", **fields)
    assert reply.finished is not None
    assert (await running["oauth"].say("next")).text == 'Demo model: you said "next".'
    assert len(upstream.requests) == 2


async def test_a_process_started_ahead_is_warmed_without_a_request(
    make_gateway: MakeGateway,
) -> None:
    async with make_gateway(max_processes=1, pool_warm=1) as gateway:
        pool = gateway.engine.pool
        async with asyncio.timeout(20):
            while not pool.in_state("blank"):  # noqa: ASYNC110  # the pool sets no event
                await asyncio.sleep(0.01)
        [slot] = pool.in_state("blank")
        assert isinstance(slot.worker, ClaudeWorker)
        assert slot.worker.bound
        assert not gateway.upstream.requests
        assert not gateway.upstream.other_requests


# --- Interrupts ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "order", ["tokens=500 rate=50", "first_delay=30", "hang", "silent", "tokens=9 delay_after=2:30"]
)
async def test_an_interrupt_ends_the_request_and_keeps_the_process(form: Way, order: str) -> None:
    await form.say("before")
    pid = form.pid()
    async with form.worker() as worker:
        ask = Ask(MODEL, body_of(f"!demo {order}"))
        events = worker.run(ask, on_done=form.done)
        if "tokens" in order:
            async for event in events:
                if isinstance(event, TextDelta):
                    break
        else:
            waiting = asyncio.create_task(anext(events))
            await form.upstream.wait_for_requests(2)
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)
        await events.aclose()
    await form.upstream.wait_until_idle()
    assert form.upstream.requests[1].outcome == "disconnected"
    assert (await form.say("next")).text == 'Demo model: you said "next".'
    assert form.pid() == pid
    form.check(form.upstream.requests[2], body_of("next"))


async def test_an_interrupt_that_meets_an_idle_process_changes_nothing(form: Way) -> None:
    await form.say("before")
    pid = form.pid()
    async with form.worker() as worker:
        worker._transport.write_soon(interrupt_line("gw_late"))
        form.done()
    for text in ("one", "two"):
        assert (await form.say(text)).text == f'Demo model: you said "{text}".'
    assert form.pid() == pid
    assert len(form.upstream.requests) == 3


# --- The API's own words ------------------------------------------------------------------------

REWRITTEN = [
    "prompt is too long: 250000 tokens > 200000 maximum",
    "messages.1: `tool_use` ids were found without `tool_result` blocks immediately after: toolu_1",
    "messages.0.content.1.image.source.base64: image exceeds 5 MB maximum: 6291456 bytes",
    "The PDF specified was not valid.",
    "messages.0.content.1.image.source.base64.data: Could not process image",
]
"""Where the CLI writes its advice for a person at a terminal instead."""


@pytest.mark.parametrize("words", REWRITTEN)
async def test_what_the_api_says_comes_by_the_log(form: Way, words: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        await form.say(f"!demo error=400 message={json.dumps(words)}")
    assert caught.value.message == words


async def test_each_turn_costs_what_it_cost(form: Way) -> None:
    costs = []
    for _ in range(2):
        reply = await form.say("!demo tokens=50 input=1000")
        assert isinstance(reply.finished, Finished)
        costs.append(reply.finished.cost_usd)
    assert costs[0] == costs[1]
    assert costs[0] is not None
    assert costs[0] > 0
