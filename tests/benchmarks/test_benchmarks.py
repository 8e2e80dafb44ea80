"""The benchmark measures what it says, in its smallest form, and keeps it in full."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest

from benchmarks.client import Exchange, unchunked
from benchmarks.contenders import Contest, contest
from benchmarks.conversations import answer_message, continued, for_messages_api, with_tool
from benchmarks.plan import SMOKE
from benchmarks.plot import svg
from benchmarks.report import BEGIN, END, as_text, verdicts, write_document
from benchmarks.results import (
    Latency,
    Load,
    Memory,
    Results,
    Soak,
    SoakSample,
    Startup,
    Streams,
    read_results,
)
from benchmarks.run import compared, soaked
from benchmarks.soak import growth

pytestmark = pytest.mark.wire


def sample(requests: int, **changes: float) -> SoakSample:
    measured = {"processes": 16, "descriptors": 60, "server_mb": 90.0, **changes}
    return SoakSample(requests, requests / 40, **measured)  # type: ignore[arg-type]  # mixed


def found(**changes: float) -> Results:
    """A run in which each promise was just kept; `changes` are of single figures."""
    ours = {"fresh": 31.0, "follow_up": 26.0, "tool": 31.0, "unseen": 155.0, **changes}
    loads = {"ours": 30.0, "naive": changes.get("naive", 3.0), "floor": 1000.0}
    soaked = [sample(n * 100) for n in range(51)]
    return Results(
        plan="full",
        machine={"cores": 2},
        latency={
            scenario: {
                "floor": Latency(1.0, 2.0, 9),
                "ours": Latency(ours[scenario], 60.0, 9),
                "naive": Latency(310.0, 500.0, 9),
            }
            for scenario in ("fresh", "follow_up", "tool", "unseen")
        },
        load={name: {"4": Load(rate, 30, 60, 30, 0.5, 90)} for name, rate in loads.items()},  # type: ignore[misc]  # as above
        streams={
            "floor": {"1": Streams(9e5, 20_000)},
            "ours": {"1": Streams(changes.get("stream", 5_000), 20_000)},
            "naive": {"1": Streams(9e3, 20_000)},
        },
        startup={"ours": Startup(900, 1500)},
        memory=Memory(80, changes.get("server_mb", 149), 16, 200, 115),
        soak=Soak(5_000, int(changes.get("failures", 0)), 125, {}, sample(0), sample(5000), soaked),
    )


def test_promises_that_are_just_kept_pass() -> None:
    assert [verdict.word for verdict in verdicts(found())] == ["PASS"] * 10


@pytest.mark.parametrize(
    "change",
    [
        {"fresh": 31.5},
        {"follow_up": 26.5},
        {"tool": 31.5},
        {"unseen": 156.0},
        {"naive": 3.1},
        {"stream": 4_999},
        {"server_mb": 150},
        {"failures": 1},
    ],
    ids=str,
)
def test_a_promise_that_is_just_missed_fails(change: dict[str, float]) -> None:
    assert [verdict.kept for verdict in verdicts(found(**change))].count(False) >= 1


@pytest.mark.parametrize("name", ["processes", "descriptors", "server_mb"])
def test_a_soak_sees_what_grows(name: str) -> None:
    samples = [sample(n * 100, **{name: 100 + n}) for n in range(51)]
    grown = growth(Soak(5_000, 0, 125, {}, samples[0], samples[-1], samples))
    assert getattr(grown, name) > 20
    assert not grown.none


def test_what_a_soak_fills_before_it_is_warm_is_no_growth() -> None:
    samples = [sample(n * 100, server_mb=min(90 + n, 110)) for n in range(71)]
    assert growth(Soak(7_000, 0, 125, {}, samples[0], samples[-1], samples, warm_up=2_000)).none
    assert not growth(Soak(7_000, 0, 125, {}, samples[0], samples[-1], samples)).none


def test_nothing_measured_is_neither_kept_nor_broken() -> None:
    assert {verdict.kept for verdict in verdicts(Results("quick", {}))} == {None}


def test_results_come_back_from_their_file(tmp_path: Path) -> None:
    path = tmp_path / "latest.json"
    path.write_text(json.dumps(found().as_json()))
    assert read_results(path) == found()
    assert read_results(tmp_path / "none.json") is None


def test_the_document_gets_the_tables_between_its_markers(tmp_path: Path) -> None:
    document = tmp_path / "performance.md"
    document.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    write_document(document, found())
    write_document(document, found())
    text = document.read_text()
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "old" not in text
    assert text.count("| 31.0 / 60.0 |") == 2  # the fresh conversation and the tool's


@pytest.mark.parametrize("results", [found(), Results("quick", {})], ids=["full", "empty"])
def test_the_plot_is_an_image(results: Results) -> None:
    assert ElementTree.fromstring(svg(results)).tag.endswith("svg")


def frames(*events: object) -> Iterator[bytes]:
    for event in events:
        data = b"data: " + json.dumps(event).encode() + b"\n\n"
        yield f"{len(data):x}".encode() + b"\r\n" + data + b"\r\n"
    yield b"0\r\n\r\n"


def test_a_chunked_answer_is_read_and_continued_with_its_results() -> None:
    def chunk(call: dict[str, object]) -> dict[str, object]:
        return {"choices": [{"delta": {"tool_calls": [{"index": 0, **call}]}}]}

    start = chunk({"id": "c1", "function": {"name": "weather", "arguments": ""}})
    piece = chunk({"function": {"arguments": '{"city":"Rome"}'}})
    body = b"".join(frames(start, piece))
    assert unchunked(body).count(b"data: ") == 2
    exchange = Exchange(200, body, 0.0, 0.1, 0.2)
    [call] = answer_message(exchange.events())["tool_calls"]
    assert call["function"] == {"name": "weather", "arguments": '{"city":"Rome"}'}
    following = continued(with_tool(), exchange)["messages"]
    assert [message["role"] for message in following] == ["system", "user", "assistant", "tool"]
    native = for_messages_api(continued(with_tool(), exchange))["messages"]
    assert native[1]["content"][0]["input"] == {"city": "Rome"}
    assert native[2]["content"][0]["tool_use_id"] == "c1"


@pytest.fixture(scope="module")
async def everyone() -> AsyncIterator[Contest]:
    async with contest() as running:
        yield running


@pytest.mark.timeout(120)
async def test_a_whole_run_in_its_smallest_form_measures_everything(everyone: Contest) -> None:
    said: list[str] = []
    results = await compared(everyone, SMOKE, said.append)
    names = {"floor", "ours", "naive"}
    assert {scenario: set(by) for scenario, by in results.latency.items()} == {
        "fresh": names,
        "follow_up": names,
        "tool": {"floor", "ours"},
        "unseen": names,
    }
    assert all(load["1"].requests >= 1 for load in results.load.values())
    assert set(results.load) == set(results.streams) == names
    assert results.memory is not None
    assert results.memory.cli_processes > 0
    assert "This server" in as_text(results)
    assert said


@pytest.mark.timeout(120)
async def test_a_soak_in_its_smallest_form_counts_every_request(everyone: Contest) -> None:
    result = await soaked(everyone.ours, 5, lambda text: None, clients=1)
    assert result.requests - result.warm_up >= 5
    assert result.failures == 0
    assert len(result.samples) > 3
