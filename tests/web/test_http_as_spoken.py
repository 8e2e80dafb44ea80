"""HTTP as clients and proxies speak it: old versions, missing headers, silence, redirects."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx
import pytest

from tests.conftest import MakeGateway
from tests.support.harness import Gateway
from tests.support.sockets import connections, request
from tests.support.wire import URL, asking, frames


async def exchange(gateway: Gateway, sent: bytes) -> tuple[bytes, bytes]:
    """Head and body of an answer whose end is that of the connection."""
    async with connections(gateway.url) as [(reader, writer)]:
        writer.write(sent)
        answer = b""
        while piece := await asyncio.wait_for(reader.read(100_000), 20):
            answer += piece
    head, _, body = answer.partition(b"\r\n\r\n")
    return head.lower(), body


async def test_a_stream_to_an_http_1_0_client_is_not_chunked(gateway: Gateway) -> None:
    body = asking("!demo tokens=3", stream=True)
    head, answer = await exchange(gateway, request(URL, body, version="1.0"))
    assert b"transfer-encoding" not in head
    assert b"connection: close" in head
    assert frames(answer.decode())[-1] == "[DONE]"
    json.loads(frames(answer.decode())[0])


async def test_a_body_to_an_http_1_0_client_has_its_length(gateway: Gateway) -> None:
    head, answer = await exchange(gateway, request(URL, asking("!demo tokens=3"), version="1.0"))
    assert f"content-length: {len(answer)}".encode() in head
    assert json.loads(answer)["choices"][0]["message"]["content"] == "word1 word2 word3"


@pytest.mark.parametrize(
    "kind", [None, "text/plain", "application/x-www-form-urlencoded", "application/octet-stream"]
)
async def test_json_is_read_as_json_whatever_a_program_calls_it(
    gateway: Gateway, kind: str | None
) -> None:
    """curl's `-d` calls it a form."""
    headers = {} if kind is None else {"content-type": kind}
    content = b" \n" + json.dumps(asking("!demo tokens=1")).encode()
    answer = await gateway.http.post(URL, content=content, headers=headers)
    assert answer.status_code == 200, answer.text


async def test_what_is_not_json_names_the_header(gateway: Gateway) -> None:
    headers = {"content-type": "application/x-www-form-urlencoded"}
    answer = await gateway.http.post(URL, content=b"model=x&messages=y", headers=headers)
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (400, "invalid_content_type")
    assert "Content-Type: application/json" in error["message"]


async def test_a_silent_upstream_starts_the_stream_after_a_while(
    make_gateway: MakeGateway,
) -> None:
    async with make_gateway(heartbeat_seconds=0.3) as gateway:
        body = asking("!demo tokens=2 first_delay=1.5", stream=True)
        answer = await gateway.http.post(URL, json=body)
        assert answer.text.startswith(": keep-alive\n\n")
        assert frames(answer.text)[-1] == "[DONE]"


async def test_an_error_after_a_silence_is_a_frame_and_of_a_body_a_status(
    make_gateway: MakeGateway,
) -> None:
    async with make_gateway(heartbeat_seconds=0.3) as gateway:
        text = "!demo error=500 first_delay=1.5"
        streamed = await gateway.http.post(URL, json=asking(text, stream=True))
        assert streamed.status_code == 200
        shown = [frame for frame in frames(streamed.text) if not frame.startswith(":")]
        assert json.loads(shown[0])["error"]["code"] == "upstream_error"
        assert shown[1:] == ["[DONE]"]
        whole = await gateway.http.post(URL, json=asking(text))
        assert (whole.status_code, whole.json()["error"]["code"]) == (502, "upstream_error")


async def test_a_page_in_another_network_may_ask_where_its_origin_is_named(
    make_gateway: MakeGateway,
) -> None:
    """https://wicg.github.io/private-network-access/"""
    async with make_gateway(cors_origins=("https://chat.example",)) as gateway:
        for origin, status in (("https://chat.example", 200), ("https://evil.example", 403)):
            headers = {
                "origin": origin,
                "access-control-request-method": "POST",
                "access-control-request-private-network": "true",
            }
            answer = await gateway.http.options(URL, headers=headers)
            allowed = answer.headers.get("access-control-allow-private-network")
            assert (answer.status_code, allowed) == (status, "true" if status == 200 else None)


async def test_a_slash_too_many_redirects_nowhere(gateway: Gateway) -> None:
    """Behind a proxy that ends TLS a redirect would lead to http."""
    answer = await gateway.http.get("/v1/pool/?a=b", follow_redirects=False)
    assert answer.status_code == 200
    assert "location" not in answer.headers


async def test_the_errors_have_the_words_that_openais_clients_know(
    make_gateway: MakeGateway,
) -> None:
    limits: dict[str, Any] = {"rate_limit_enabled": True, "rate_limit_general_per_minute": 1}
    async with make_gateway(api_key="sk-one", **limits) as gateway:
        no_key = (await gateway.http.get("/v1/models")).json()["error"]
        assert (no_key["type"], no_key["code"]) == ("invalid_request_error", "invalid_api_key")
        own = (await gateway.http.get("/v1/models")).json()["error"]
        assert (own["type"], own["code"]) == ("rate_limit_exceeded", "too_many_requests")
        assert own["retry_after"] > 0
        headers = {"authorization": "Bearer sk-one"}
        text = "!demo error=429"
        answer = await gateway.http.post(URL, json=asking(text), headers=headers)
        upstreams = answer.json()["error"]
        expected = ("rate_limit_exceeded", "rate_limit_exceeded")
        assert (upstreams["type"], upstreams["code"]) == expected


@pytest.mark.parametrize("name", ["x" * 257, "a\nb", "a\u0000", "\u202eopus"])
async def test_a_models_name_is_bounded_and_printable(gateway: Gateway, name: str) -> None:
    answer: httpx.Response = await gateway.http.post(URL, json=asking("hi", model=name))
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "model_not_found")
    assert name not in answer.json()["error"]["message"]
