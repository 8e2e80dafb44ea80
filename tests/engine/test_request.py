"""Bodies of `POST /v1/messages`, each field of a `Turn` in one of them: golden files.

`UPDATE_GOLDEN=1 pytest tests/engine/test_request.py` writes them again; read what `git diff` shows.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import pytest

from core.conversation import Block, JsonObject, Message, text_block
from core.turn import FunctionTool, Sampling, ToolChoice, ToolGrant, Turn
from engine.known_models import KNOWN_MODELS, UNLISTED_MODELS, ModelCard
from engine.request import ANSWER_TOOL, bound_system, emulated_stops, request_body

GOLDEN = Path(__file__).parent / "golden"
CARDS = {card.id: card for card in (*KNOWN_MODELS, *UNLISTED_MODELS)}
SONNET, ALWAYS, OLD = (
    CARDS["claude-sonnet-5"],
    CARDS["claude-sonnet-5-5"],
    CARDS["claude-haiku-4-5"],
)
"""A model of today, one that always thinks, and one with a budget of thinking and prefill."""

SCHEMA = {"type": "object", "properties": {"b": {"type": "integer"}, "a": {"type": "string"}}}
LOOK = FunctionTool("look", "Looks.\n  Twice", SCHEMA)
BARE = FunctionTool("a-b_C", "", {"type": "object"})
HOUR = {"type": "ephemeral", "ttl": "1h"}
SEARCH = {"type": "web_search_20250305", "name": "web_search", "max_uses": 3}
ANY, NAMED = ToolChoice("any"), ToolChoice("tool", "look", parallel=False)


def user(*blocks: Any) -> Message:
    return Message("user", tuple(text_block(b) if isinstance(b, str) else b for b in blocks))


def assistant(*blocks: Any, model: str | None = None) -> Message:
    native: tuple[Block, ...] = tuple(text_block(b) if isinstance(b, str) else b for b in blocks)
    return Message("assistant", native, model)


def turn(*messages: Message, **changes: Any) -> Turn:
    base: JsonObject = {"model": SONNET.id, "messages": messages or (user("Hello"),)}
    return Turn(**{**base, **changes})


THOUGHT: Any = {"type": "thinking", "thinking": "Hm.", "signature": "c2ln"}
USE: Any = {"type": "tool_use", "id": "toolu_1", "name": "look", "input": {"b": 1, "a": "é"}}
RESULT: Any = {"type": "tool_result", "tool_use_id": "toolu_1", "content": [text_block("fine")]}
OWN_USE: Any = {"type": "tool_use", "id": "toolu_2", "name": "Read", "input": {"file_path": "a"}}
OWN_RESULT: Any = {**RESULT, "tool_use_id": "toolu_2"}
IMAGE: Any = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": ""}}
ROUND = (user("Look!"), assistant(THOUGHT, "One moment.", USE, model=SONNET.id), user(RESULT))
TALK = (user("1"), assistant("2"), user("3"), assistant("4"), user("5", IMAGE))


@dataclass(frozen=True)
class Case:
    """A turn, what is known of its model, and the other arguments of `request_body`."""

    turn: Turn
    card: ModelCard | None = SONNET
    options: JsonObject = field(default_factory=dict)


def always(**changes: Any) -> Case:
    return Case(turn(**{"model": ALWAYS.id, **changes}), ALWAYS)


def old(*messages: Message, **changes: Any) -> Case:
    return Case(turn(*messages, **{"model": OLD.id, **changes}), OLD)


def without(*names: str, **changes: Any) -> Case:
    everything = {
        "sampling": Sampling(temperature=0.5, top_p=0.9, top_k=5, stop=("END",)),
        "effort": "low",
        **changes,
    }
    return Case(turn(**everything), options={"without": frozenset(names)})


CASES: dict[str, Case] = {
    # what a caller leaves out
    "plain": Case(turn()),
    "plain_of_an_unknown_model": Case(turn(), None),
    "plain_of_a_model_that_always_thinks": always(),
    "plain_of_an_old_model": old(),
    # sampling
    "sampling": Case(turn(sampling=Sampling(77, 0.0, 0.5, 7, ("END", "\n\n", " ")))),
    "stops_that_the_api_refuses": Case(turn(sampling=Sampling(stop=("\n\n",)))),
    # system prompt and who asks
    "system": Case(turn(system="Be  exact.\n")),
    "system_of_nothing": Case(turn(system="")),
    "system_in_blocks": Case(turn(system=(text_block("One."), text_block("Two.")))),
    "user": Case(turn(user="someone", principal="alice")),
    # caching
    "marks_of_a_conversation": Case(turn(*TALK, system="S", tools=(LOOK, BARE))),
    "marks_of_an_hour": Case(turn(*TALK, system="S", tools=(LOOK,), cache_hour=True)),
    "marks_of_the_callers_own_in_a_message": Case(
        turn(user({**text_block("1"), "cache_control": HOUR}), system="S", tools=(LOOK,))
    ),
    "marks_of_the_callers_own_on_a_tool": Case(
        turn(*TALK, system="S", tools=(replace(LOOK, cache_control=HOUR), BARE))
    ),
    "marks_of_the_callers_own_in_the_system_prompt": Case(
        turn(*TALK, system=({**text_block("S"), "cache_control": HOUR},))
    ),
    "marks_of_the_callers_own_in_a_result": Case(
        turn(*ROUND[:2], user({**RESULT, "content": [{**IMAGE, "cache_control": HOUR}]}))
    ),
    "marks_pass_over_what_cannot_have_one": Case(turn(user("text", ""))),
    # tools
    "tools": Case(turn(tools=(replace(LOOK, strict=True), BARE))),
    "tools_of_the_api": Case(turn(tools=(BARE,), server_tools=(SEARCH,))),
    "tools_none": Case(turn(tools=(LOOK,), tool_choice=ToolChoice("none", parallel=False))),
    "tools_one_at_a_time": Case(turn(tools=(LOOK,), tool_choice=ToolChoice(parallel=False))),
    "tools_any": Case(turn(tools=(LOOK, BARE), tool_choice=ANY)),
    "tools_named": Case(turn(tools=(LOOK, BARE), tool_choice=NAMED)),
    "tools_forced_without_any": Case(turn(tool_choice=ANY)),
    "tools_any_while_always_thinking": always(tools=(LOOK, BARE), tool_choice=ANY, system="S"),
    "tools_named_while_always_thinking": always(tools=(LOOK, BARE), tool_choice=NAMED),
    "tools_named_while_thinking": Case(turn(tools=(LOOK,), tool_choice=NAMED, thinking=True)),
    "a_round_of_tools": Case(turn(*ROUND, tools=(LOOK,), thinking=True, effort="low")),
    "a_round_of_tools_without_tools": Case(turn(*ROUND)),
    "a_turn_with_builtin_tools_in_the_history": Case(
        turn(user("Read!"), assistant("I read.", OWN_USE, OWN_RESULT, "Done."), user("And?"))
    ),
    "a_turn_with_builtin_tools": Case(
        turn(
            user("Read!"),
            assistant("I read.", OWN_USE, OWN_RESULT, "Done."),
            user("And?"),
            builtin_tools=ToolGrant(("Read",)),
        )
    ),
    # thinking and effort
    "thinking": Case(turn(thinking=True)),
    "thinking_shown": Case(turn(thinking=True, show_thinking=True, effort="max")),
    "thinking_of_an_old_model": old(thinking=True),
    "thinking_with_a_budget": old(thinking=True, thinking_tokens=5000),
    "thinking_within_the_limit": old(
        thinking=True, thinking_tokens=5000, sampling=Sampling(max_tokens=2000)
    ),
    "thinking_with_too_little_room": old(thinking=True, sampling=Sampling(max_tokens=1024)),
    "thinking_of_another_model": Case(
        turn(user("1"), assistant(THOUGHT, "2", model="claude-opus-4-8"), user("3"), thinking=True)
    ),
    "thinking_of_the_same_model_by_another_name": Case(
        turn(
            user("1"),
            assistant(THOUGHT, "2", model="us.anthropic.claude-sonnet-5-v1"),
            user("3"),
            model="sonnet",
            thinking=True,
        )
    ),
    "effort": Case(turn(effort="low")),
    "effort_by_default": Case(turn(), options={"default_effort": "xhigh"}),
    "effort_by_default_that_the_model_has_not": Case(
        turn(model="claude-sonnet-4-6"),
        CARDS["claude-sonnet-4-6"],
        {"default_effort": "xhigh"},
    ),
    # structured output
    "output_native": Case(turn(output_schema=SCHEMA)),
    "output_by_tool": Case(turn(output_schema=SCHEMA, native_output=False)),
    "output_of_any_form": Case(turn(json_object=True)),
    "output_by_tool_beside_tools": Case(
        turn(output_schema=SCHEMA, native_output=False, tools=(LOOK,))
    ),
    "output_by_tool_where_a_call_is_forced": Case(
        turn(output_schema=SCHEMA, native_output=False, tools=(LOOK,), tool_choice=NAMED)
    ),
    "output_by_tool_while_always_thinking": always(output_schema=SCHEMA, native_output=False),
    "output_by_tool_beside_tools_while_always_thinking": always(
        output_schema=SCHEMA, native_output=False, tools=(LOOK,)
    ),
    # an answer at the end
    "prefill": old(user("Count."), assistant("One, two, \n")),
    "prefill_while_thinking": old(user("Count."), assistant("One,"), thinking=True),
    "prefill_of_a_model_that_takes_none": Case(turn(user("Count."), assistant("One,"))),
    # what a model was seen to refuse
    "without_sampling": without("temperature", "top_p", "top_k", "stop_sequences"),
    "without_effort": without("effort"),
    "without_thinking": without("thinking", thinking=True),
    "without_thinking_off": without("thinking"),
    # under a login, and headers
    "login": Case(turn(system="S"), options={"login": True}),
    "betas": Case(turn(betas=("files-api-2025-04-14", "effort-2025-11-24"))),
    "betas_under_a_login": Case(turn(betas=("files-api-2025-04-14",)), options={"login": True}),
    # what a client of the Messages API wrote
    "native": Case(
        turn(
            user("ignored"),
            system="ignored",
            sampling=Sampling(max_tokens=5),
            effort="low",
            thinking=True,
            native={
                "max_tokens": 7,
                "messages": [{"role": "user", "content": "Hello"}, {"role": "assistant", "x": 1}],
                "system": "S",
                "tools": [SEARCH],
                "thinking": {"type": "enabled", "budget_tokens": 1024},
                "temperature": None,
                "mcp_servers": [{"type": "url", "url": "https://example.com", "name": "m"}],
                "output_config": {"format": {"type": "json_schema", "schema": SCHEMA}},
            },
        )
    ),
    "native_with_what_is_missing": Case(turn(native={"max_tokens": 7, "messages": []})),
    "native_in_a_session": Case(
        turn(*TALK, system="S", native={"max_tokens": 7, "output_config": {"effort": "max"}})
    ),
    "native_while_always_thinking": Case(
        turn(model=ALWAYS.id, native={"max_tokens": 7, "messages": [], "system": "S"}), ALWAYS
    ),
    "native_under_a_login": Case(
        turn(native={"max_tokens": 7, "messages": [], "system": "S"}), options={"login": True}
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_the_body_is_the_golden_one(name: str) -> None:
    case, path = CASES[name], GOLDEN / f"{name}.json"
    text = json.dumps(body_of(case), indent=1, ensure_ascii=False) + "\n"
    if "UPDATE_GOLDEN" in os.environ:
        path.write_text(text)
    assert text == path.read_text()


def test_no_golden_file_is_left_over() -> None:
    assert {path.stem for path in GOLDEN.iterdir()} == {*CASES}


def body_of(case: Case) -> JsonObject:
    return request_body(case.turn, case.card, **case.options)


EXEMPT = {"session_id", "api_events", "approve", "asks_by_item", "decisions", "trace"}
"""What is not for the model."""


def test_every_field_of_a_turn_is_in_a_case() -> None:
    default = turn()
    used = {
        each.name
        for case in CASES.values()
        for each in fields(Turn)
        if getattr(case.turn, each.name) != getattr(default, each.name)
    }
    assert {each.name for each in fields(Turn)} - used - EXEMPT == set()


@pytest.mark.parametrize("name", CASES)
def test_a_body_never_has_more_than_four_marks(name: str) -> None:
    assert json.dumps(body_of(CASES[name])).count("cache_control") <= 4


@pytest.mark.parametrize("name", CASES)
def test_the_callers_own_blocks_are_never_written_to(name: str) -> None:
    case = CASES[name]
    before = json.dumps([*map(str, (case.turn.messages, case.turn.system, case.turn.native))])
    body_of(case)
    assert before == json.dumps(
        [*map(str, (case.turn.messages, case.turn.system, case.turn.native))]
    )


@pytest.mark.parametrize("name", [name for name in CASES if "native" not in name])
def test_what_the_cli_would_fill_in_is_always_stated(name: str) -> None:
    case = CASES[name]
    body = body_of(case)
    assert {"tools", "metadata", "thinking", "messages"} <= set(body)
    dropped = case.options.get("without", ())
    card = case.card or ModelCard("", "")
    if card.effort_levels and "effort" not in dropped:
        assert body["output_config"]["effort"] in ("low", "high", "xhigh", "max")


def test_a_call_is_never_forced_while_the_model_thinks() -> None:
    for case in CASES.values():
        body = body_of(case)
        if body["thinking"]["type"] != "disabled":
            assert body.get("tool_choice", {}).get("type") in (None, "auto", "none")


def test_the_end_user_is_named_without_being_told() -> None:
    ids = {
        (principal, name): body_of(Case(turn(principal=principal, user=name)))["metadata"]
        for principal in ("alice", "bob")
        for name in (None, "someone")
    }
    assert len({each["user_id"] for each in ids.values()}) == 4
    assert "someone" not in str(ids.values())


def test_the_bound_system_prompt_has_the_instruction_too() -> None:
    asked = turn(model=ALWAYS.id, system="S", output_schema=SCHEMA, native_output=False)
    assert bound_system(asked, ALWAYS) == (
        f"S\n\nGive your whole answer by calling the tool `{ANSWER_TOOL}` once."
    )
    assert bound_system(turn(system="Be  exact.\n"), SONNET) == "Be  exact.\n"
    assert bound_system(turn(), SONNET) == ""


def test_stops_are_watched_for_where_they_are_not_sent() -> None:
    stops = ("END", "\n\n")
    assert emulated_stops(stops, frozenset()) == ["\n\n"]
    assert emulated_stops(stops, frozenset({"stop_sequences"})) == ["END", "\n\n"]
