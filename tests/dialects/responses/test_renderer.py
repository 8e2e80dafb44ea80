"""Every kind of answer, as a stream and as a body: golden files, types, schemas, invariants."""

from __future__ import annotations

from typing import Any

import pytest

from core.errors import UpstreamError
from core.events import ChoiceEvent
from tests.support.responses_cases import (
    CASES,
    GOLDEN,
    STARTED,
    Case,
    body,
    events,
    golden,
    renderer,
    streamed,
)
from tests.support.responses_types import (
    KEYS,
    event_of_open_responses,
    event_of_openai,
    of_open_responses,
    of_openai,
    typed_event,
    typed_response,
)

EACH = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
WHOLE = pytest.mark.parametrize(
    "case", [case for case in CASES if case.error is None], ids=lambda case: case.name
)
ONLY_OPENAI = ("web_search", "code", "custom", "namespace", "mcp")
"""Cases with items and tools that Open Responses leaves to each provider."""

TERMINATORS = {"response.completed", "response.incomplete", "response.failed"}


@EACH
def test_a_case_is_what_its_golden_files_say(case: Case) -> None:
    for name, text in golden(case).items():
        assert (GOLDEN / name).read_text() == text, name


def test_there_are_no_golden_files_of_cases_that_are_gone() -> None:
    assert {path.name for path in GOLDEN.iterdir()} == {n for case in CASES for n in golden(case)}


@WHOLE
def test_every_body_is_of_the_clients_strict_type(case: Case) -> None:
    typed_response(body(case))


@EACH
def test_every_event_is_of_the_clients_strict_type(case: Case) -> None:
    for event in events(streamed(case)):
        typed_event(event)


@WHOLE
def test_every_body_is_of_openais_schema(case: Case) -> None:
    of_openai(body(case), "Response")


@EACH
def test_every_event_is_of_openais_schema(case: Case) -> None:
    for event in events(streamed(case)):
        event_of_openai(event)


def in_open_responses(case: Case) -> bool:
    return not case.name.startswith(ONLY_OPENAI) and "search" not in case.name


@WHOLE
def test_every_body_is_of_the_open_responses_schema(case: Case) -> None:
    if in_open_responses(case):
        of_open_responses(body(case), "ResponseResource")


@EACH
def test_every_event_is_of_the_open_responses_schema(case: Case) -> None:
    if in_open_responses(case):
        for event in events(streamed(case)):
            event_of_open_responses(event)


@WHOLE
def test_every_key_is_present_from_the_first_event_on(case: Case) -> None:
    first, *_, last = events(streamed(case))
    assert set(first["response"]) == set(last["response"]) == set(body(case))
    assert len(first["response"]) >= KEYS


@WHOLE
def test_the_last_event_of_a_stream_has_the_body(case: Case) -> None:
    assert events(streamed(case))[-1]["response"] == body(case)


def texts(items: list[dict[str, Any]]) -> list[str]:
    """All that an answer says, in its order."""
    found = []
    for item in items:
        found += [part.get("text", part.get("refusal")) for part in item.get("content", ())]
        found += [part["text"] for part in item.get("summary", ())]
        found += [item[key] for key in ("arguments", "input", "code") if key in item]
    return found


DELTAS = {
    "response.output_text.delta",
    "response.refusal.delta",
    "response.reasoning_summary_text.delta",
    "response.function_call_arguments.delta",
    "response.custom_tool_call_input.delta",
    "response.code_interpreter_call_code.delta",
    "response.mcp_call_arguments.delta",
}


@WHOLE
def test_the_deltas_of_a_stream_make_the_body(case: Case) -> None:
    told: dict[tuple[int, int], str] = {}
    for event in events(streamed(case)):
        if event["type"] in DELTAS:
            place = (event["output_index"], event.get("content_index", 0))
            told[place] = told.get(place, "") + event["delta"]
    said = [text for text in texts(body(case)["output"]) if text not in ("", "{}")]
    assert [text for text in told.values() if text != "{}"] == said


@EACH
def test_sequence_numbers_ascend_without_a_gap(case: Case) -> None:
    numbers = [event["sequence_number"] for event in events(streamed(case))]
    assert numbers == list(range(len(numbers)))


@EACH
def test_everything_that_opens_closes(case: Case) -> None:
    pairs = (
        ("response.output_item.added", "response.output_item.done", ("output_index",)),
        (
            "response.content_part.added",
            "response.content_part.done",
            ("output_index", "content_index"),
        ),
        (
            "response.reasoning_summary_part.added",
            "response.reasoning_summary_part.done",
            ("output_index", "summary_index"),
        ),
    )
    sent = events(streamed(case))
    for opens, closes, keys in pairs:
        opened = [tuple(e[key] for key in keys) for e in sent if e["type"] == opens]
        closed = [tuple(e[key] for key in keys) for e in sent if e["type"] == closes]
        assert sorted(opened) == sorted(closed)
    indexes = [e["output_index"] for e in sent if e["type"] == "response.output_item.added"]
    assert indexes == list(range(len(indexes)))


@EACH
def test_the_terminator_is_the_last_event(case: Case) -> None:
    kinds = [event["type"] for event in events(streamed(case))]
    assert kinds[:2] == ["response.created", "response.in_progress"]
    assert [kind for kind in kinds if kind in TERMINATORS] == kinds[-1:]
    assert (kinds[-1] == "response.failed") == (case.error is not None)


@EACH
def test_items_keep_their_ids_and_places(case: Case) -> None:
    sent = events(streamed(case))
    output = sent[-1]["response"]["output"]
    for event in sent:
        if "item_id" in event:
            assert output[event["output_index"]]["id"] == event["item_id"]
        if event["type"] == "response.output_item.done":
            assert output[event["output_index"]] == event["item"]


def test_an_answer_without_an_end_is_an_error() -> None:
    rendering = renderer(CASES[0], stream=True)
    rendering.feed(ChoiceEvent(0, STARTED))
    with pytest.raises(UpstreamError, match="ended prematurely"):
        rendering.finish()


def test_headers_name_what_had_no_effect_and_what_it_cost() -> None:
    case = Case("x", CASES[0].events, {"text": {"verbosity": "low"}, "top_logprobs": 2})
    rendering = renderer(case, stream=False)
    for event in case.all_events:
        rendering.feed(ChoiceEvent(0, event))
    assert rendering.headers() == {
        "x-ignored-parameters": "text.verbosity, top_logprobs",
        "x-claude-cost-usd": "0.0125",
    }
