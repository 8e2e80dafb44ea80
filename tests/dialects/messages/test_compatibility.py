"""What the server tells of this API's fields. No model is asked."""

from __future__ import annotations

from dialects.messages.fields import FIELDS
from tests.support.harness import Gateway

BODY = {
    "model": "sonnet",
    "max_tokens": 10,
    "system": "SECRET",
    "messages": [
        {"role": "user", "content": "SECRET"},
        {"role": "assistant", "content": [{"type": "hologram", "frames": "SECRET"}]},
        {"role": "system", "content": []},
    ],
    "top_k": 5,
    "new_field": "SECRET",
}


async def test_the_table_is_served(gateway: Gateway) -> None:
    table = (await gateway.http.get("/v1/compatibility", params={"dialect": "messages"})).json()
    names = [row["name"] for row in table["data"] if row["place"] == "body"]
    assert names == [*(row.name for row in FIELDS), "any other field"]


async def test_a_request_is_explained_without_its_words(gateway: Gateway) -> None:
    params = {"dialect": "messages"}
    answer = await gateway.http.post("/v1/debug/request", params=params, json=BODY)
    report = answer.json()
    assert report["failure"] is None
    assert {field["name"]: field["treatment"] for field in report["fields"]} == dict.fromkeys(
        BODY, "native"
    )
    roles = [(message["role"], message["blocks"]) for message in report["turn"]["messages"]]
    assert roles == [("user", ["text"]), ("assistant", ["hologram"]), ("system", [])]
    assert {"top_k", "new_field", "max_tokens"} <= set(report["turn"]["parameters"])
    assert "SECRET" not in answer.text
    assert not gateway.upstream.requests


async def test_a_failure_is_that_of_the_route(gateway: Gateway) -> None:
    body = BODY | {"messages": []}
    params = {"dialect": "messages"}
    told = (await gateway.http.post("/v1/debug/request", params=params, json=body)).json()
    answer = await gateway.http.post("/v1/messages", json=body)
    assert told["failure"]["status"] == answer.status_code == 400
    assert told["failure"]["error"]["message"] == answer.json()["error"]["message"]
