"""Legacy completions: a request -> turns, and their events -> chunks and a body."""

from __future__ import annotations

import json
from typing import Any

import pytest
from openai.types import Completion
from openai.types.completion_create_params import CompletionCreateParamsBase

from core.errors import InvalidRequest, Overloaded, UpstreamError
from core.events import ChoiceEvent, Event, Finished, Started, TextDelta, ThinkingDelta, Usage
from core.turn import Sampling
from dialects.base import Context
from dialects.completions.fields import FIELDS
from dialects.completions.renderer import CompletionsRenderer
from dialects.completions.request import CompletionsCall, parse
from dialects.completions.wire import CompletionsRequest
from models import TurnHeaders
from tests.support.wire import chunks

MODEL = "claude-sonnet-5"
Json = dict[str, Any]


def read(
    headers: TurnHeaders | None = None, session: str | None = None, **body: Any
) -> CompletionsCall:
    request = CompletionsRequest.model_validate({"prompt": "Once", **body})
    context = Context(MODEL, session_id=session, headers=headers or TurnHeaders())
    return parse(request, context)


def asked(call: CompletionsCall) -> list[Any]:
    return [[(m.role, *m.content) for m in turn.messages] for turn in call.turns]


def test_a_prompt_is_a_users_message_and_nothing_else() -> None:
    call = read(max_tokens=5, temperature=1.5, top_p=0.5, stop="x", user="u", seed=3)
    assert asked(call) == [[("user", {"type": "text", "text": "Once"})]]
    turn = call.turn
    assert turn.sampling == Sampling(5, 1.0, 0.5, None, ("x",))
    assert (turn.system, turn.thinking, turn.user) == (None, False, "u")
    assert (call.seed, call.ignored) == (3, ("temperature",))


def test_each_prompt_is_answered_n_times() -> None:
    call = read(prompt=["a", "b"], n=2, seed=1)
    texts = [turn[0][1]["text"] for turn in asked(call)]
    assert texts == ["a", "a", "b", "b"]
    assert [call.prompt_of(index) for index in range(4)] == texts
    assert (call.seed, call.ignored) == (None, ("seed",))


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"suffix": "end"}, "suffix"),
        ({"logprobs": 0}, "logprobs"),
        ({"logprobs": 5}, "logprobs"),
        ({"prompt": [1, 2]}, "prompt"),
        ({"prompt": [[1, 2], [3]]}, "prompt"),
        ({"prompt": ""}, "prompt"),
        ({"prompt": []}, "prompt"),
        ({"prompt": ["a", " "]}, "prompt"),
        ({"n": 3, "best_of": 2}, "best_of"),
        ({"prompt": ["a"] * 21}, "prompt"),
        ({"prompt": ["a"] * 3, "n": 7}, "n"),
        ({"stop": list("abcde")}, "stop"),
        ({"session": "s"}, "prompt"),
        ({"headers": TurnHeaders(x_claude_tools="Read")}, "prompt"),
    ],
)
def test_what_cannot_be_is_refused_by_name(body: Json, param: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        read(**body)
    assert caught.value.param == param


def test_only_what_asks_for_something_is_reported_as_ignored() -> None:
    neutral: Json = {"best_of": 2, "n": 2, "logit_bias": {}, "presence_penalty": 0, "suffix": ""}
    assert read(**neutral).ignored == ()
    assert read(best_of=3, frequency_penalty=1, mirostat=2, logprobs=None).ignored == (
        "best_of",
        "frequency_penalty",
        "mirostat",
    )


def test_every_field_of_the_official_client_has_a_row() -> None:
    names = {row.name for row in FIELDS}
    assert set(CompletionCreateParamsBase.__annotations__) | {"stream"} <= names
    assert set(CompletionsRequest.model_fields) <= names


WHOLE: list[Event] = [
    Started(MODEL, version="2"),
    ThinkingDelta("Hm."),
    TextDelta(" upon"),
    TextDelta(" a time"),
    Finished("max_tokens", Usage(5, 1, 0, 2), 0.5),
]


def written(call: CompletionsCall, order: list[ChoiceEvent]) -> tuple[list[Json], Json]:
    stream, body = CompletionsRenderer(call), CompletionsRenderer(call)
    raw = b"".join([*map(stream.feed, order), stream.finish()])
    for item in order:
        body.feed(item)
    return chunks(raw.decode()), json.loads(body.body())


def interleaved(count: int) -> list[ChoiceEvent]:
    return [ChoiceEvent(index, event) for event in WHOLE for index in range(count)]


@pytest.mark.parametrize("echo", [False, True])
def test_stream_and_body_say_the_same(echo: bool) -> None:
    call = read(prompt=["Once", "Twice"], echo=echo, stream_options={"include_usage": True})
    sent, body = written(call, interleaved(2))
    texts = ["", ""]
    for chunk in sent[:-1]:
        choice = chunk["choices"][0]
        texts[choice["index"]] += choice["text"]
        assert chunk["usage"] is None
    whole = [choice["text"] for choice in body["choices"]]
    assert texts == whole
    assert whole == (["Once upon a time", "Twice upon a time"] if echo else [" upon a time"] * 2)
    assert sent[-1]["choices"] == []
    assert sent[-1]["usage"] == body["usage"]
    read_body = Completion.model_validate(body, strict=True)
    assert read_body.usage is not None
    assert (read_body.usage.prompt_tokens, read_body.usage.completion_tokens) == (12, 4)
    assert [choice.finish_reason for choice in read_body.choices] == ["length", "length"]


def test_without_being_asked_for_there_is_no_usage_in_a_stream() -> None:
    sent, _ = written(read(), interleaved(1))
    assert not any("usage" in chunk for chunk in sent)
    constant = [(chunk["id"], chunk["created"], chunk["model"], chunk["object"]) for chunk in sent]
    assert len(set(constant)) == 1


def test_headers_tell_the_cost_and_what_had_no_effect() -> None:
    writer = CompletionsRenderer(read(mirostat=1))
    for item in interleaved(1):
        writer.feed(item)
    assert writer.headers() == {"x-ignored-parameters": "mirostat", "x-claude-cost-usd": "0.5"}


def test_a_failure_in_a_stream_is_a_frame_and_a_body_without_an_end_is_an_error() -> None:
    writer = CompletionsRenderer(read())
    writer.feed(ChoiceEvent(0, WHOLE[0]))
    assert chunks(writer.fail(Overloaded("busy")).decode())[0]["error"]["code"] == "overloaded"
    with pytest.raises(UpstreamError):
        writer.body()
