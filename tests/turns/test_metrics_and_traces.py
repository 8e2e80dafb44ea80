"""`GET /metrics`, and what a trace says of a turn."""

from __future__ import annotations

import re
from typing import Any

import pytest

from core.events import Usage
from stores.usage import TurnRecord
from tests.conftest import MakeGateway
from tests.support.wire import URL, asking
from turns.metrics import MOST_MODELS, Metrics
from turns.tracing import Tracing

OPERATOR = {"authorization": "Bearer sk-operator"}
RECORD = TurnRecord(
    "req_1",
    1_795_000_000.0,
    "alice",
    "chat",
    session_id="s",
    model_asked="gpt-5",
    model="claude-sonnet-5",
    usage=Usage(1, 2, 3, 4),
    cost_usd=0.5,
    first_token_ms=100.0,
    queue_ms=1.0,
    process_ms=30.0,
    upstream_ms=69.0,
    duration_ms=1_500.0,
)


def value(text: str, name: str) -> float:
    found = re.search(rf"^{re.escape(name)} (\S+)$", text, re.MULTILINE)
    assert found, f"{name} is not in\n{text}"
    return float(found[1])


async def test_metrics_count_what_was_asked_and_need_a_key(make_gateway: MakeGateway) -> None:
    async with make_gateway(api_key="sk-operator") as gateway:
        body = asking("secret words\n!demo input=10 cached=3 tokens=4")
        answer = (await gateway.http.post(URL, json=body, headers=OPERATOR)).json()
        await gateway.http.post(URL, json=asking("hi", model="none/such"), headers=OPERATOR)
        assert (await gateway.http.get("/metrics")).status_code == 401
        response = await gateway.http.get("/metrics", headers=OPERATOR)
        text, model = response.text, answer["model"]
        assert response.headers["content-type"].startswith("text/plain")
        labels = f'dialect="chat",model="{model}"'
        assert value(text, f'claude_requests_total{{{labels},status="200"}}') == 1
        lost = 'claude_requests_total{dialect="chat",model="other",status="404"}'
        assert value(text, lost) == 1
        assert value(text, f'claude_tokens_total{{kind="cache_read",model="{model}"}}') == 3
        cost = value(text, f'claude_cost_usd_total{{model="{model}"}}')
        assert cost == pytest.approx(answer["usage"]["cost_usd"])
        assert value(text, 'claude_first_token_seconds_count{dialect="chat"}') == 1
        assert value(text, "claude_processes_max") == 6
        assert value(text, "claude_requests_running") == 0
        for word in ("secret", "default", "none/such"):
            assert word not in text


async def test_metrics_can_be_public(make_gateway: MakeGateway) -> None:
    async with make_gateway(api_key="sk-operator", metrics_public=True) as gateway:
        assert (await gateway.http.get("/metrics")).status_code == 200


async def test_models_have_only_so_many_labels(make_gateway: MakeGateway) -> None:
    async with make_gateway() as gateway:
        metrics = Metrics(gateway.engine, lambda: 0)
        for number in range(MOST_MODELS + 20):
            changed = {"id": f"r{number}", "model": f"claude-{number}"}
            metrics.note(TurnRecord(at=1.0, key="a", dialect="chat", **changed))  # type: ignore[arg-type]
        text = metrics.text().decode()
        assert len(re.findall(r"^claude_requests_total\{", text, re.MULTILINE)) == MOST_MODELS + 1


async def test_the_subscriptions_windows_are_metrics_headers_and_warnings(
    make_gateway: MakeGateway, caplog: pytest.LogCaptureFixture
) -> None:
    async with make_gateway() as gateway:
        report = {"rateLimitType": "five_hour", "utilization": 0.9, "resetsAt": 1_795_000_000}
        for status in ("allowed", "allowed_warning", "allowed_warning"):
            gateway.engine.windows.note({**report, "status": status, "overageStatus": "rejected"})
        text = (await gateway.http.get("/metrics")).text
        assert value(text, 'claude_ratelimit_utilization{window="five_hour"}') == 0.9
        headers = (await gateway.http.post(URL, json=asking("hi"))).headers
        assert headers["x-claude-ratelimit-five-hour-status"] == "allowed-warning"
        assert headers["x-claude-ratelimit-five-hour-utilization"] == "0.9"
        assert headers["x-claude-ratelimit-five-hour-reset"] == "1795000000"
        [five, over] = (await gateway.http.get("/v1/usage/limits")).json()["subscription"]
        assert (five["name"], five["utilization"]) == ("five_hour", 0.9)
        assert (over["name"], over["status"]) == ("overage", "rejected")
    told = [record.message for record in caplog.records if "window" in record.message]
    assert told == [
        "the subscription's window overage: rejected",
        "the subscription's window five_hour: allowed_warning, 90% used",
    ]


# Traces


@pytest.fixture
def spans() -> Any:
    exporters = pytest.importorskip(
        "opentelemetry.sdk.trace.export.in_memory_span_exporter", reason="no extra `tracing`"
    )
    return exporters.InMemorySpanExporter()


async def test_a_trace_of_a_turn_follows_the_conventions_and_its_caller(spans: Any) -> None:
    tracing = Tracing(spans)
    parent = f"00-{'ab' * 16}-{'cd' * 8}-01"
    tracing.begin({"traceparent": parent}, RECORD.at).end(RECORD)
    [span] = spans.get_finished_spans()
    assert span.name == "chat claude-sonnet-5"
    assert f"{span.context.trace_id:032x}" == "ab" * 16
    assert f"{span.parent.span_id:016x}" == "cd" * 8
    assert span.attributes["gen_ai.usage.input_tokens"] == 6
    assert span.attributes["gen_ai.request.model"] == "gpt-5"
    assert span.end_time - span.start_time == 1_500_000_000
    [event] = span.events
    assert event.attributes["claude_gateway.process_ms"] == 30.0
    await tracing.aclose()


async def test_a_failed_turn_is_a_failed_span(spans: Any) -> None:
    tracing = Tracing(spans)
    failed = TurnRecord("r", 1.0, "a", "chat", status=502, error="upstream_error")
    tracing.begin({}, 1.0).end(failed)
    [span] = spans.get_finished_spans()
    assert (span.status.is_ok, span.attributes["error.type"]) == (False, "upstream_error")
    await tracing.aclose()


async def test_the_upstream_gets_the_span_of_each_turn_as_its_parent(
    make_gateway: MakeGateway, spans: Any
) -> None:
    """Also where another turn's process is used again, and beside the operator's own headers."""
    asked: dict[str, Any] = {"tracing": True, "anthropic_custom_headers": "X-Own: 1"}
    async with make_gateway(**asked, max_processes=2, allow_builtin_tools=True) as gateway:
        gateway.app.state.gateway.usage.tracing = Tracing(spans)
        parent = {"traceparent": f"00-{'ab' * 16}-{'cd' * 8}-01", "tracestate": "vendor=a"}
        bodies = asking("one"), asking("two"), asking("three", enable_tools=True)
        for body, headers in zip(bodies, (parent, {}, parent), strict=True):
            assert (await gateway.http.post(URL, json=body, headers=headers)).status_code == 200
        received = [request.headers for request in gateway.upstream.requests]
    exported = spans.get_finished_spans()
    ours = [f"00-{span.context.trace_id:032x}-{span.context.span_id:016x}" for span in exported]
    assert [headers["traceparent"][:-3] for headers in received] == ours
    assert ours[0].startswith(parent["traceparent"][:35])
    assert ours[0][:35] == ours[2][:35] != ours[1][:35]
    assert [headers.get("tracestate") for headers in received] == ["vendor=a", None, "vendor=a"]
    assert {headers["x-own"] for headers in received} == {"1"}


async def test_without_traces_the_upstream_gets_none(make_gateway: MakeGateway) -> None:
    async with make_gateway() as gateway:
        headers = {"traceparent": f"00-{'ab' * 16}-{'cd' * 8}-01"}
        await gateway.http.post(URL, json=asking("hi"), headers=headers)
        [request] = gateway.upstream.requests
    assert "traceparent" not in request.headers
