"""The benchmark measures what it says, in its smallest form, and keeps it in full."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest

from benchmarks import peers
from benchmarks.__main__ import command
from benchmarks.client import Exchange, unchunked
from benchmarks.contenders import Contest, contest
from benchmarks.conversations import (
    answer_message,
    continued,
    for_messages_api,
    long_history,
    with_tool,
)
from benchmarks.dialects import WAYS
from benchmarks.plan import SMOKE
from benchmarks.plot import svg
from benchmarks.promises import BEFORE, verdicts
from benchmarks.report import BEGIN, END, as_text, write_document
from benchmarks.results import (
    SCENARIOS,
    Latency,
    Load,
    Memory,
    Paced,
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


def paced(**changes: float) -> Paced:
    measured: dict[str, float] = {
        "requests_per_second": 5.0,
        "over_p50_ms": 130.0,
        "over_p95_ms": 260.0,
        "whole_p50_ms": 2_600.0,
        "server_cpu_us": 500.0,
        "cli_cpu_us": 900.0,
        "processes": 16,
        "memory_mb": 2_000.0,
        "requests": 80,
        **changes,
    }
    return Paced(**measured)


def load(rate: float, first_token_ms: float = 30.0) -> Load:
    return Load(rate, first_token_ms, 60, 30, 0.5, 90)


def found(**changes: float) -> Results:
    """A run in which each promise was just kept; `changes` are of single figures."""
    kept = {"fresh": 41.0, "unseen": 41.0, "follow_up": 41.0, "tool": 41.0, "long": 61.0}
    ours = {scenario: changes.get(scenario, kept[scenario]) for scenario in SCENARIOS}
    peer = Latency(40.0, 50.0, 9)
    soaked = [sample(n * 100) for n in range(51)]
    rate, own_first = changes.get("rate", 36.0), changes.get("own_first", 39.0)
    ours_paced = {
        "16": paced(**{name: changes[name] for name in ("server_cpu_us",) if name in changes}),
        "32": paced(requests_per_second=changes.get("paced_rate", 4.5)),
    }
    return Results(
        plan="full",
        machine={"cores": 2},
        latency={
            scenario: {
                "floor": Latency(1.0, 2.0, 9),
                "ours": Latency(ours[scenario], 60.0, 9),
                "naive": Latency(410.0, 500.0, 9),
                "litellm": peer,
            }
            for scenario in SCENARIOS
        },
        load={
            "floor": {"1": load(1000)},
            "ours": {"1": load(20, own_first), "4": load(40.0), "16": load(rate)},
            "naive": {"4": load(changes.get("naive", 4.0))},
            "litellm": {"1": load(20), "4": load(40), "16": load(30)},
        },
        paced={
            "ours": ours_paced,
            "litellm": {
                n: paced(over_p50_ms=100.0, over_p95_ms=changes.get("peer_p95", 200.0))
                for n in ("16", "32")
            },
            BEFORE: {n: paced(server_cpu_us=1_000) for n in ("16", "32")},
        },
        streams={
            "floor": {"1": Streams(9e5, 20_000)},
            "ours": {"1": Streams(changes.get("stream", 5_000), 20_000)},
            "naive": {"1": Streams(9e3, 20_000)},
        },
        dialects={"chat": 100.0, "responses": changes.get("responses_us", 130.0)},
        startup={"ours": Startup(900, 1500)},
        memory=Memory(80, changes.get("server_mb", 159), 16, 200, 115),
        soak=Soak(5_000, int(changes.get("failures", 0)), 125, {}, sample(0), sample(5000), soaked),
    )


def test_promises_that_are_just_kept_pass() -> None:
    assert {verdict.word for verdict in verdicts(found())} == {"PASS"}


@pytest.mark.parametrize(
    "change",
    [
        {"fresh": 41.5},
        {"unseen": 41.5},
        {"follow_up": 41.5},
        {"tool": 41.5},
        {"long": 61.5},
        {"fresh": 40.0, "long": 60.5},
        {"naive": 4.1},
        {"rate": 35.5},
        {"own_first": 39.5},
        {"server_cpu_us": 501.0},
        {"paced_rate": 4.4},
        {"peer_p95": 199.0},
        {"stream": 4_999},
        {"server_mb": 160},
        {"responses_us": 131.0},
        {"failures": 1},
    ],
    ids=str,
)
def test_a_promise_that_is_just_missed_is_told(change: dict[str, float]) -> None:
    words = [verdict.word for verdict in verdicts(found(**change))]
    assert "miss" in words
    assert "not measured" not in words


def test_a_run_without_peers_measures_nothing_of_them() -> None:
    results = found()
    for by in (results.load, results.paced):
        del by["litellm"]
    unmeasured = [verdict for verdict in verdicts(results) if verdict.kept is None]
    assert unmeasured
    assert all("LiteLLM" in verdict.promise or "its" in verdict.promise for verdict in unmeasured)
    assert "LiteLLM" not in as_text(results).split("Promises")[0].replace("LiteLLM's proxy", "", 2)


def test_a_server_is_named_by_a_command() -> None:
    assert command("python main.py {port}") == ("ours", ["python", "main.py", "{port}"])
    assert command("before='a b' x=1 {port}") == ("before", ["a b", "x=1", "{port}"])
    assert command("/usr/bin/env A=b python") == ("ours", ["/usr/bin/env", "A=b", "python"])


@pytest.mark.parametrize(("value", "wanted"), [("", False), ("0", False), ("1", True)])
def test_peers_are_measured_where_they_are_wanted(
    monkeypatch: pytest.MonkeyPatch, value: str, wanted: bool
) -> None:
    monkeypatch.setenv("PEERS", value)
    assert peers.wanted() is wanted


def test_a_history_of_200_messages_is_new_each_time() -> None:
    first, second = (for_messages_api(long_history())["messages"] for _ in range(2))
    assert len(first) == len(second) == 201
    assert not {str(m) for m in first if m["role"] == "user"} & {str(m) for m in second}


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
    assert text.count("| 41.0 / 60.0 |") == 4  # all but the long one


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
        "unseen": names,
        "follow_up": names,
        "tool": {"floor", "ours"},
        "long": {"floor", "ours"},
    }
    assert results.paced["ours"]["1"].requests >= 1
    assert results.paced["ours"]["1"].memory_mb > 50
    assert all(load["1"].requests >= 1 for load in results.load.values())
    assert set(results.load) == set(results.streams) == names
    assert set(results.dialects) == set(WAYS)
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
