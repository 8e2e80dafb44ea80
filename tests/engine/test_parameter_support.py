"""What a model rejects, by the API's own messages: what is left out on the second try, for whom it
is remembered, and for how long."""

from __future__ import annotations

from typing import Any

import pytest

from core.conversation import Message, text_block
from core.errors import InvalidRequest
from core.turn import FunctionTool, Sampling, Turn
from engine.parameter_support import MAX_ENTRIES, MEMORY_SECONDS, ParameterSupport, applied
from engine.parameter_support import reported as reported_of

SCHEMA = {"type": "object", "properties": {"a": {"type": "string"}}}
STRICT = (FunctionTool("f", "d", SCHEMA, strict=True),)
NOTHING: frozenset[str] = frozenset()


def turn(model: str = "m", **changes: Any) -> Turn:
    messages = (Message("user", (text_block("Hello"),)),)
    return Turn(model, messages, **changes)


BOTH = turn(sampling=Sampling(temperature=0.5, top_p=0.9))
HOT = turn(sampling=Sampling(temperature=0.5))
FULL = turn(
    sampling=Sampling(100, 0.5, 0.9, 5, ("END",)),
    effort="low",
    tools=STRICT,
    output_schema=SCHEMA,
)


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def support(clock: Clock) -> ParameterSupport:
    return ParameterSupport(clock)


def refused(support: ParameterSupport, asked: Turn, message: str, *without: str) -> set[str]:
    """What to leave out after this message, beside `without`."""
    return set(support.record(asked, frozenset(without), InvalidRequest(message)))


COMBINATION = (
    "`temperature` and `top_p` cannot both be specified for this model. Please use only one."
)
NAMED = [
    ("`temperature` is deprecated for this model.", "temperature"),
    (
        "`temperature` may only be set to 1 when thinking is enabled or in adaptive mode. Please "
        "consult our documentation at https://platform.claude.com/docs/extended-thinking",
        "temperature",
    ),
    ("`top_p` must be greater than or equal to 0.95 or unset when thinking is enabled.", "top_p"),
    ("`top_k` must be unset when thinking is enabled.", "top_k"),
    ("top_p: not supported by this model", "top_p"),
    ("top_k: Extra inputs are not permitted", "top_k"),
    ("This model does not support the `top_k` parameter.", "top_k"),
    ("stop_sequences are not supported with this model", "stop_sequences"),
    ("output_config.effort: not available for this model", "effort"),
    ("`effort` is not supported on this model", "effort"),
    ("output_config.format: structured outputs are not supported", "output_config"),
    ("tools.0.custom.strict: strict tools are not supported by this model", "tools"),
    ("tools.0.custom: For 'integer' type, properties maximum, minimum are not supported", "tools"),
    ("`thinking.type.disabled` is not supported for this model.", "thinking"),
]


@pytest.mark.parametrize(("message", "name"), NAMED)
def test_a_parameter_that_is_named_as_unsupported_is_left_out(
    support: ParameterSupport, message: str, name: str
) -> None:
    assert refused(support, FULL, message) == {name}
    assert support.unsupported(FULL) == {name}


VALUE_ERRORS = [
    "temperature: range: 0..1",
    "temperature: Input should be less than or equal to 1",
    "top_p: Input should be greater than or equal to 0",
    "max_tokens: 200000 > 64000, which is the maximum allowed number of output tokens for claude-x",
    "max_tokens must be greater than thinking.budget_tokens",
    "stop_sequences: each stop sequence must contain non-whitespace",
    "messages.0.content.0.image.source.base64: image exceeds 5 MB maximum",
    "messages: roles must alternate between user and assistant",
    "messages.1: `tool_use` ids were found without `tool_result` blocks immediately after: toolu_1",
    "tools.0.custom.name: String should match pattern '^[a-zA-Z0-9_-]{1,128}$'",
    "thinking.enabled.budget_tokens: Input should be greater than or equal to 1024",
    "tool_choice: unsupported for this model",
    "prompt is too long: 250000 tokens > 200000 maximum",
]


@pytest.mark.parametrize("message", VALUE_ERRORS)
def test_a_wrong_value_is_not_an_unsupported_parameter(
    support: ParameterSupport, message: str
) -> None:
    assert refused(support, FULL, message) == set()
    assert support.unsupported(FULL) == NOTHING


def test_what_the_turn_did_not_ask_for_is_not_left_out(support: ParameterSupport) -> None:
    assert refused(support, turn(), "`temperature` is deprecated for this model.") == set()


def test_nothing_is_left_out_twice(support: ParameterSupport) -> None:
    message = "`temperature` is deprecated for this model."
    assert refused(support, HOT, message, "temperature") == set()


# --- Combinations -------------------------------------------------------------------------------


def test_a_combination_is_not_its_parts(support: ParameterSupport) -> None:
    assert refused(support, BOTH, COMBINATION) == {"top_p"}
    assert support.unsupported(BOTH) == {"top_p"}
    assert support.unsupported(turn(sampling=Sampling(top_p=0.9))) == NOTHING
    assert support.unsupported(HOT) == NOTHING


def test_each_of_two_may_be_refused_after_the_other(support: ParameterSupport) -> None:
    assert refused(support, BOTH, "`top_p` is deprecated for this model.") == {"top_p"}
    message = "`temperature` is deprecated for this model."
    assert refused(support, BOTH, message, "top_p") == {"temperature"}
    assert support.unsupported(BOTH) == {"temperature", "top_p"}
    assert support.unsupported(HOT) == {"temperature"}


# --- Schemas ------------------------------------------------------------------------------------

TOO_COMPLEX = [
    "Schema is too complex for compilation. Try reducing the number of tools or simplifying tool "
    "schemas.",
    "output_config.format.schema: Schema is too complex.",
    "The compiled grammar is too large, which would cause performance issues. Simplify your tool "
    "schemas or reduce the number of strict tools.",
    "Too many strict tools: 21 tools exceed the limit of 20.",
    "Schemas contains too many optional parameters (25), which would make grammar compilation "
    "inefficient. Reduce the number of optional parameters in your tool schemas (limit: 24).",
    "Schemas contains too many parameters with union types (17 parameters with type arrays or "
    "anyOf) which would cause exponential compilation cost (limit: 16).",
    "Grammar compilation timed out.",
    "tools.0.custom.input_schema: the schema is too deep",
    "output_config.format.schema: nesting exceeds the maximum depth",
]


@pytest.mark.parametrize("message", TOO_COMPLEX)
def test_a_schema_that_is_too_complex_is_asked_for_in_the_other_way(
    support: ParameterSupport, message: str
) -> None:
    native = turn(output_schema=SCHEMA)
    assert refused(support, native, message) == {"output_config"}
    assert not applied(native, frozenset({"output_config"})).native_output
    strict = turn(tools=STRICT)
    assert refused(support, strict, message) == {"tools"}
    assert not applied(strict, frozenset({"tools"})).tools[0].strict
    assert refused(support, turn(tools=STRICT, output_schema=SCHEMA), message) == {
        "tools",
        "output_config",
    }


@pytest.mark.parametrize("message", TOO_COMPLEX)
def test_that_is_true_of_this_schema_alone(support: ParameterSupport, message: str) -> None:
    refused(support, turn(output_schema=SCHEMA), message)
    assert support.unsupported(turn(output_schema=SCHEMA)) == {"output_config"}
    assert support.unsupported(turn(output_schema={**SCHEMA, "title": "other"})) == NOTHING
    assert support.unsupported(turn("other", output_schema=SCHEMA)) == NOTHING


def test_a_keyword_that_is_not_supported_says_nothing_of_other_schemas(
    support: ParameterSupport,
) -> None:
    message = "output_config.format.schema: 'minLength' is not supported"
    assert refused(support, turn(output_schema=SCHEMA), message) == {"output_config"}
    assert support.unsupported(turn(output_schema={"type": "object"})) == NOTHING


def test_a_model_without_native_output_has_none_for_any_schema(support: ParameterSupport) -> None:
    message = "output_config.format: not supported by this model"
    assert refused(support, turn(output_schema=SCHEMA), message) == {"output_config"}
    assert support.unsupported(turn(output_schema={"type": "object"})) == {"output_config"}


# --- Thinking -----------------------------------------------------------------------------------

LACKS_THINKING = [
    "messages.1.content.0.type: Expected `thinking` or `redacted_thinking`, but found `tool_use`. "
    "When `thinking` is enabled, a final `assistant` message must start with a thinking block "
    "(preceding the lastmost set of `tool_use` and `tool_result` blocks).",
    "messages.3.content.0.type: Expected `thinking` or `redacted_thinking`, but found `text`.",
    "a final `assistant` message must start with a thinking block",
]


@pytest.mark.parametrize("message", LACKS_THINKING)
def test_a_round_without_its_thinking_is_asked_again_without_thinking_this_once(
    support: ParameterSupport, message: str
) -> None:
    thinking = turn(thinking=True)
    assert refused(support, thinking, message) == {"thinking"}
    assert reported_of(thinking, frozenset({"thinking"})) == ("thinking",)
    assert support.unsupported(thinking) == NOTHING
    assert refused(support, turn(), message) == set()


def test_a_model_that_cannot_but_think_is_not_told_of_as_ignored(support: ParameterSupport) -> None:
    message = "`thinking.type.disabled` is not supported for this model."
    assert refused(support, turn(), message) == {"thinking"}
    assert reported_of(turn(), frozenset({"thinking"})) == ()
    assert support.unsupported(turn(thinking=True)) == NOTHING


# --- Memory -------------------------------------------------------------------------------------


def test_it_is_forgotten_after_an_hour(support: ParameterSupport, clock: Clock) -> None:
    refused(support, HOT, "`temperature` is deprecated for this model.")
    clock.now += MEMORY_SECONDS - 1
    assert support.unsupported(HOT) == {"temperature"}
    clock.now += 1
    assert support.unsupported(HOT) == NOTHING


def test_it_is_learned_again_and_then_for_another_hour(
    support: ParameterSupport, clock: Clock
) -> None:
    message = "`temperature` is deprecated for this model."
    for _ in range(3):
        assert support.unsupported(HOT) == NOTHING
        refused(support, HOT, message)
        assert support.unsupported(HOT) == {"temperature"}
        clock.now += MEMORY_SECONDS


def test_models_are_told_apart_and_so_is_whether_they_think(support: ParameterSupport) -> None:
    refused(support, HOT, "`temperature` is not supported when thinking is enabled")
    assert support.unsupported(turn("other", sampling=HOT.sampling)) == NOTHING
    assert support.unsupported(turn(sampling=HOT.sampling, thinking=True)) == NOTHING


def test_the_memory_is_bounded(support: ParameterSupport) -> None:
    for number in range(MAX_ENTRIES + 5):
        asked = turn(f"model {number}", sampling=HOT.sampling)
        refused(support, asked, "`temperature` is deprecated for this model.")
    assert len(support._rejected) == MAX_ENTRIES
    assert support.unsupported(turn("model 4", sampling=HOT.sampling)) == NOTHING
    assert support.unsupported(turn("model 5", sampling=HOT.sampling)) == {"temperature"}


def test_what_a_client_of_the_messages_api_wrote_is_never_changed(
    support: ParameterSupport,
) -> None:
    asked = turn(sampling=HOT.sampling, native={"temperature": 0.5})
    assert refused(support, asked, "`temperature` is deprecated for this model.") == set()


def test_stops_are_not_reported_as_they_are_watched_for() -> None:
    without = frozenset({"stop_sequences", "temperature"})
    assert reported_of(FULL, without) == ("temperature",)
