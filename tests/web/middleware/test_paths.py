"""HEAD, a slash too many, and the icon that browsers ask for."""

from __future__ import annotations

import pytest

from tests.conftest import MakeGateway
from tests.support.harness import Gateway
from web.middleware.paths import plain

pytestmark = pytest.mark.wire


@pytest.mark.parametrize("path", ["/", "/health", "/v1/models", "/health/ready", "/favicon.ico"])
async def test_head_says_what_get_would_without_its_body(gateway: Gateway, path: str) -> None:
    head, get = await gateway.http.head(path), await gateway.http.get(path)
    assert (head.status_code, head.content) == (get.status_code, b"") == (200, b"")
    assert head.headers["content-type"] == get.headers["content-type"]
    if path != "/health/ready":
        assert head.headers["content-length"] == get.headers["content-length"]


async def test_head_of_what_has_no_get_is_refused(gateway: Gateway) -> None:
    assert (await gateway.http.head("/v1/chat/completions")).status_code == 405


async def test_a_slash_too_many_means_the_same_path(gateway: Gateway) -> None:
    listed = await gateway.http.get("/v1/models/")
    assert listed.json() == (await gateway.http.get("/v1/models")).json()
    assert listed.json()["object"] == "list"
    body = {"model": "haiku", "messages": [{"role": "user", "content": "Hello"}]}
    assert (await gateway.http.post("/v1/chat/completions/", json=body)).status_code == 200


@pytest.mark.parametrize(
    ("path", "meant"),
    [
        ("/", "/"),
        ("//", "/"),
        ("/v1/models/", "/v1/models"),
        ("/v1/sessions/a/files/folder/", "/v1/sessions/a/files/folder/"),
    ],
)
def test_a_path_loses_its_last_slash_but_a_file_may_mean_it(path: str, meant: str) -> None:
    assert plain(path) == meant


async def test_a_browser_gets_an_icon_without_a_key(make_gateway: MakeGateway) -> None:
    async with make_gateway(api_key="sk-one") as gateway:
        icon = await gateway.http.get("/favicon.ico")
        assert (icon.status_code, icon.headers["content-type"]) == (200, "image/svg+xml")
        assert (await gateway.http.get("/v1/models/")).status_code == 401
