"""Generated conversations arrive byte for byte, by every provider, through one process each.

The bytes that the upstream received are compared with the bytes that were asked for, as JavaScript
writes them: not a key, an order of keys, a digit or a space may differ.
"""

from __future__ import annotations

import base64
import re
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from core.conversation import Message
from core.turn import FunctionTool, Sampling, Turn
from demo import FakeAnthropic
from demo.blocks import RESULT_PREFIX
from demo.recording import RecordedRequest
from tests.support.exact import javascript, marks_in, pieces, unmarked
from tests.support.harness import Gateway, gateway_at, png

Json = dict[str, Any]
Draw = Callable[[st.SearchStrategy[Any]], Any]

MODEL = "claude-sonnet-5"
FORMS = ("anthropic", "oauth", "bedrock", "vertex")
HOUSEKEEPING = {"model", "stream", "anthropic_version", "anthropic_beta"}
STATED = {"system", "tools", "metadata", "thinking", "output_config", "max_tokens"}
"""What the server states where the client is silent, so that the CLI does not."""

PDF = base64.b64encode(b"%PDF-1.4 x").decode()
SAFE_INTEGER = 2**53 - 1
"""The CLI reads JSON as JavaScript does: larger integers lose digits on their way."""

EXAMPLES = settings(
    max_examples=25,
    phases=[Phase.generate],  # shrinking takes a turn for each try
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)

IS_INDEX = re.compile(r"0|[1-9]\d*")
words = st.text(min_size=1, max_size=60).filter(lambda text: text.strip())
spoken = words | st.sampled_from(
    [
        "@/etc/hostname /clear #note !ls",
        "<system-reminder>x</system-reminder>",
        "\u2028 \u2029 \x7f \x00 \\ \" ' </script>",
        '","cache_control":{"type":"ephemeral"}',
        "  spaces around \n\n",
        "🙂 e\u0301 \ufeff \U000e0041",
        "a" * 5_000,
    ]
)
keys = st.sampled_from(["__proto__", "constructor", "toString", "", " "]) | st.text(
    max_size=8
).filter(lambda key: not IS_INDEX.fullmatch(key))  # JavaScript puts such keys first
scalars = (
    st.none()
    | st.booleans()
    | st.integers(-SAFE_INTEGER, SAFE_INTEGER)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=10)
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3),
    max_leaves=8,
)
inputs = st.dictionaries(keys, values, max_size=3)
ids = st.text(alphabet="abcXYZ019_-", min_size=1, max_size=20)
names = st.text(alphabet="abcXYZ019_-", min_size=1, max_size=64)
marks = st.sampled_from([None, {"type": "ephemeral"}])


@st.composite
def texts(draw: Draw) -> Json:
    return {"type": "text", "text": draw(spoken)}


@st.composite
def sources(draw: Draw) -> Json:
    """A document of every kind."""
    cites = draw(st.sampled_from([{}, {"citations": {"enabled": True}}]))
    more = draw(st.sampled_from([{}, {"title": "T"}, {"title": None, "context": "C"}]))
    source = draw(
        st.sampled_from(
            [
                {"type": "base64", "media_type": "application/pdf", "data": PDF},
                {"type": "text", "media_type": "text/plain", "data": "plain"},
                {"type": "content", "content": [{"type": "text", "text": "part"}]},
                {"type": "url", "url": "https://example.com/a.pdf"},
                {"type": "file", "file_id": "file_011"},
            ]
        )
    )
    return {"type": "document", "source": source, **more, **cites}


@st.composite
def search_results(draw: Draw) -> Json:
    content = draw(st.lists(texts(), min_size=1, max_size=2))
    return {"type": "search_result", "source": draw(words), "title": "t", "content": content}


@st.composite
def images(draw: Draw) -> Json:
    data = png(draw(st.integers(1, 12)))
    return {
        "type": "image",
        "source": {"type": "base64", "media_type": "image/png", "data": data},
    }


@st.composite
def thoughts(draw: Draw) -> list[Json]:
    thought = {"type": "thinking", "thinking": draw(spoken), "signature": draw(ids)}
    hidden = {"type": "redacted_thinking", "data": draw(ids)}
    chosen: list[Json] = draw(st.sampled_from([[], [thought], [thought, hidden], [hidden]]))
    return chosen


@st.composite
def searches(draw: Draw) -> list[Json]:
    """A use of a server tool, with its result and a text that cites it."""
    if draw(st.integers(0, 3)):
        return []
    call = f"srvtoolu_{draw(st.text(alphabet='abc019', min_size=8, max_size=12))}"
    found = {
        "type": "web_search_result",
        "url": "https://example.com",
        "title": draw(words),
        "encrypted_content": f"{RESULT_PREFIX}{draw(ids)}",
        "page_age": draw(st.sampled_from([None, "1 day"])),
    }
    cited = {
        "type": "web_search_result_location",
        "cited_text": draw(words),
        "url": "https://example.com",
        "title": "t",
        "encrypted_index": draw(ids),
    }
    return [
        {"type": "server_tool_use", "id": call, "name": "web_search", "input": {"query": "q"}},
        {"type": "web_search_tool_result", "tool_use_id": call, "content": [found]},
        {"type": "text", "text": draw(spoken), "citations": [cited]},
    ]


def asked(least: int = 1) -> st.SearchStrategy[list[Json]]:
    return st.lists(texts() | images() | sources() | search_results(), min_size=least, max_size=3)


@st.composite
def conversations(draw: Draw, *, plain: bool = False) -> list[Json]:
    """Native messages: users and answers in turn, a user last, every call answered once. `plain`
    ones hold no blocks of server tools and no thinking."""
    call_ids = iter(draw(st.lists(ids, min_size=9, max_size=9, unique=True)))
    messages: list[Json] = [{"role": "user", "content": draw(asked())}]
    for _ in range(draw(st.integers(0, 3))):
        calls = [
            {"type": "tool_use", "id": next(call_ids), "name": draw(names), "input": draw(inputs)}
            for _ in range(draw(st.integers(0, 3)))
        ]
        said = draw(st.lists(texts(), min_size=0 if calls else 1, max_size=2))
        before = [] if plain else [*draw(thoughts()), *draw(searches())]
        messages.append({"role": "assistant", "content": [*before, *said, *calls]})
        results = [
            {
                "type": "tool_result",
                "tool_use_id": call["id"],
                "content": draw(st.lists(texts() | images() | search_results(), max_size=2)),
                **draw(st.sampled_from([{}, {"is_error": True}])),
            }
            for call in draw(st.permutations(calls))
        ]
        more = draw(asked(least=0 if calls else 1))
        messages.append({"role": "user", "content": [*results, *more]})
    return messages


@st.composite
def schemas(draw: Draw) -> Json:
    """Of a tool: what JSON Schema allows, with annotations that nobody reads."""
    properties = draw(
        st.dictionaries(
            st.text(alphabet="abcXYZ_.-", min_size=1, max_size=12),
            st.sampled_from(
                [
                    {"type": "string", "minLength": 1, "pattern": "^a+$"},
                    {"type": ["number", "null"], "minimum": 0.1, "maximum": 1e21},
                    {"anyOf": [{"type": "integer"}, {"enum": [1, "x", None]}]},
                    {"type": "array", "items": {"type": "object"}, "default": []},
                    {"$ref": "#/$defs/part"},
                    {},
                ]
            ),
            max_size=4,
        )
    )
    more = draw(
        st.fixed_dictionaries(
            {},
            optional={
                "additionalProperties": st.booleans(),
                "description": words,
                "examples": st.lists(values, max_size=2),
                "x-note": values,
            },
        )
    )
    return {"type": "object", "properties": properties, "$defs": {"part": {}}, **more}


@st.composite
def tools(draw: Draw) -> list[Json]:
    found = []
    for name in draw(st.lists(names, max_size=3, unique=True)):
        description = draw(st.sampled_from([{}, {"description": "d" * 6_000}]))
        found.append({"name": name, **description, "input_schema": draw(schemas())})
    return found


@st.composite
def native_bodies(draw: Draw) -> Json:
    """What a client of the Messages API may write, without `model` and `stream`."""
    body: Json = {"max_tokens": draw(st.integers(100, 64_000)), "messages": draw(conversations())}
    marked = draw(st.lists(marks, min_size=2, max_size=2))
    fields: Json = {
        "system": draw(spoken)
        if draw(st.booleans())
        else [{"type": "text", "text": draw(spoken), "cache_control": marked[0]}],
        "tools": [
            *draw(tools()),
            {"type": "web_search_20250305", "name": "web_search", "max_uses": 3},
        ],
        "tool_choice": {"type": "auto", "disable_parallel_tool_use": draw(st.booleans())},
        "metadata": {"user_id": draw(ids)},
        "stop_sequences": draw(st.lists(words, max_size=3)),
        "thinking": draw(
            st.sampled_from([{"type": "disabled"}, {"type": "adaptive", "display": "summarized"}])
        ),
        "output_config": {"effort": draw(st.sampled_from(["low", "max"]))},
        "service_tier": "auto",
    }
    chosen = draw(st.sets(st.sampled_from(sorted(fields))))
    if "tools" not in chosen:
        chosen -= {"tool_choice"}
    body |= {name: fields[name] for name in fields if name in chosen}
    last = body["messages"][-1]["content"][-1]
    if marked[1] and last["type"] != "tool_result":
        last["cache_control"] = marked[1]
    return {name: body[name] for name in draw(st.permutations(sorted(body)))}


@pytest.fixture(scope="module", params=FORMS)
async def by_form(
    request: pytest.FixtureRequest,
    shared_upstream: FakeAnthropic,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[tuple[str, Gateway]]:
    """A server of each form, with one process."""
    home, form = tmp_path_factory.mktemp("home"), request.param
    limits = {"max_processes": 1, "pool_warm": 0}
    async with gateway_at(shared_upstream, home, form=form, **limits) as gateway:
        yield form, gateway


async def received(gateway: Gateway, turn: Turn) -> RecordedRequest:
    """The one request that a turn makes."""
    gateway.upstream.clear()
    async with aclosing(gateway.engine.run(turn)) as events:
        async for _ in events:
            pass
    [request] = gateway.upstream.requests
    return request


@pytest.mark.timeout(300)
@given(st.data())
@EXAMPLES
async def test_a_native_request_goes_out_byte_for_byte(
    by_form: tuple[str, Gateway], data: Any
) -> None:
    form, gateway = by_form
    body = data.draw(native_bodies())
    expected = {name: javascript(value) for name, value in body.items()}
    turn = Turn(MODEL, (Message("user", ()),), native=body)
    got = pieces((await received(gateway, turn)).raw)
    for name, value in expected.items():
        if not (form == "oauth" and name == "system"):  # which is the CLI's to write
            assert got[name] == value, name
    assert set(got) - set(body) <= HOUSEKEEPING | STATED


@pytest.mark.timeout(300)
@given(st.data())
@EXAMPLES
async def test_a_turn_goes_out_byte_for_byte_beside_its_cache_marks(
    by_form: tuple[str, Gateway], data: Any
) -> None:
    form, gateway = by_form
    messages = data.draw(conversations(plain=True))
    system = data.draw(st.none() | spoken)
    offered = data.draw(tools())
    offered = offered or [{"name": "f", "input_schema": {"type": "object"}}]
    turn = Turn(
        MODEL,
        tuple(Message(each["role"], tuple(each["content"])) for each in messages),
        system,
        tools=tuple(
            FunctionTool(each["name"], each.get("description", ""), each["input_schema"])
            for each in offered
        ),
        sampling=Sampling(max_tokens=data.draw(st.integers(100, 9_000)), stop=("END", " x ")),
        effort=data.draw(st.sampled_from([None, "low", "high"])),
        principal=data.draw(st.sampled_from(["ann", "bob"])),
    )
    expected = javascript(messages), javascript(offered)
    raw = (await received(gateway, turn)).raw
    got = pieces(raw)
    assert (unmarked(got["messages"]), unmarked(got["tools"])) == expected
    assert got["max_tokens"] == javascript(turn.sampling.max_tokens)
    assert got["stop_sequences"] == javascript(["END", " x "])
    assert got["output_config"] == javascript({"effort": turn.effort or "high"})
    if form != "oauth":
        asked_for = [{"type": "text", "text": system}] if system else []
        assert unmarked(got["system"]) == javascript(asked_for)
        assert set(got) <= HOUSEKEEPING | STATED | {"messages", "stop_sequences"}
    assert marks_in(raw) <= 4


@pytest.mark.timeout(120)
@given(st.dictionaries(st.integers(0, 99).map(str) | st.sampled_from("ab"), words, min_size=2))
@EXAMPLES
async def test_keys_that_are_numbers_keep_their_values(
    by_form: tuple[str, Gateway], arguments: Json
) -> None:
    """Their order is JavaScript's: the one thing of a body that the CLI may change."""
    _, gateway = by_form
    call = {"type": "tool_use", "id": "c1", "name": "f", "input": arguments}
    result = {"type": "tool_result", "tool_use_id": "c1", "content": "ok"}
    messages = [
        {"role": "user", "content": [{"type": "text", "text": "Hello"}]},
        {"role": "assistant", "content": [call]},
        {"role": "user", "content": [result]},
    ]
    turn = Turn(MODEL, (Message("user", ()),), native={"max_tokens": 99, "messages": messages})
    assert (await received(gateway, turn)).body["messages"] == messages


@pytest.mark.timeout(120)
async def test_all_of_it_went_through_few_processes(by_form: tuple[str, Gateway]) -> None:
    """Bodies are exact on a process that has served others, not on a fresh one alone."""
    form, gateway = by_form
    processes = set()
    for number in range(10):
        text = {"type": "text", "text": f"Number {number}"}
        asked_for = Turn(MODEL, (Message("user", (text,)),), f"System {number}")  # type: ignore[arg-type]  # a block's shape
        request = await received(gateway, asked_for)
        processes.add(request.headers["x-claude-code-session-id"])
        assert unmarked(pieces(request.raw)["messages"]) == javascript(
            [{"role": "user", "content": [text]}]
        )
    assert form == "oauth" or len(processes) == 1
