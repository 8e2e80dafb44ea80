"""Requests of Anthropic's API, drawn over all kinds of blocks, fields and forms that it has, and
some that nobody knows yet."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st

from tests.support.harness import png

Json = dict[str, Any]
Draw = Callable[[st.SearchStrategy[Any]], Any]

PDF = "JVBERi0xLjQgeA=="
SAFE_INTEGER = 2**53 - 1
"""The CLI reads JSON as JavaScript does: larger numbers lose digits on their way."""

words = st.text(min_size=1, max_size=40).filter(lambda text: text.strip())
scalars = (
    st.none()
    | st.booleans()
    | st.integers(-SAFE_INTEGER, SAFE_INTEGER)
    | st.floats(-1e6, 1e6, width=32)
    | st.text(max_size=10)
)
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=6,
)
objects = st.dictionaries(st.text(max_size=8), values, max_size=3)
marks = st.sampled_from([None, {"type": "ephemeral"}, {"type": "ephemeral", "ttl": "1h"}])


def marked(block: Json, mark: Json | None) -> Json:
    return block if mark is None else {**block, "cache_control": mark}


def simple(**fields: Any) -> st.SearchStrategy[Json]:
    """A block of these fields, each of them a value or a strategy."""
    drawn = {k: v if isinstance(v, st.SearchStrategy) else st.just(v) for k, v in fields.items()}
    return st.fixed_dictionaries(drawn)


texts = simple(type="text", text=words)
images = st.sampled_from(
    [
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": png(2)}},
        {"type": "image", "source": {"type": "url", "url": "https://example.org/a.png"}},
        {"type": "image", "source": {"type": "file", "file_id": "file_1"}},
    ]
)
documents = st.sampled_from(
    [
        {
            "type": "document",
            "source": {"type": "base64", "media_type": "application/pdf", "data": PDF},
            "citations": {"enabled": True},
            "context": "c",
        },
        {
            "type": "document",
            "source": {"type": "text", "media_type": "text/plain", "data": "x"},
            "title": None,
        },
        {
            "type": "document",
            "source": {"type": "content", "content": [{"type": "text", "text": "y"}]},
        },
        {"type": "document", "source": {"type": "url", "url": "https://example.org/a.pdf"}},
    ]
)
results = simple(
    type="search_result",
    source=words,
    title=words,
    content=st.lists(texts, min_size=1, max_size=2),
    citations={"enabled": True},
)
asked = st.one_of(texts, images, documents, results)
answered = st.one_of(
    simple(type="text", text=words, citations=[{"type": "char_location", "cited_text": "x"}]),
    texts,
    simple(type="thinking", thinking=words, signature="c2ln"),
    simple(type="redacted_thinking", data="ZGF0YQ=="),
    simple(type="server_tool_use", id="srvtoolu_1", name="web_search", input=objects),
    simple(
        type="web_search_tool_result",
        tool_use_id="srvtoolu_1",
        content={"type": "web_search_tool_result_error", "error_code": "unavailable"},
    ),
    simple(type="web_fetch_tool_result", tool_use_id="srvtoolu_2", content=objects),
    simple(type="code_execution_tool_result", tool_use_id="srvtoolu_3", content=objects),
    simple(type="bash_code_execution_tool_result", tool_use_id="srvtoolu_4", content=objects),
    simple(type="mcp_tool_use", id="mcptoolu_1", name="f", server_name="s", input=objects),
    simple(type="mcp_tool_result", tool_use_id="mcptoolu_1", is_error=False, content=[]),
    simple(type="tool_search_tool_result", tool_use_id="srvtoolu_5", content=objects),
    simple(type="container_upload", file_id="file_2"),
    simple(type="compaction", content="Summary"),
)
unknown = simple(type="hologram", frames=values)


@st.composite
def conversations(draw: Draw, *, strange: bool) -> list[Json]:
    """Users and answers in turn, a user last; each call has its result. `strange` adds what only
    a lenient server lets through: unknown blocks, roles and fields, an answer last."""
    count, messages = 0, [message(draw, "user", draw(st.lists(asked, min_size=1, max_size=3)))]
    more = [unknown] if strange else []
    for _ in range(draw(st.integers(0, 3))):
        calls = []
        for _ in range(draw(st.integers(0, 2))):
            count += 1
            call = simple(type="tool_use", id=f"toolu_{count}", name="lookup", input=objects)
            calls.append(marked(draw(call), draw(marks)))
        spoken = draw(st.lists(st.one_of(answered, *more), min_size=1, max_size=2))
        messages.append(message(draw, "assistant", [*spoken, *calls]))
        returned = [draw(result(call["id"])) for call in calls]
        least = 0 if calls else 1
        said = draw(st.lists(st.one_of(asked, *more), min_size=least, max_size=2))
        messages.append(message(draw, "user", [*returned, *said]))
    if strange and draw(st.booleans()):
        messages.append({"role": "system", "content": "Note.", "clear_at": draw(values)})
    if strange and draw(st.booleans()):
        messages.append({"role": "assistant", "content": draw(words)})
    return messages


def message(draw: Draw, role: str, blocks: list[Json]) -> Json:
    """Now and then as a plain text, as most clients write one."""
    if len(blocks) == 1 and blocks[0].keys() == {"type", "text"} and draw(st.booleans()):
        return {"role": role, "content": blocks[0]["text"]}
    return {"role": role, "content": blocks}


@st.composite
def result(draw: Draw, call_id: str) -> Json:
    content = draw(st.one_of(words, st.lists(st.one_of(texts, images, documents), max_size=2)))
    block = {"type": "tool_result", "tool_use_id": call_id, "content": content}
    if draw(st.booleans()):
        block["is_error"] = draw(st.booleans())
    return block


systems = st.one_of(words, st.lists(texts, min_size=1, max_size=2))
functions = simple(
    name="lookup",
    description=words,
    input_schema={"type": "object", "properties": {"a": {"type": "integer"}}},
    strict=st.booleans(),
)
tools = st.lists(
    st.sampled_from(
        [
            {"type": "web_search_20250305", "name": "web_search", "max_uses": 3},
            {"type": "code_execution_20250825", "name": "code_execution"},
            {"type": "bash_20250124", "name": "bash"},
        ]
    ),
    max_size=2,
    unique_by=str,
)
FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "system": systems,
    "metadata": simple(user_id=words),
    "stop_sequences": st.lists(words, max_size=2),
    "temperature": st.sampled_from([0, 0.5, 1]),
    "top_p": st.sampled_from([0.5, 1]),
    "top_k": st.integers(0, 50),
    "thinking": st.sampled_from([{"type": "disabled"}]),
    "service_tier": st.sampled_from(["auto", "standard_only"]),
    "container": st.just("container_1"),
    "output_config": st.sampled_from([{"effort": "low"}, {"effort": "max"}]),
    "context_management": simple(edits=[{"type": "clear_tool_uses_20250919"}]),
    "mcp_servers": st.just([{"type": "url", "url": "https://example.org/mcp", "name": "s"}]),
    "cache_control": st.just({"type": "ephemeral"}),
    "inference_geo": st.just("us"),
}


@st.composite
def bodies(draw: Draw, *, strange: bool) -> Json:
    """A whole request, with its fields in any order."""
    fields: Json = {
        "model": "claude-sonnet-5",
        "max_tokens": draw(st.integers(1, 4096)),
        "messages": draw(conversations(strange=strange)),
        "tools": [draw(functions), *draw(tools)],
    }
    for name, strategy in FIELDS.items():
        if draw(st.integers(0, 3)) == 0:
            fields[name] = draw(strategy)
    if strange:
        fields |= {f"new_{name}": value for name, value in draw(objects).items()}
    names = draw(st.permutations(list(fields)))
    return {name: fields[name] for name in names}
