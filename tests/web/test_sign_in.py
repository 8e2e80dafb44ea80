"""Signing in at the page: what a cookie opens, and what does not get one."""

from __future__ import annotations

import re
from typing import Any

import httpx
import pytest

from auth import KeyBook, load_keyring
from config.settings import Settings
from core.errors import PermissionDenied
from tests.conftest import MakeGateway
from tests.support.harness import Gateway
from tests.support.wire import URL, asking
from web.csv_text import csv_text
from web.sign_in import COOKIE, SECURE_COOKIE, SIGNED_IN_SECONDS, SignIn

OPERATOR = {"authorization": "Bearer sk-operator"}
HTML = {"accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


async def cookie_of(gateway: Gateway, key: str = "sk-operator") -> str:
    response = await gateway.http.post("/sign-in", headers={"authorization": f"Bearer {key}"})
    assert response.status_code == 204, response.text
    gateway.http.cookies.clear()
    return response.headers["set-cookie"].partition(";")[0]


async def token_of(gateway: Gateway, cookie: str) -> str:
    page = await gateway.http.get("/", headers={**HTML, "cookie": cookie})
    found = re.search(r'name="csrf-token" content="([0-9a-f]{64})"', page.text)
    assert found, page.text
    return found[1]


async def test_a_cookie_reads_and_with_the_pages_token_writes(make_gateway: MakeGateway) -> None:
    async with make_gateway(api_key="sk-operator") as gateway:
        cookie = await cookie_of(gateway)
        token = await token_of(gateway, cookie)
        assert (await gateway.http.get("/v1/keys", headers={"cookie": cookie})).status_code == 200
        body: dict[str, Any] = {"name": "alice"}

        async def post(**headers: str) -> int:
            sent = {name.replace("_", "-"): value for name, value in headers.items()}
            return (await gateway.http.post("/v1/keys", json=body, headers=sent)).status_code

        assert await post(cookie=cookie) == 401
        assert await post(cookie=cookie, x_csrf_token="0" * 64) == 401
        assert await post(cookie=cookie, x_csrf_token=token, sec_fetch_site="cross-site") == 401
        assert await post(x_csrf_token=token) == 401
        assert await post(cookie=cookie, x_csrf_token=token) == 201


async def test_a_form_of_another_site_signs_nobody_in(make_gateway: MakeGateway) -> None:
    async with make_gateway(api_key="sk-operator") as gateway:
        response = await gateway.http.post("/sign-in", data={"key": "sk-operator"})
        assert response.status_code == 401
        assert "set-cookie" not in response.headers


async def test_another_origin_is_never_told_that_it_may_send_the_cookie(
    make_gateway: MakeGateway,
) -> None:
    async with make_gateway(api_key="sk-operator", cors_origins=("*",)) as gateway:
        cookie = await cookie_of(gateway)
        headers = {"origin": "https://evil.example", "cookie": cookie}
        response = await gateway.http.get("/v1/keys", headers=headers)
        assert "access-control-allow-credentials" not in response.headers


@pytest.mark.parametrize("change", ["payload", "signature", "garbage"])
async def test_a_forged_cookie_opens_nothing(make_gateway: MakeGateway, change: str) -> None:
    async with make_gateway(api_key="sk-operator") as gateway:
        cookie = await cookie_of(gateway)
        name, _, value = cookie.partition("=")
        payload, _, signature = value.partition(".")
        forged = {
            "payload": f"{name}={payload[:-1]}A.{signature}",
            "signature": f"{name}={payload}.{'0' * 64}",
            "garbage": f"{name}=\udcff.é",
        }[change]
        raw = forged.encode("utf-8", "surrogateescape")
        response = await gateway.http.get("/v1/keys", headers={b"cookie": raw})
        assert response.status_code == 401


async def test_a_revoked_keys_cookie_opens_nothing(make_gateway: MakeGateway) -> None:
    async with make_gateway(api_key="sk-operator") as gateway:
        made = await gateway.http.post("/v1/keys", json={"name": "alice"}, headers=OPERATOR)
        cookie = await cookie_of(gateway, made.json()["key"])
        assert (await gateway.http.get("/v1/models", headers={"cookie": cookie})).status_code == 200
        await gateway.http.delete("/v1/keys/alice", headers=OPERATOR)
        assert (await gateway.http.get("/v1/models", headers={"cookie": cookie})).status_code == 401


async def test_over_plain_http_from_elsewhere_no_cookie_is_given_or_taken(
    make_gateway: MakeGateway,
) -> None:
    async with make_gateway(api_key="sk-operator") as gateway:
        elsewhere = {"host": "gateway.example.com"}
        refused = await gateway.http.post("/sign-in", headers={**OPERATOR, **elsewhere})
        assert refused.json()["error"]["code"] == "https_required"
        assert "set-cookie" not in refused.headers
        cookie = await cookie_of(gateway)
        stolen = await gateway.http.get("/v1/keys", headers={"cookie": cookie, **elsewhere})
        assert stolen.status_code == 401
        page = await gateway.http.get("/", headers={**HTML, **elsewhere})
        assert "plain http" in page.text
        assert '<form id="sign-in">' not in page.text


async def test_html_is_for_those_who_ask_for_it_first(make_gateway: MakeGateway) -> None:
    async with make_gateway() as gateway:
        for accept, is_html in (
            ("*/*", False),
            ("application/json", False),
            ("application/json, text/html", False),
            (HTML["accept"], True),
        ):
            response = await gateway.http.get("/", headers={"accept": accept})
            assert response.headers["content-type"].startswith("text/html") is is_html, accept
        policy = response.headers["content-security-policy"]
        assert "unsafe-inline" not in policy
        assert "default-src 'none'" in policy
        assert not re.search(r"<script(?![^>]*\bsrc=)|\son\w+=|style=", response.text)


# Pure


def sign_in(**settings: Any) -> tuple[SignIn, KeyBook]:
    made = Settings.model_construct(**settings)
    book = KeyBook(load_keyring(Settings.model_construct(api_keys="alice:sk-alice")))
    return SignIn(made, book), book


def scope(scheme: str = "http", host: str = "localhost:8000", **headers: str) -> dict[str, Any]:
    sent = {"host": host, **headers}
    raw = [(n.replace("_", "-").encode(), v.encode("latin-1")) for n, v in sent.items()]
    return {
        "type": "http",
        "method": "GET",
        "scheme": scheme,
        "headers": raw,
        "client": ("10.0.0.9", 1),
    }


async def test_over_https_the_cookie_is_bound_to_it() -> None:
    made, book = sign_in()
    [alice] = book.fixed.principals()
    cookie = made.cookie(alice, scope("https", "gateway.example.com"))
    assert cookie.startswith(f"{SECURE_COOKIE}=")
    assert cookie.endswith("Path=/; HttpOnly; SameSite=Strict; Secure")
    assert made.cookie(alice, scope()).startswith(f"{COOKIE}=")
    with pytest.raises(PermissionDenied):
        made.cookie(alice, scope("http", "gateway.example.com"))


async def test_a_proxys_word_on_https_counts_only_where_it_is_trusted() -> None:
    from ipaddress import ip_network

    said = scope("http", "gateway.example.com", x_forwarded_proto="https")
    assert not sign_in()[0].is_https(said)
    assert sign_in(trusted_proxies=(ip_network("10.0.0.0/8"),))[0].is_https(said)


async def test_a_cookie_ends_by_itself_and_with_its_secret() -> None:
    now = [1_000.0]
    _, book = sign_in()
    settings = Settings.model_construct(cookie_secret="s" * 32)
    made = SignIn(settings, book, clock=lambda: now[0])
    [alice] = book.fixed.principals()
    sent = scope(cookie=made.cookie(alice, scope()).partition(";")[0])
    assert await made.principal(sent) == alice
    assert await SignIn(settings, book, clock=lambda: now[0]).principal(sent) == alice
    assert (
        await SignIn(Settings.model_construct(), book, clock=lambda: now[0]).principal(sent) is None
    )
    now[0] += SIGNED_IN_SECONDS
    assert await made.principal(sent) is None


@pytest.mark.parametrize("bad", ["=1+1", "+1", "-1", "@SUM(1)", "\t=1", "\r=1", "  =1"])
def test_a_spreadsheet_runs_nothing_of_the_csv(bad: str) -> None:
    [_, row] = csv_text(["a", "b"], [[bad, 5]]).split("\r\n", 1)[0:2]
    assert row.lstrip('"').startswith("'")


async def test_the_csv_of_usage_holds_no_formula(make_gateway: MakeGateway) -> None:
    async with make_gateway(api_keys="@SUM:sk-a,default:sk-operator") as gateway:
        headers = {"authorization": "Bearer sk-a"}
        await gateway.http.post(URL, json=asking("hi"), headers=headers)
        found = await gateway.http.get("/v1/usage?by=key&format=csv", headers=OPERATOR)
        assert "\r\n'@SUM," in found.text
        assert found.headers["content-type"].startswith("text/csv")


async def test_usage_of_others_is_for_operators(make_gateway: MakeGateway) -> None:
    async with make_gateway(api_keys="alice:sk-a,default:sk-operator") as gateway:
        await gateway.http.post(URL, json=asking("hi"), headers=OPERATOR)
        [record] = (await gateway.http.get("/v1/usage/requests", headers=OPERATOR)).json()["data"]
        alice = {"authorization": "Bearer sk-a"}

        async def get(path: str) -> httpx.Response:
            return await gateway.http.get(f"/v1/usage{path}", headers=alice)

        assert (await get("?key=default")).status_code == 403
        assert (await get("/requests?key=default")).status_code == 403
        assert (await get(f"/requests/{record['id']}")).status_code == 404
        assert (await get(f"/requests/{record['id']}/body")).status_code == 403
        assert (await get("/requests")).json()["data"] == []
        assert (await get("")).json()["total"]["turns"] == 0
