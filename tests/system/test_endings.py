"""Each ending makes one request to the model, whatever the CLI would do next, and leaves its
process usable. `ENDING_REPETITIONS=200` repeats each as often; the upstream answers at once."""

from __future__ import annotations

import os
from contextlib import aclosing, suppress
from dataclasses import dataclass
from typing import Any

import pytest

from claude_cli import ClaudeEngine
from core.conversation import Message, text_block
from core.errors import GatewayError
from core.events import Finished, TextDelta
from core.turn import FunctionTool, Sampling, Turn
from tests.conftest import MakeGateway

REPETITIONS = int(os.environ.get("ENDING_REPETITIONS", "20"))
LOOK = FunctionTool("look", "Looks it up", {"type": "object", "properties": {}})


@dataclass(frozen=True)
class Ending:
    """What the model is told to do, the reason that the turn ends with (or the error's status), and
    after how many characters the client leaves."""

    order: str
    outcome: str | int
    limit: int = 500
    leaves_after: int | None = None


ENDINGS = {
    "a whole answer": Ending("text=done", "end_turn"),
    "a limit": Ending("tokens=20", "max_tokens", limit=3),
    "an empty answer": Ending("empty", "end_turn"),
    "a refusal": Ending("stop=refusal text=no", "refusal"),
    "a refusal without words": Ending("stop=refusal empty", "refusal"),
    "tool calls": Ending("call=look,look", "tool_use"),
    "a paused turn": Ending("stop=pause_turn text=wait", "pause_turn"),
    "a full window": Ending("stop=model_context_window_exceeded text=x", "max_tokens"),
    "a stop sequence": Ending("text='a END b'", "stop_sequence"),
    "a cut stream": Ending("tokens=9 cut=3", 502),
    "an error in the stream": Ending("tokens=9 error_midstream=overloaded_error", 503),
    "400": Ending("error=400 message=no", 400),
    "429": Ending("error=429", 429),
    "500": Ending("error=500", 502),
    "529": Ending("error=529", 503),
    "a client that leaves at the first token": Ending("tokens=500", "", leaves_after=1),
    "a client that leaves in the middle": Ending(
        "tokens=200 delay_after=100:30", "", leaves_after=300
    ),
}


SHOW_NOTHING = {"an empty answer", "a refusal without words"}
"""Under a login the CLI may ask once more, where the upstream ends such an answer at once: its
process cannot be ended before (tests/engine/contract/test_cli.py). After a prompt below the limit
that is so for what is cut, too; so the prompts count as longer here."""


def turn(text: str, **fields: Any) -> Turn:
    messages = (Message("user", (text_block(text),)),)
    return Turn("claude-sonnet-5", messages, "You are Ada.", tools=(LOOK,), **fields)


async def ended(engine: ClaudeEngine, ending: Ending, number: int) -> str | int:
    """How one turn ended: its reason, or the status of its error, "" where the client left."""
    sampling = Sampling(max_tokens=ending.limit, stop=("END",))
    asked = turn(f"Number {number}\n!demo {ending.order} input=2000", sampling=sampling)
    characters = 0
    try:
        async with aclosing(engine.run(asked)) as events:
            async for event in events:
                characters += len(event.text) if isinstance(event, TextDelta) else 0
                if ending.leaves_after is not None and characters >= ending.leaves_after:
                    return ""
                if isinstance(event, Finished):
                    return event.reason
    except GatewayError as error:
        return error.status
    return "no end"


@pytest.mark.timeout(60 + 2 * REPETITIONS)
@pytest.mark.parametrize("name", ENDINGS)
async def test_an_ending_makes_one_request_and_leaves_its_process(
    make_gateway: MakeGateway, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.worker.INTERRUPT_SECONDS", 10)  # on a busy machine too
    ending = ENDINGS[name]
    async with make_gateway(max_processes=1) as gateway:
        outcomes = {await ended(gateway.engine, ending, n) for n in range(REPETITIONS)}
        after = await ended(gateway.engine, ENDINGS["a whole answer"], REPETITIONS)
        requests = list(gateway.upstream.requests)
    assert outcomes == {ending.outcome}
    assert after == "end_turn"
    asked = [request.messages[0]["content"][0]["text"].split("\n")[0] for request in requests]
    assert asked == [f"Number {n}" for n in range(REPETITIONS + 1)]
    processes = {request.headers["x-claude-code-session-id"] for request in requests}
    assert len(processes) <= 1 + REPETITIONS // 200  # a process is used two hundred times


@pytest.mark.timeout(120)
@pytest.mark.parametrize("form", ["oauth", "bedrock", "vertex"])
async def test_every_ending_by_the_other_providers(make_gateway: MakeGateway, form: str) -> None:
    endings = {n: e for n, e in ENDINGS.items() if form != "oauth" or n not in SHOW_NOTHING}
    async with make_gateway(form=form, max_processes=1) as gateway:
        found = {name: await ended(gateway.engine, ending, 0) for name, ending in endings.items()}
        with suppress(GatewayError):
            await ended(gateway.engine, ENDINGS["a whole answer"], 1)
        requests = list(gateway.upstream.requests)
    expected = {name: ending.outcome for name, ending in endings.items()}
    if form == "bedrock":  # whose frames name an exception, not the API's error
        expected["an error in the stream"] = 502
    assert found == expected
    repeated = form in ("bedrock", "vertex")  # where the CLI itself repeats a 400, once, unchanged
    assert len(requests) == len(endings) + 1 + repeated
