"""Every field of a chat request: what the model receives of it, and what the header says."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from core.events import Event, Finished, Started, TextDelta
from demo import FakeAnthropic
from dialects.chat.fields import FIELDS
from engine.stop_sequences import StopFilter
from tests.support.harness import Gateway, gateway_at, said
from tests.support.wire import URL, asking, chunks, streamed_text, until

PLAIN: dict[str, Any] = {
    "model": "claude-sonnet-5",
    "max_tokens": 128000,
    "thinking": {"type": "disabled"},
    "output_config": {"effort": "high"},
    "tools": [],
}
"""What the model receives beside the conversation when nothing is asked for: what the API itself
would take, and `max_tokens` the most that the model can write."""

SAMPLED = {"model": "claude-opus-6"}
"""A model of which the upstream knows nothing, and so refuses no sampling parameters."""
SAMPLED_BODY = SAMPLED

SHOWN = {"type": "adaptive", "display": "summarized"}
TOOL = {"type": "function", "function": {"name": "f", "description": "F", "parameters": {}}}
NATIVE_TOOL = {
    "name": "f",
    "description": "F",
    "input_schema": {"type": "object", "properties": {}},
    "cache_control": {"type": "ephemeral"},
}
SCHEMA = {
    "type": "object",
    "properties": {"a": {"type": "integer"}},
    "required": ["a"],
    "additionalProperties": False,
}


def effort(level: str, thinking: dict[str, Any] | None = None) -> dict[str, Any]:
    return {"output_config": {"effort": level}, **({"thinking": thinking} if thinking else {})}


@dataclass(frozen=True)
class Case:
    """`sent` by the client; `received` is how the body differs from PLAIN; the header says
    `ignored`."""

    sent: dict[str, Any]
    received: dict[str, Any] = field(default_factory=dict)
    ignored: str | None = None


OLD = {"model": "claude-haiku-4-5"}
"""A model with a thinking budget and without effort levels."""
OLD_BODY = {"model": "claude-haiku-4-5", "max_tokens": 64000, "output_config": None}

CASES = [
    Case({"model": "claude-opus-4-8"}, {"model": "claude-opus-4-8"}),
    Case({"messages": [{"role": "user", "content": "Hello"}]}),
    Case({"stream": False}),
    Case({"stream_options": {"include_usage": True}}),
    Case({"max_tokens": 77}, {"max_tokens": 77}),
    Case({"max_completion_tokens": 78}, {"max_tokens": 78}),
    Case({"max_tokens": 77, "max_completion_tokens": 78}, {"max_tokens": 78}),
    Case(SAMPLED | {"temperature": 0}, SAMPLED_BODY | {"temperature": 0}),
    Case(SAMPLED | {"temperature": 0.7}, SAMPLED_BODY | {"temperature": 0.7}),
    Case(SAMPLED | {"temperature": 1.5}, SAMPLED_BODY | {"temperature": 1}, "temperature"),
    Case(SAMPLED | {"top_p": 0.9}, SAMPLED_BODY | {"top_p": 0.9}),
    Case(SAMPLED | {"top_k": 5}, SAMPLED_BODY | {"top_k": 5}),
    Case(SAMPLED | {"top_p": 1, "temperature": 0.2}, SAMPLED_BODY | {"temperature": 0.2}),
    Case({"stop": "END"}, {"stop_sequences": ["END"]}),
    Case({"stop": ["END", "\n\n", ""]}, {"stop_sequences": ["END"]}),
    Case({"stop": ["\n"]}),
    Case({"n": 1}),
    Case({"tools": [TOOL]}, {"tools": [NATIVE_TOOL]}),
    Case({"tools": []}),
    Case({"tools": [TOOL], "tool_choice": "auto"}, {"tools": [NATIVE_TOOL]}),
    Case(
        {"tools": [TOOL], "tool_choice": "none"},
        {"tools": [NATIVE_TOOL], "tool_choice": {"type": "none"}},
    ),
    Case(
        {"tools": [TOOL], "tool_choice": "required"},
        {"tools": [NATIVE_TOOL], "tool_choice": {"type": "any"}},
    ),
    Case(
        {"tools": [TOOL], "tool_choice": {"type": "function", "function": {"name": "f"}}},
        {"tools": [NATIVE_TOOL], "tool_choice": {"type": "tool", "name": "f"}},
    ),
    Case(
        {"tools": [TOOL], "parallel_tool_calls": False},
        {
            "tools": [NATIVE_TOOL],
            "tool_choice": {"type": "auto", "disable_parallel_tool_use": True},
        },
    ),
    Case({"tools": [TOOL], "parallel_tool_calls": True}, {"tools": [NATIVE_TOOL]}),
    Case(
        {"functions": [TOOL["function"]]},
        {
            "tools": [NATIVE_TOOL],
            "tool_choice": {"type": "auto", "disable_parallel_tool_use": True},
        },
    ),
    Case(
        {"functions": [TOOL["function"]], "function_call": {"name": "f"}},
        {
            "tools": [NATIVE_TOOL],
            "tool_choice": {"type": "tool", "name": "f", "disable_parallel_tool_use": True},
        },
    ),
    Case({"response_format": {"type": "text"}}),
    Case(
        {
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": "s", "strict": True, "schema": SCHEMA},
            }
        },
        {"output_config": {"effort": "high", "format": {"type": "json_schema", "schema": SCHEMA}}},
    ),
    Case({"reasoning_effort": "none"}),
    Case({"reasoning_effort": "minimal"}, effort("low")),
    Case({"reasoning_effort": "low"}, effort("low", SHOWN)),
    Case({"reasoning_effort": "medium"}, effort("medium", SHOWN)),
    Case({"reasoning_effort": "high"}, effort("high", SHOWN)),
    Case({"reasoning_effort": "xhigh"}, effort("xhigh", SHOWN)),
    Case({"reasoning_effort": "max"}, effort("max", SHOWN)),
    Case(
        {"model": "claude-sonnet-4-6", "reasoning_effort": "xhigh"},
        {"model": "claude-sonnet-4-6", **effort("high", SHOWN)},
    ),
    Case(
        {"model": "sonnet", "reasoning_effort": "none"},
        {
            "model": "claude-sonnet-5-5",
            "max_tokens": 128000,
            **effort("low", {"type": "adaptive"}),
        },
    ),
    Case(
        {"tools": [TOOL], "tool_choice": "required", "reasoning_effort": "low"},
        {"tools": [NATIVE_TOOL], "tool_choice": {"type": "any"}, **effort("low")},
    ),
    Case(
        {**OLD, "reasoning_effort": "medium"},
        {**OLD_BODY, "thinking": {"type": "enabled", "budget_tokens": 12288}},
    ),
    Case({"reasoning": {"effort": "low"}}, effort("low", SHOWN)),
    Case({"reasoning": {"enabled": True}}, {"thinking": SHOWN}),
    Case({"reasoning": {"enabled": False}}),
    Case({"reasoning": {"effort": "low", "exclude": True}}, effort("low", {"type": "adaptive"})),
    Case({"reasoning": {"max_tokens": 2000}}, {"thinking": SHOWN}, "reasoning.max_tokens"),
    Case(
        {**OLD, "reasoning": {"max_tokens": 2000}},
        {**OLD_BODY, "thinking": {"type": "enabled", "budget_tokens": 2000}},
    ),
    Case({"reasoning": "yes"}, ignored="reasoning"),
    Case({"thinking": {"type": "adaptive"}}, {"thinking": SHOWN}),
    Case({"thinking": {"type": "disabled"}}),
    Case(
        {**OLD, "thinking": {"type": "enabled", "budget_tokens": 5000}},
        {**OLD_BODY, "thinking": {"type": "enabled", "budget_tokens": 5000}},
    ),
    Case(
        {**OLD, "thinking": {"type": "enabled", "budget_tokens": 5000}, "max_tokens": 500},
        {**OLD_BODY, "max_tokens": 500},
        "thinking",
    ),
    Case(
        {"thinking": {"type": "enabled", "budget_tokens": 5000}},
        {"thinking": SHOWN},
        "thinking.budget_tokens",
    ),
    Case({"verbosity": "medium"}),
    Case({"verbosity": "low"}, ignored="verbosity"),
    Case({"logprobs": False, "top_logprobs": 0}),
    Case({"logprobs": True, "top_logprobs": 5}, ignored="logprobs, top_logprobs"),
    Case({"logit_bias": {}}),
    Case({"logit_bias": {"50256": -100}}, ignored="logit_bias"),
    Case({"presence_penalty": 0, "frequency_penalty": 0}),
    Case(
        {"presence_penalty": 1, "frequency_penalty": 0.5},
        ignored="frequency_penalty, presence_penalty",
    ),
    Case({"modalities": ["text"]}),
    Case(
        {"modalities": ["text", "audio"], "audio": {"voice": "alloy", "format": "wav"}},
        ignored="audio, modalities",
    ),
    Case({"enable_tools": False, "web_search_options": {}}, ignored="web_search_options"),
    Case(
        {
            "enable_tools": False,
            "claude_tools": ["Read"],
            "disallowed_tools": "Bash",
            "max_turns": 3,
            "mcp_servers": ["calc"],
            "tool_activity": "none",
        }
    ),
    Case(
        {"cwd": "a", "permission_mode": "plan", "max_budget_usd": 1.5},
        ignored="cwd, max_budget_usd, permission_mode",
    ),
    Case({"user": "u", "safety_identifier": "s", "prompt_cache_key": "k"}),
    Case({"metadata": {"a": "b"}, "store": True, "service_tier": "flex"}),
    Case({"prompt_cache_retention": "24h", "prompt_cache_options": {"ttl": "1h"}}),
    Case({"moderation": {"model": "omni-moderation-latest"}}, ignored="moderation"),
    Case({"prediction": {"type": "content", "content": "x"}}),
    Case({"seed": 5}),
    Case({"session_id": "a-session-of-the-table"}),
    Case({"top_k": -1, "frobnicate": 1}, ignored="frobnicate"),
    Case({"context": "trim", "cache_control": {"type": "ephemeral"}}),
    Case(dict.fromkeys(("temperature", "user", "stop", "tools", "seed", "frobnicate"))),
]


def parameters(body: dict[str, Any]) -> dict[str, Any]:
    """A recorded body without the conversation and the CLI's own housekeeping."""
    apart = ("messages", "system", "metadata", "stream", "context_management")
    return {name: value for name, value in body.items() if name not in apart}


@pytest.mark.parametrize("case", CASES, ids=lambda case: json.dumps(case.sent)[:60])
async def test_each_field_reaches_the_model_or_the_header(gateway: Gateway, case: Case) -> None:
    answer = await gateway.http.post(URL, json={**asking("Hello"), **case.sent})
    assert answer.status_code == 200, answer.text
    [request] = gateway.upstream.requests
    expected = {k: v for k, v in {**PLAIN, **case.received}.items() if v is not None}
    assert parameters(request.body) == expected
    assert [said(message) for message in request.messages] == [
        ("user", [{"type": "text", "text": "Hello"}])
    ]
    assert answer.headers.get("x-ignored-parameters") == case.ignored


def test_the_table_has_a_case_for_each_field() -> None:
    assert {row.name for row in FIELDS} - {name for case in CASES for name in case.sent} == set()


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"temperature": 2.1}, "temperature"),
        ({"top_p": -1}, "top_p"),
        ({"n": 11}, "n"),
        ({"n": 0}, "n"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"stop": ["1", "2", "3", "4", "5"]}, "stop"),
        ({"reasoning_effort": "enormous"}, "reasoning_effort"),
        ({"reasoning": {"effort": "enormous"}}, "reasoning.effort"),
        ({"presence_penalty": 3}, "presence_penalty"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"response_format": {"type": "xml"}}, "response_format.type"),
    ],
)
async def test_a_value_out_of_its_bounds_is_a_400_that_names_it(
    gateway: Gateway, fields: dict[str, Any], param: str
) -> None:
    answer = await gateway.http.post(URL, json=asking("Hello", **fields))
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == param
    assert not gateway.upstream.requests


@pytest.fixture(scope="module")
async def strict_gateway(
    shared_upstream: FakeAnthropic, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Gateway]:
    """A server with strict parameters and a single process."""
    home = tmp_path_factory.mktemp("strict")
    settings = {"strict_parameters": True, "max_processes": 1, "pool_warm": 0}
    async with gateway_at(shared_upstream, home, **settings) as gateway:
        yield gateway


async def test_strict_parameters_refuse_what_would_have_no_effect(
    strict_gateway: Gateway, upstream: FakeAnthropic
) -> None:
    refused = await strict_gateway.http.post(URL, json=asking("Hello", logprobs=True))
    assert refused.status_code == 400
    assert refused.json()["error"]["code"] == "unsupported_parameter"
    assert refused.json()["error"]["param"] == "logprobs"
    assert not upstream.requests
    body = asking("Hello", logprobs=False, user="u")
    assert (await strict_gateway.http.post(URL, json=body)).status_code == 200


@pytest.mark.parametrize("stream", [False, True])
async def test_what_a_model_refuses_is_left_out_told_and_remembered(
    gateway: Gateway, stream: bool
) -> None:
    model = f"claude-refuses-sampling-{stream}"
    body = asking("!demo reject=temperature,top_p", model=model, temperature=0.5, top_p=0.9)
    body["stream"] = stream
    for requests in (3, 4):
        answer = await gateway.http.post(URL, json=body)
        assert answer.status_code == 200
        assert answer.headers["x-ignored-parameters"] == "temperature, top_p"
        assert len(gateway.upstream.requests) == requests
        assert "top_p" not in gateway.upstream.requests[-1].body


async def test_a_refusal_of_what_matters_is_an_error(gateway: Gateway) -> None:
    body = asking('!demo error=400 message="max_tokens: too large"', max_tokens=500)
    answer = await gateway.http.post(URL, json=body)
    assert answer.status_code == 400
    assert len(gateway.upstream.requests) == 1


async def test_effort_that_a_model_refuses_is_left_out(gateway: Gateway) -> None:
    text = '!demo error=400 error_times=1 message="output_config.effort: not for this model"'
    body = asking(text, model="claude-opus-4-7", reasoning_effort="low")
    answer = await gateway.http.post(URL, json=body)
    assert answer.status_code == 200
    assert answer.headers["x-ignored-parameters"] == "reasoning_effort"
    assert gateway.upstream.requests[-1].body["output_config"]["effort"] != "low"


STOPPED = '!demo text="one\\n\\ntwo three four" chars=1 rate=20'


@pytest.mark.parametrize("stream", [False, True])
async def test_a_stop_that_the_api_refuses_is_watched_for_and_ends_the_turn_upstream(
    gateway: Gateway, stream: bool
) -> None:
    body = asking(STOPPED, stop=["\n\n", "zzz"], stream=stream)
    answer = await gateway.http.post(URL, json=body)
    if stream:
        assert streamed_text(answer.text) == "one"
        assert chunks(answer.text)[-1]["choices"][0]["finish_reason"] == "stop"
    else:
        choice = answer.json()["choices"][0]
        assert (choice["message"]["content"], choice["finish_reason"]) == ("one", "stop")
        assert answer.json()["usage"]["prompt_tokens"] > 0
    [request] = gateway.upstream.requests
    assert request.body["stop_sequences"] == ["zzz"]
    await until(lambda: request.outcome != "open")
    assert request.outcome == "disconnected"


async def test_stops_are_watched_for_where_a_model_takes_none(gateway: Gateway) -> None:
    text = '!demo reject=stop_sequences text="one END two"'
    answer = await gateway.http.post(
        URL, json=asking(text, model="claude-refuses-stops", stop="END")
    )
    assert answer.json()["choices"][0]["message"]["content"] == "one "
    assert "x-ignored-parameters" not in answer.headers


@pytest.mark.parametrize(
    ("pieces", "stops", "shown"),
    [
        (["a\n", "\nb"], ["\n\n"], "a"),
        (["a\n", "b"], ["\n\n"], "a\nb"),
        (["a", "\n"], ["\n\n"], "a\n"),
        (["\n\n"], ["\n\n"], ""),
        (["ab", "ab", "ac"], ["abac"], "ab"),
        (["x  ", " y"], ["   "], "x"),
        (["one\ttwo ", "\n"], [" \n", "\t"], "one"),
        (["abc"], [], "abc"),
    ],
)
def test_a_stop_is_never_shown_however_it_is_cut(
    pieces: list[str], stops: list[str], shown: str
) -> None:
    watch = StopFilter(stops)
    events: list[Event] = [Started("m"), *map(TextDelta, pieces), Finished("end_turn")]
    seen: list[Event] = []
    for event in events:
        seen.extend(watch.feed(event))
        if watch.hit:
            break
    assert "".join(event.text for event in seen if isinstance(event, TextDelta)) == shown
    last = seen[-1]
    assert isinstance(last, Finished)
    assert last.reason == ("stop_sequence" if watch.hit else "end_turn")
    assert watch.hit == (shown != "".join(pieces))


@pytest.mark.parametrize("stream", [False, True])
async def test_a_length_finish_takes_one_upstream_request(gateway: Gateway, stream: bool) -> None:
    # a model takes its time; without it a busy machine may lose the race against the CLI
    body = asking("!demo tokens=50 delay_after=2:0.2", max_tokens=3, stream=stream)
    answer = await gateway.http.post(URL, json=body)
    if stream:
        assert chunks(answer.text)[-1]["choices"][0]["finish_reason"] == "length"
    else:
        assert answer.json()["choices"][0]["finish_reason"] == "length"
        usage = answer.json()["usage"]
        assert usage["completion_tokens"] == 3
        assert usage["cost_usd"] > 0
    await gateway.http.post(URL, json=asking("Hello"))
    assert len(gateway.upstream.requests) == 2


async def test_a_process_whose_answer_was_cut_off_remembers_nothing_of_it(
    strict_gateway: Gateway, upstream: FakeAnthropic
) -> None:
    http, counts = strict_gateway.http, strict_gateway.engine.pool.counts
    await http.get("/health/ready")  # asks its process for the models, once
    cut = asking("!demo tokens=50 delay_after=2:0.2", max_tokens=3)
    first = (await http.post(URL, json=cut)).json()["choices"][0]["message"]
    started = counts["started"]
    follow_up = [*cut["messages"], first, {"role": "user", "content": "!demo recall"}]
    await http.post(URL, json={**cut, "messages": follow_up})
    texts = [said(m)[1][0]["text"] for m in upstream.requests[1].messages]
    assert texts == [cut["messages"][0]["content"], first["content"], "!demo recall"]
    assert counts["started"] == started


async def test_requests_at_the_same_time_keep_their_own_parameters(gateway: Gateway) -> None:
    limits = [10, 11, 12]
    bodies = [asking(f"Hello {n}", max_tokens=n, temperature=n / 20) | SAMPLED for n in limits]
    await asyncio.gather(*(gateway.http.post(URL, json=body) for body in bodies))
    received = {
        (said(r.messages[0])[1][0]["text"], r.body["max_tokens"], r.body["temperature"])
        for r in gateway.upstream.requests
    }
    assert received == {(f"Hello {n}", n, n / 20) for n in limits}


async def test_n_answers_share_one_stream_by_index(gateway: Gateway) -> None:
    body = asking("Hello", n=3, stream=True, stream_options={"include_usage": True})
    read = chunks((await gateway.http.post(URL, json=body)).text)
    *parts, usage = read
    texts = {0: "", 1: "", 2: ""}
    for chunk in parts:
        [choice] = chunk["choices"]
        texts[choice["index"]] += choice["delta"].get("content") or ""
    assert len(gateway.upstream.requests) == 3
    assert set(texts.values()) == {'Demo model: you said "Hello".'}
    finished = [c["choices"][0]["index"] for c in parts if c["choices"][0]["finish_reason"]]
    assert sorted(finished) == [0, 1, 2]
    assert len({chunk["id"] for chunk in read}) == 1
    one = (await gateway.http.post(URL, json=asking("Hello"))).json()["usage"]
    assert usage["usage"]["total_tokens"] == 3 * one["total_tokens"]


async def test_n_answers_stand_in_one_body(gateway: Gateway) -> None:
    answer = (await gateway.http.post(URL, json=asking("Hello", n=2))).json()
    assert [choice["index"] for choice in answer["choices"]] == [0, 1]
    assert answer["usage"]["cost_usd"] > 0


@pytest.mark.parametrize("stream", [False, True])
async def test_one_choice_that_fails_fails_all_and_ends_the_others(
    gateway: Gateway, stream: bool
) -> None:
    """The first answer is endless and the others find the API overloaded."""
    text = "!demo error=529 error_times=1 hang"
    body = asking(text, n=2, stream=stream)
    answer = await gateway.http.post(URL, json=body)
    assert answer.status_code == 503
    await until(lambda: all(r.outcome != "open" for r in gateway.upstream.requests))


async def test_thinking_is_reasoning_content_with_its_tokens(gateway: Gateway) -> None:
    body = asking('!demo thinking="step by step" text=done', reasoning_effort="low")
    whole = (await gateway.http.post(URL, json=body)).json()
    message = whole["choices"][0]["message"]
    assert (message["reasoning_content"], message["content"]) == ("step by step", "done")
    streamed = chunks((await gateway.http.post(URL, json={**body, "stream": True})).text)
    deltas = [chunk["choices"][0]["delta"] for chunk in streamed]
    assert "".join(delta.get("reasoning_content", "") for delta in deltas) == "step by step"
    assert "".join(delta.get("content") or "" for delta in deltas) == "done"


async def test_a_refusal_is_a_content_filter_finish(gateway: Gateway) -> None:
    text = '!demo stop=refusal text="I will not."'
    choice = (await gateway.http.post(URL, json=asking(text))).json()["choices"][0]
    assert choice["finish_reason"] == "content_filter"
    assert (choice["message"]["content"], choice["message"]["refusal"]) == (
        "I will not.",
        "The model refused to answer.",
    )
    streamed = chunks((await gateway.http.post(URL, json=asking(text, stream=True))).text)
    assert streamed[-1]["choices"][0]["delta"] == {"refusal": "The model refused to answer."}
    assert len(gateway.upstream.requests) == 2
