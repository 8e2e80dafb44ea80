"""Chat's stream and body of the same events, byte for byte as in the golden files.

`UPDATE_GOLDEN=1 pytest tests/dialects/chat/test_renderer.py` writes them; read the difference.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from core.events import ChoiceEvent
from dialects.base import Context, with_grant
from dialects.chat import DIALECT
from dialects.chat.renderer import ChatRenderer
from models import ChatRequest
from tests.support.chat_cases import CASES, MODEL, Case

GOLDEN = Path(__file__).parent / "golden"
DONE = "data: [DONE]\n\n"


def renderer(case: Case) -> ChatRenderer:
    messages = [{"role": "user", "content": "Hi"}]
    request = ChatRequest.model_validate({"messages": messages, **case.fields})
    call = DIALECT.parse(request, Context(MODEL))
    call = call if case.grant is None else with_grant(call, case.grant)
    return ChatRenderer(call, "chatcmpl-1", 1_790_000_000)


def streamed(case: Case) -> str:
    write = renderer(case)
    frames = [
        write.feed(ChoiceEvent(choice, event))
        for event in case.events
        for choice in range(case.choices)
    ]
    frames.append(write.finish() if case.error is None else write.fail(case.error))
    return b"".join(frames).decode()


def body(case: Case) -> tuple[Any, dict[str, str]]:
    write = renderer(case)
    for event in case.events:
        for choice in range(case.choices):
            write.feed(ChoiceEvent(choice, event))
    return json.loads(write.body()), write.headers()


def check(path: Path, found: str) -> None:
    if os.environ.get("UPDATE_GOLDEN"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(found)
    assert found == path.read_text()


WHOLE = [case for case in CASES if case.error is None]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_stream_is_as_it_was(case: Case) -> None:
    check(GOLDEN / f"{case.name}.sse", streamed(case))


@pytest.mark.parametrize("case", WHOLE, ids=lambda case: case.name)
def test_a_body_is_as_it_was(case: Case) -> None:
    found, headers = body(case)
    shown = {"headers": headers, "body": found}
    check(GOLDEN / f"{case.name}.json", json.dumps(shown, indent=2, ensure_ascii=False) + "\n")


def test_there_are_no_golden_files_of_cases_that_are_gone() -> None:
    expected = {f"{case.name}.sse" for case in CASES} | {f"{case.name}.json" for case in WHOLE}
    assert {path.name for path in GOLDEN.iterdir()} == expected


def chunks(case: Case) -> list[dict[str, Any]]:
    *frames, end = streamed(case).removesuffix("\n\n").split("\n\n")
    assert end == DONE.strip()
    return [json.loads(frame.removeprefix("data: ")) for frame in frames]


@pytest.mark.parametrize("case", WHOLE, ids=lambda case: case.name)
def test_stream_and_body_say_the_same(case: Case) -> None:
    found = ChatCompletion.model_validate(body(case)[0])
    for choice in found.choices:
        deltas = [
            part.delta
            for chunk in map(ChatCompletionChunk.model_validate, chunks(case))
            for part in chunk.choices
            if part.index == choice.index
        ]
        assert "".join(delta.content or "" for delta in deltas) == (choice.message.content or "")
        pieces = [piece for delta in deltas for piece in delta.tool_calls or []]
        for index, call in enumerate(choice.message.tool_calls or []):
            assert call.type == "function"
            of_call = [piece.function for piece in pieces if piece.index == index]
            written = "".join(piece.arguments or "" for piece in of_call if piece)
            assert (written or "{}") == call.function.arguments


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_one_id_one_time_and_one_model_throughout(case: Case) -> None:
    named = {(c["id"], c["created"], c["model"]) for c in chunks(case) if "error" not in c}
    assert named == {("chatcmpl-1", 1_790_000_000, MODEL)}


@pytest.mark.parametrize("case", [c for c in CASES if c.error], ids=lambda case: case.name)
def test_an_error_is_the_last_frame_before_the_end(case: Case) -> None:
    *_, last = chunks(case)
    assert case.error is not None
    assert last == case.error.openai_body()
