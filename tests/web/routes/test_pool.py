"""`GET /v1/pool` shows what the processes do, and nothing of what they are told."""

from __future__ import annotations

from tests.conftest import MakeGateway
from tests.support.wire import URL, asking, until

SECRET = "a very secret thing"


async def test_the_pool_shows_processes_hits_waits_and_where_the_time_went(
    make_gateway: MakeGateway,
) -> None:
    async with make_gateway(max_processes=2) as gateway:
        for text in (SECRET, f"{SECRET} again"):
            body = asking(text)
            body["messages"].insert(0, {"role": "system", "content": SECRET})
            assert (await gateway.http.post(URL, json=body)).status_code == 200
        await until(lambda: gateway.engine.pool.queued == 0)  # the model list asks once, too
        answer = await gateway.http.get("/v1/pool")
    assert SECRET not in answer.text
    shown = answer.json()
    assert shown["max_processes"] == 2
    assert shown["counts"]["reuse"] >= 1
    assert shown["queue"]["length"] == 0
    assert sum(shown["states"].values()) == shown["processes"] == len(shown["workers"])
    [used] = [worker for worker in shown["workers"] if worker["uses"] >= 2]
    assert used["state"] == "idle"
    assert len(used["profile"]) == 8
    assert used["memory_bytes"] > 50_000_000
    [reuse] = [split for split in shown["first_tokens"] if split["kind"] == "reuse"]
    assert reuse["turns"] == 1
    assert reuse["process_ms"] > 0
    assert reuse["upstream_ms"] > 0
